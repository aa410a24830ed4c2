package incremental

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgsyncd/sync/endpoint"

	"github.com/jackc/pgx/v5"
)

// admitTruncate finds out what a TRUNCATE of the source empties in the destination.
func (a *applier) admitTruncate(ctx context.Context, c *change) error {
	for _, r := range c.event.truncated {
		t, err := a.target(ctx, r, c.tx)
		if err != nil {
			return err
		}
		if t != nil && c.tx.start >= t.after {
			c.truncated = append(c.truncated, t)
		}
	}
	emptied, err := a.emptied(ctx, c)
	if err != nil {
		return err
	}
	for _, t := range c.truncated {
		switch {
		case !t.root || emptied[t]:
			if !slices.ContainsFunc(c.listed, func(l *target) bool { return l.oid == t.oid }) {
				c.listed = append(c.listed, t)
			}
		default:
			sql, err := a.emptyPartition(ctx, t, c.tx.xid)
			if err != nil {
				return fmt.Errorf("TRUNCATE of partition %s at %s: %w", t.relation.name, c.tx.at, err)
			}
			c.deletes = append(c.deletes, sql)
		}
	}
	return nil
}

// truncateSQL empties the targets in one statement, as the source did: they may refer to each other.
func truncateSQL(targets []*target, restart bool) string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.only + t.name.String()
	}
	sql := "TRUNCATE " + strings.Join(names, ", ")
	if restart {
		sql += " RESTART IDENTITY"
	}
	return sql
}

// emptyPartition returns the statement that deletes a partition's rows from the partitioned table that has them in the
// destination. The source knows which those are, unless it was attached anew since the transaction xid.
func (a *applier) emptyPartition(ctx context.Context, t *target, xid uint32) (string, error) {
	conn, err := a.cfg.Source.Connect(ctx, "pgsyncd "+a.cfg.Task+" source")
	if err != nil {
		return "", err
	}
	defer endpoint.CloseConn(ctx, conn)
	var bounds string
	err = conn.QueryRow(ctx, `
		WITH RECURSIVE up (parent, attached) AS (
			SELECT i.inhparent, i.xmin FROM pg_catalog.pg_inherits i WHERE i.inhrelid = $1
			UNION ALL
			SELECT i.inhparent, i.xmin FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.parent)
		SELECT coalesce(pg_catalog.pg_get_partition_constraintdef(c.oid), '') FROM pg_catalog.pg_class c
		WHERE c.oid = $1 AND NOT EXISTS (SELECT FROM up WHERE pg_catalog.age(up.attached) < pg_catalog.age($2::text::pg_catalog.xid))`,
		t.relation.oid, strconv.FormatUint(uint64(xid), 10)).Scan(&bounds)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("read its bounds: %w", err)
	}
	if bounds == "" || strings.Contains(bounds, "satisfies_hash_partition") {
		return "", permanentf("the destination has only the partitioned table %s, and there is no telling which rows are meant", t.name)
	}
	return "DELETE FROM " + t.name.String() + " AS t WHERE (t.tableoid, t.ctid) IN (SELECT s.tableoid, s.ctid FROM (SELECT x.tableoid, x.ctid" +
		t.sourceNames("x") + " FROM " + t.name.String() + " AS x) AS s WHERE " + bounds + ")", nil
}

// sourceNames lists the columns under the names they have in the source, each after a comma.
func (t *target) sourceNames(alias string) string {
	var list strings.Builder
	for i, c := range t.columns {
		if !c.omitted {
			list.WriteString(", " + alias + "." + c.name + " AS " + pgx.Identifier{t.relation.columns[i].name}.Sanitize())
		}
	}
	return list.String()
}

// empty deletes all rows where TRUNCATE is refused because a table outside the task refers to this one: in the source the
// referring table was truncated too, or was not there.
func (a *applier) empty(ctx context.Context, c *change, f *failure) error {
	if f.err == nil {
		return permanentf("TRUNCATE of %s at %s: the destination's table has rows of others as well", c.describe(), c.tx.at)
	}
	if endpoint.SQLState(f.err) != "0A000" {
		return a.changeError(c, f)
	}
	statements := c.deletes
	for _, t := range c.listed {
		statements = append(statements, "DELETE FROM "+t.only+t.name.String())
	}
	for _, sql := range statements {
		if _, err := a.dst.conn.Exec(ctx, sql); err != nil {
			return a.changeError(c, &failure{err: err})
		}
	}
	p := a.dst.start(ctx)
	a.guest(p, c, 0)
	err := p.wait()
	if foreign := (*failure)(nil); errors.As(err, &foreign) && foreign.err == nil {
		return a.empty(ctx, c, foreign)
	}
	if err != nil {
		return a.frameError(err)
	}
	a.done.count([]change{*c})
	return nil
}
