package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

const (
	// lobPage is how many large objects are looked at together.
	lobPage = 100
	// lobPrefix is how much of each of them is read at once: most are no longer.
	lobPrefix = 32 << 10
	// lobChunk is how much of a longer one is held at a time.
	lobChunk = 1 << 20
	// lobCommit is how much comes in one transaction, give or take an object.
	lobCommit = 64 << 20
)

// largeObject is one of the source's.
type largeObject struct {
	OID        uint32
	Readable   bool
	Statements []string // its comment; its owner and grants where they are carried
}

// largeObjects copies the large objects that a snapshot shows, each with its OID. They have no place in the stream: what
// becomes of them later stays behind.
type largeObjects struct {
	*objects
	source, destination *pgx.Conn
	done                uint32 // copied since the task began, or began anew
	own                 uint32 // copied ever
	others              uint32 // what other tasks have copied
	alone               map[uint32]bool
	found, gone         []uint32 // marks of objects left alone that are to be added and removed
	count               int
}

// openLargeObjects prepares the copy: the session must have imported the snapshot before that is given up.
func (o *objects) openLargeObjects(ctx context.Context, snap *snapshot) (_ *largeObjects, err error) {
	l := &largeObjects{objects: o, alone: map[uint32]bool{}}
	defer func() {
		if err != nil {
			l.close(ctx)
		}
	}()
	if l.source, err = o.cfg.Source.Connect(ctx, o.cfg.application()); err != nil {
		return nil, err
	}
	if err := snap.begin(ctx, l.source); err != nil {
		return nil, err
	}
	if l.destination, err = o.connectDestination(ctx); err != nil {
		return nil, err
	}
	return l, l.readMarks(ctx)
}

func (l *largeObjects) close(ctx context.Context) {
	endpoint.CloseConn(ctx, l.source)
	endpoint.CloseConn(ctx, l.destination)
}

// run copies what an earlier run has not. What the destination refuses is remembered, and ends the copy of large objects.
func (l *largeObjects) run(ctx context.Context) error {
	var last uint32
	for {
		page, err := l.list(ctx, last)
		if err != nil {
			return fmt.Errorf("list large objects: %w", err)
		}
		if len(page) == 0 {
			break
		}
		last = page[len(page)-1].OID
		readable := slices.DeleteFunc(slices.Clone(page), func(x largeObject) bool { return !x.Readable })
		for _, x := range page {
			if !x.Readable {
				l.report(x.OID, ObjectLeftOut, errors.New("the source's user may not read it"))
			}
		}
		if goOn, err := l.copyPage(ctx, readable); err != nil || !goOn {
			return err
		}
	}
	if l.count > 0 {
		l.cfg.Report.Object(ObjectProgress{Type: "LARGE OBJECTS", Name: "all", Target: "all", State: ObjectCreated})
	}
	return nil
}

// listSQL: before 18 the server has no function to ask for privileges on a large object.
const listSQL = `
SELECT m.oid, %s,
       array_remove(array[
         'COMMENT ON LARGE OBJECT ' || m.oid || ' IS ' || quote_literal(pg_catalog.obj_description(m.oid, 'pg_largeobject')),
         (SELECT format('ALTER LARGE OBJECT %%s OWNER TO %%I', m.oid, r.rolname) FROM pg_catalog.pg_roles r
           WHERE r.oid = m.lomowner AND NOT r.rolsuper AND r.rolname::text = ANY ($2::text[]))], NULL)
       || array(SELECT format('GRANT %%s ON LARGE OBJECT %%s TO %%s%%s', a.privilege_type, m.oid,
                              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(t.rolname) END,
                              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                  FROM pg_catalog.aclexplode(m.lomacl) a
                  JOIN pg_catalog.pg_roles f ON f.oid = a.grantor AND (a.grantor = m.lomowner OR NOT f.rolsuper)
                  LEFT JOIN pg_catalog.pg_roles t ON t.oid = a.grantee
                 WHERE a.grantee <> m.lomowner AND cardinality($2::text[]) > 0 AND (a.grantee = 0 OR t.rolname::text = ANY ($2::text[])))
  FROM pg_catalog.pg_largeobject_metadata m
 WHERE m.oid > $1::oid
 ORDER BY m.oid LIMIT $3`

const readableBefore18 = `
       (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) OR current_setting('lo_compat_privileges')::bool
         OR pg_catalog.pg_has_role(m.lomowner, 'USAGE')
         OR EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'
                       AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))`

// list returns the objects behind one of them, at most a page.
func (l *largeObjects) list(ctx context.Context, after uint32) ([]largeObject, error) {
	readable := readableBefore18
	if l.sourceVersion >= 180000 {
		readable = "pg_catalog.has_largeobject_privilege(m.oid, 'SELECT')"
	}
	rows, err := l.source.Query(ctx, fmt.Sprintf(listSQL, readable), after, l.roles, lobPage)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[largeObject])
}

