package precheck

import (
	"context"
	"fmt"
)

// largeObjects are the contents of pg_largeobject, which no table owns.
func largeObjects(ctx context.Context, e *env) (finding, error) {
	var n, bytes int64
	err := e.src.conn.QueryRow(ctx, `SELECT pg_catalog.count(*), pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')
		FROM pg_catalog.pg_largeobject_metadata`).Scan(&n, &bytes)
	if err != nil {
		return finding{}, err
	}
	some := count(int(n), "large object", "large objects")
	switch {
	case n == 0 || !e.in.Selection.All:
		return passed("none to be synchronized")
	case e.in.Adopt:
		return confirm(some+", whose changes cannot be streamed", "Confirm that they do not change while the task runs.")
	case !e.in.LargeObjects:
		return confirm(some+" not synchronized", "Set the task option large_objects, or confirm that the destination does without.")
	}
	closed, err := value[int64](ctx, &e.src, `SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata m
		WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a
			WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))`)
	if err != nil {
		return finding{}, err
	}
	if closed > 0 && !e.src.superuser {
		return failed(fmt.Sprintf("%s may not read %d of %s", ident(e.src.role), closed, some),
			fmt.Sprintf(`DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP
	EXECUTE format('GRANT SELECT ON LARGE OBJECT %%s TO %%I', o, %s); END LOOP; END $$;`, literal(e.src.role)))
	}
	taken, err := e.takenLargeObjects(ctx)
	if err != nil {
		return finding{}, err
	}
	if taken > 0 && !e.in.Again {
		return failed(fmt.Sprintf("the destination has %d large objects of the same numbers", taken),
			"Remove them from the destination with SELECT lo_unlink(…), or set the task option large_objects to false.")
	}
	if e.in.Incremental {
		return confirm(fmt.Sprintf("%s, at most %s, copied once; their later changes cannot be streamed", some, size(bytes)),
			"Confirm that they do not change while the task runs, or copy them again at its end.")
	}
	return passed("%s, at most %s", some, size(bytes))
}

// takenLargeObjects counts the numbers that are in use on both sides.
func (e *env) takenLargeObjects(ctx context.Context) (int64, error) {
	if e.creating {
		return 0, nil
	}
	there, err := column[uint32](ctx, &e.dst, "SELECT oid FROM pg_catalog.pg_largeobject_metadata LIMIT 1000000")
	if err != nil || len(there) == 0 {
		return 0, err
	}
	return value[int64](ctx, &e.src, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY ($1)", there)
}
