package fullcopy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// meets tells whether rows of a unit could collide with others that are no part of it, or with each other although no source
// table has them twice: rows are added to those of other tasks, or several source tables go into one.
func (u *unit) meets() bool {
	if !u.fresh || len(u.roots) > 1 {
		return true
	}
	targets := map[schema.Name]bool{}
	for _, f := range u.feeds {
		if targets[f.target] && len(u.roots[0].PrimaryKey) == 0 {
			return true // partitions become one table, and only by themselves are they known to be free of duplicates
		}
		targets[f.target] = true
	}
	return false
}

// uniqueSQL finds out about tables what decides over collisions: whether anything can collide at all; whether the server would
// notice, as it checks deferrable constraints with triggers, which do not fire for a replica's session; and whether ON CONFLICT is
// out of the question, because a rule keeps it away (transformInsertStmt), or because a trigger that fires ($2 has such
// pg_trigger.tgenabled) may keep away rows, which would pass for collisions.
const uniqueSQL = `
SELECT c.oid, count(i.indexrelid) > 0, coalesce(bool_or(NOT i.indimmediate), false),
       EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type IN ('2', '3'))
         OR EXISTS (SELECT FROM pg_catalog.pg_trigger g -- BEFORE INSERT FOR EACH ROW
                     WHERE g.tgrelid = c.oid AND g.tgtype & 71 = 7 AND g.tgenabled::text = ANY ($2))
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)
 WHERE c.oid = ANY ($1)
 GROUP BY c.oid`

// collisions is what must be known and done about units whose rows may collide with others.
type collisions struct {
	*objects
	dest  *schema.Inventory
	early map[schema.Name][]schema.Entry // unique indexes and constraints, by source table
}

func newCollisions(o *objects, plan *schema.Plan, dest *schema.Inventory) *collisions {
	c := &collisions{objects: o, dest: dest, early: map[schema.Name][]schema.Entry{}}
	for _, e := range o.wanted(slices.Concat(plan.Indexes, plan.Constraints)) {
		if e.Desc == "CONSTRAINT" || strings.HasPrefix(e.Definition, "CREATE UNIQUE INDEX") {
			c.early[e.Table] = append(c.early[e.Table], e)
		}
	}
	return c
}

// prepare makes every unique index and constraint of a unit before its rows, so that what collides is found row by row, and
// decides how the rows come. A *UnitError says that they must not: what was added to the table could not be told from the
// rest any more. Where others have been copying into the table this has to wait until they are done, indexes included: theirs
// may have the same names.
func (c *collisions) prepare(ctx context.Context, conn *pgx.Conn, u *unit) error {
	if !u.fresh {
		_, busy, _, err := c.claims(ctx, conn, u)
		switch {
		case err != nil:
			return err
		case busy:
			return errBusy
		}
	}
	for _, f := range u.feeds {
		for _, e := range c.early[f.source.Name] {
			if err := c.create(ctx, conn, e); err != nil {
				return err
			}
			if cause := c.failure(e); cause != nil {
				reason := fmt.Sprintf("lacks %s, which could not be made before the rows: %v", progressOf(e).Name, cause)
				return &UnitError{u.name, reason, "Remove what is in the way."}
			}
		}
	}
	return c.inspect(ctx, conn, u)
}

// inspect looks at what the rows may collide under.
func (c *collisions) inspect(ctx context.Context, conn *pgx.Conn, u *unit) error {
	members := map[uint32]*schema.Table{}
	var oids []uint32
	for i := range c.dest.Tables {
		if t := &c.dest.Tables[i]; topmost(c.dest, t).Name == u.name {
			members[t.OID], oids = t, append(oids, t.OID)
		}
	}
	tolerant := c.cfg.Conflicts == ConflictsIgnore
	var oid uint32
	var unique, deferrable, meddled, refused bool
	firing := []string{"O", "A"}
	if c.replica.Load() {
		firing = []string{"R", "A"}
	}
	rows, err := conn.Query(ctx, uniqueSQL, oids, firing)
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&oid, &unique, &deferrable, &meddled}, func() error {
			u.whole, refused = u.whole || unique, refused || deferrable
			// Partitioned tables know ON CONFLICT since 11.
			tolerant = tolerant && !meddled && (members[oid].Kind != schema.KindPartitioned || c.destinationVersion >= 110000)
			return nil
		})
	}
	switch {
	case err != nil:
		return fmt.Errorf("read unique indexes of the destination: %w", err)
	case refused:
		return &UnitError{
			u.name, "has a deferrable constraint, which is not checked while rows are copied, and rows of several tables could collide under it",
			"Make the constraint NOT DEFERRABLE.",
		}
	}
	u.staged = u.whole && tolerant
	return nil
}

// prepareFresh prepares the units that are filled by this task alone, before it is known how their rows are divided among the
// loaders. Where rows are added they come in one piece anyway, and the loader prepares the unit when its turn comes.
func (c *collisions) prepareFresh(ctx context.Context, units []*unit) error {
	for _, u := range units {
		if !u.fresh || !u.meets() {
			continue
		}
		err := c.prepare(ctx, c.dst, u)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !concernsTable(err):
			return fmt.Errorf("prepare table %s: %w", u.name, err)
		case err != nil:
			u.failed.Store(true)
			c.tables.refuse(u, fmt.Errorf("copy %s: %w", u.name, err))
		}
	}
	return nil
}

// copyStaged brings the rows of a piece by way of a temporary table and leaves out those that collide with rows that are there,
// or with earlier ones of the same piece.
func (p *pair) copyStaged(ctx context.Context, tx pgx.Tx, piece piece) error {
	f := piece.feed
	stage := schema.Name{Schema: "pg_temp", Name: "pgsyncd_stage"}
	columns := strings.Join(f.into, ", ")
	if _, err := tx.Exec(ctx, fmt.Sprintf("CREATE TEMPORARY TABLE %s ON COMMIT DROP AS SELECT %s FROM %s WITH NO DATA", stage, columns, f.target)); err != nil {
		return fmt.Errorf("make a staging table: %w", err)
	}
	sent, err := p.copy(ctx, piece, stage, false)
	if err != nil {
		return err
	}
	list, overriding := "", ""
	if columns != "" {
		list = " (" + columns + ")"
	}
	if f.always {
		overriding = " OVERRIDING SYSTEM VALUE"
	}
	tag, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s%s%s SELECT %s FROM %s ON CONFLICT DO NOTHING", f.target, list, overriding, columns, stage))
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	p.tables.ignored(f, tag.RowsAffected(), sent-tag.RowsAffected())
	_, err = tx.Exec(ctx, "DROP TABLE "+stage.String())
	return err
}
