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
// notice, as it checks deferrable constraints with triggers, which do not fire for a replica's session; and whether a rule
// keeps ON CONFLICT away (transformInsertStmt).
const uniqueSQL = `
SELECT c.oid, count(i.indexrelid) > 0, coalesce(bool_or(NOT i.indimmediate), false),
       EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type IN ('2', '3'))
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)
 WHERE c.oid = ANY ($1)
 GROUP BY c.oid`

type uniqueness struct{ unique, deferrable, ruled bool }

func (j *job) readUniqueness(ctx context.Context, dest *schema.Inventory) (map[uint32]uniqueness, error) {
	oids := make([]uint32, len(dest.Tables))
	for i, t := range dest.Tables {
		oids[i] = t.OID
	}
	found := map[uint32]uniqueness{}
	rows, err := j.dst.Query(ctx, uniqueSQL, oids)
	if err == nil {
		var oid uint32
		var u uniqueness
		_, err = pgx.ForEachRow(rows, []any{&oid, &u.unique, &u.deferrable, &u.ruled}, func() error { found[oid] = u; return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("read unique indexes of the destination: %w", err)
	}
	return found, nil
}

// prepareCollisions makes, for units whose rows may collide with others, every unique index and constraint before the rows, so
// that what collides is found row by row, and decides how the rows come. Units for which that fails are refused: whatever
// was added to the table could not be told from the rest any more.
func (j *job) prepareCollisions(ctx context.Context, o *objects, plan *schema.Plan, dest *schema.Inventory, units []*unit) error {
	units = slices.DeleteFunc(slices.Clone(units), func(u *unit) bool { return !u.meets() })
	if len(units) == 0 {
		return nil
	}
	early := map[schema.Name][]schema.Entry{}
	for _, e := range o.wanted(slices.Concat(plan.Indexes, plan.Constraints)) {
		if e.Desc == "CONSTRAINT" || strings.HasPrefix(e.Definition, "CREATE UNIQUE INDEX") {
			early[e.Table] = append(early[e.Table], e)
		}
	}
	for _, u := range units {
		for _, f := range u.feeds {
			for _, e := range early[f.source.Name] {
				if err := o.create(ctx, j.dst, e); err != nil {
					return err
				}
				if cause := o.failure(e); cause != nil && !u.failed.Swap(true) {
					j.tables.refuse(u, fmt.Errorf("copy %s: %s %s could not be made before the rows: %w", u.name, strings.ToLower(e.Desc), e.Tag, cause))
				}
			}
		}
	}
	found, err := j.readUniqueness(ctx, dest)
	if err != nil {
		return err
	}
	for _, u := range units {
		tolerant := j.cfg.Conflicts == ConflictsIgnore
		for i := range dest.Tables {
			t := &dest.Tables[i]
			if topmost(dest, t).Name != u.name {
				continue
			}
			is := found[t.OID]
			if is.deferrable && !u.failed.Swap(true) {
				j.tables.refuse(u, &UnitError{
					t.Name, "has a deferrable constraint, which is not checked while rows are copied, and rows of several tables could collide under it",
					"Make the constraint NOT DEFERRABLE.",
				})
			}
			u.whole = u.whole || is.unique
			// Partitioned tables know ON CONFLICT since 11.
			tolerant = tolerant && !is.ruled && (t.Kind != schema.KindPartitioned || j.destinationVersion >= 110000)
		}
		u.staged = u.whole && tolerant
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
