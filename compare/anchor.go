package compare

import (
	"context"
	"fmt"
	"slices"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// anchor makes sure that the transactions of both sides read a pair's tables as they were at the moment that they show, until unanchor.
// A table that has been truncated or rewritten since then reads as empty, and one that has got other partitions as what these
// hold. False says that this has happened. A table that was not there at that moment is not there for the comparison.
func (j *job) anchor(ctx context.Context, s *sides, p pair) (bool, error) {
	for _, conn := range []*pgx.Conn{s.source, s.destination} {
		if _, err := conn.PgConn().Exec(ctx, "SAVEPOINT anchor").ReadAll(); err != nil {
			return false, err
		}
	}
	same, err := anchored(ctx, s.source, tableNames(p.sources))
	if err != nil || !same {
		return false, err
	}
	return anchored(ctx, s.destination, []schema.Name{p.target})
}

// unanchor lets go of the tables; the transactions go on. What goes wrong about that shows at their next use.
func (s *sides) unanchor(ctx context.Context) {
	if s.moment == nil {
		return
	}
	for _, conn := range []*pgx.Conn{s.source, s.destination} {
		_, _ = conn.PgConn().Exec(ctx, "ROLLBACK TO SAVEPOINT anchor; RELEASE SAVEPOINT anchor").ReadAll()
	}
}

// treeSQL lists a table and its partitions as the transaction shows them, and says of each whether it is still in the same file: the
// function looks at what is current.
const treeSQL = `WITH RECURSIVE tree (oid) AS (
		SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2
		UNION ALL
		SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_class p ON p.oid = tree.oid AND p.relkind = 'p'
		JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid)
	SELECT c.oid, c.relfilenode = coalesce(pg_catalog.pg_relation_filenode(c.oid), 0) FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid`

// locksSQL lists the tables and the like that the session has locked. Those of the system, which have lower OIDs, come and go.
const locksSQL = `SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation'
	AND l.relation >= 16384 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`

// anchored locks tables with their partitions, and reports whether they are what the transaction of conn shows.
func anchored(ctx context.Context, conn *pgx.Conn, tables []schema.Name) (bool, error) {
	before, err := oids(ctx, conn, locksSQL)
	if err != nil {
		return false, fmt.Errorf("read locks: %w", err)
	}
	var shown []uint32
	for _, table := range tables {
		kind, _, err := relation(ctx, conn, table)
		if err != nil {
			return false, fmt.Errorf("look at %s: %w", table, err)
		}
		if kind == 0 {
			continue
		}
		// Of a partitioned table, the partitions are locked that it has now.
		_, err = conn.PgConn().Exec(ctx, "LOCK TABLE "+from(table, kind, "")+" IN ACCESS SHARE MODE").ReadAll()
		if code := endpoint.SQLState(err); code == "42P01" || code == "3F000" || code == "42809" {
			return false, nil // it is gone, or something else has its name
		}
		if err != nil {
			return false, fmt.Errorf("lock %s: %w", table, err)
		}
		tree, same, err := tree(ctx, conn, table)
		if err != nil || !same {
			return false, err
		}
		shown = append(shown, tree...)
	}
	now, err := oids(ctx, conn, locksSQL)
	if err != nil {
		return false, fmt.Errorf("read locks: %w", err)
	}
	for _, oid := range shown {
		if !slices.Contains(now, oid) {
			return false, nil
		}
	}
	return !slices.ContainsFunc(now, func(oid uint32) bool { return !slices.Contains(before, oid) && !slices.Contains(shown, oid) }), nil
}

// tree lists a table and its partitions, and reports whether all of them are in the files that they were in.
func tree(ctx context.Context, conn *pgx.Conn, table schema.Name) (tree []uint32, same bool, err error) {
	rows, err := conn.Query(ctx, treeSQL, table.Schema, table.Name)
	if err != nil {
		return nil, false, fmt.Errorf("look at %s: %w", table, err)
	}
	var oid uint32
	var unchanged bool
	same = true
	_, err = pgx.ForEachRow(rows, []any{&oid, &unchanged}, func() error {
		tree, same = append(tree, oid), same && unchanged
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("look at %s: %w", table, err)
	}
	return tree, same, nil
}

func oids(ctx context.Context, conn *pgx.Conn, sql string) ([]uint32, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uint32])
}