// copyPage copies what of a page is to be copied, in transactions of a bounded size. Behind an object that is refused it does not go
// on: the mark of a later one would say that those are copied, too, whose transaction was undone with it.
func (l *largeObjects) copyPage(ctx context.Context, page []largeObject) (goOn bool, err error) {
	present, err := l.present(ctx, page)
	if err != nil {
		return false, err
	}
	wanted := slices.DeleteFunc(page, func(x largeObject) bool { return !l.wants(x.OID, present[x.OID]) })
	heads, err := l.heads(ctx, wanted)
	if err != nil {
		return false, err
	}
	for len(wanted) > 0 {
		n := 0
		var at uint32
		err := pgx.BeginFunc(ctx, l.destination, func(tx pgx.Tx) error {
			for size := int64(0); n < len(wanted) && size < lobCommit; n++ {
				at = wanted[n].OID
				moved, err := l.copyOne(ctx, tx, wanted[n], heads[at], present[at])
				if err != nil {
					return err
				}
				size += moved
			}
			return l.mark(ctx, tx, at)
		})
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case concernsTable(err):
			l.refuse(at, err)
			return false, nil
		default:
			return false, fmt.Errorf("copy large object %d: %w", at, err)
		}
		l.count, l.done, l.own = l.count+n, max(l.done, at), max(l.own, at)
		l.found, l.gone = nil, nil
		wanted = wanted[n:]
	}
	return true, nil
}

// present tells which objects of a page the destination has.
func (l *largeObjects) present(ctx context.Context, page []largeObject) (map[uint32]bool, error) {
	oids := make([]uint32, len(page))
	for i, x := range page {
		oids[i] = x.OID
	}
	rows, err := l.destination.Query(ctx, `SELECT oid FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY ($1)`, oids)
	if err != nil {
		return nil, fmt.Errorf("look for large objects in the destination: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return nil, fmt.Errorf("look for large objects in the destination: %w", err)
	}
	present := map[uint32]bool{}
	for _, oid := range list {
		present[oid] = true
	}
	return present, nil
}

// wants decides about one object, and reports it where the destination has one that is not the task's.
func (l *largeObjects) wants(oid uint32, present bool) bool {
	foreign := present && (oid > l.own || l.alone[oid])
	others := oid <= l.others
	switch {
	case present && !foreign:
		return oid > l.done // else an earlier run has brought it
	case !foreign, l.cfg.ExistingObjects == ExistingReplace && !others:
		if l.alone[oid] {
			delete(l.alone, oid)
			l.gone = append(l.gone, oid)
		}
		return true
	}
	switch l.cfg.ExistingObjects {
	case ExistingReplace:
		l.refuse(oid, errors.New("it belongs to another task"))
	case ExistingUse, ExistingAppend:
		l.report(oid, ObjectExisted, nil)
	case ExistingFail:
		l.refuse(oid, errors.New("the destination has a large object of this OID"))
	}
	if !l.alone[oid] {
		l.alone[oid], l.found = true, append(l.found, oid)
	}
	return false
}

// heads reads the beginnings of objects.
func (l *largeObjects) heads(ctx context.Context, wanted []largeObject) (map[uint32][]byte, error) {
	oids := make([]uint32, len(wanted))
	for i, x := range wanted {
		oids[i] = x.OID
	}
	heads := map[uint32][]byte{}
	rows, err := l.source.Query(ctx, `SELECT x, pg_catalog.lo_get(x, 0, $2) FROM unnest($1::oid[]) AS x`, oids, lobPrefix)
	if err == nil {
		var oid uint32
		var head []byte
		_, err = pgx.ForEachRow(rows, []any{&oid, &head}, func() error { heads[oid] = slices.Clone(head); return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("read large objects: %w", err)
	}
	return heads, nil
}

// copyOne makes one object within tx and returns its size.
func (l *largeObjects) copyOne(ctx context.Context, tx pgx.Tx, x largeObject, head []byte, present bool) (size int64, err error) {
	if present {
		if _, err := tx.Exec(ctx, `SELECT pg_catalog.lo_unlink($1)`, x.OID); err != nil {
			return 0, err
		}
	}
	if err := l.wait(ctx, len(head)); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_catalog.lo_from_bytea($1, $2)`, x.OID, head); err != nil {
		return 0, err
	}
	size = int64(len(head))
	for more := len(head) == lobPrefix; more; {
		var chunk []byte
		if err := l.source.QueryRow(ctx, `SELECT pg_catalog.lo_get($1, $2, $3)`, x.OID, size, lobChunk).Scan(&chunk); err != nil {
			return 0, fmt.Errorf("source: %w", err)
		}
		if err := l.wait(ctx, len(chunk)); err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_catalog.lo_put($1, $2, $3)`, x.OID, size, chunk); err != nil {
			return 0, err
		}
		size, more = size+int64(len(chunk)), len(chunk) == lobChunk
	}
	for _, sql := range x.Statements {
		err := pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error {
			_, err := sub.Exec(ctx, sql)
			return err
		})
		if err != nil && !concernsTable(err) {
			return 0, err
		}
		if err != nil { // the object is there, but not as it should be
			l.refuse(x.OID, fmt.Errorf("%s: %w", sql, err))
		}
	}
	return size, nil
}

func (l *largeObjects) wait(ctx context.Context, n int) error {
	if l.cfg.Limiter == nil {
		return nil
	}
	return l.cfg.Limiter.Wait(ctx, n)
}

// report tells of one object that is not the task's work.
func (l *largeObjects) report(oid uint32, state ObjectState, err error) {
	p := ObjectProgress{Type: "LARGE OBJECT", Name: number(oid), Target: number(oid), State: state}
	if err != nil {
		p.Error = err.Error()
	}
	l.cfg.Report.Object(p)
}

// refuse remembers that an object is not there, or not as it should be.
func (l *largeObjects) refuse(oid uint32, err error) {
	l.fail(schema.Entry{}, ObjectProgress{Type: "LARGE OBJECT", Name: number(oid)}, err)
	l.report(oid, ObjectFailed, err)
}
