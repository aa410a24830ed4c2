package fullcopy

import (
	"context"
	"fmt"

	"pgsyncd/sync/group"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// fill copies the rows and builds what belongs to single tables. It gives the source free as soon as the rows are in.
func (j *job) fill(ctx context.Context, o *objects, plan *schema.Plan, snap *snapshot, a *anchor,
	copied map[string]pglogrepl.LSN, out func(schema.Name) bool,
) error {
	dest, err := j.readDestination(ctx, a.inv)
	if err != nil {
		return err
	}
	units := j.makeUnits(a.inv, dest, snap.lsn, func(n schema.Name) bool { return !out(n) })
	if err := j.findBlocked(ctx, dest, units); err != nil {
		return err
	}
	if err := j.checkPolicies(ctx, a.conn, dest, units); err != nil {
		return err
	}
	j.tables.expect(units)
	broken := o.broken(plan, a.inv)
	var missing, ready []*unit
	for _, u := range units {
		lsn, done := copied[unitKey(u.name)]
		switch {
		case done:
			u.lsn, ready = lsn, append(ready, u)
		case broken[u.name] != nil:
			j.tables.wait(u, broken[u.name])
		case u.misfit != nil:
			j.tables.refuse(u, fmt.Errorf("copy %s: %w", u.name, u.misfit))
		default:
			missing = append(missing, u)
		}
	}
	collisions := newCollisions(o, plan, dest)
	if err := collisions.prepareFresh(ctx, missing); err != nil {
		return err
	}
	loads, err := j.makeLoads(ctx, a.conn, missing)
	if err != nil {
		return err
	}
	if err := j.claimParted(ctx, loads); err != nil {
		return err
	}
	works, err := schema.IndexWorks(ctx, a.conn)
	if err != nil {
		return err
	}
	g, ctx := group.WithContext(ctx)
	b := newBuilder(o, plan, works, g)
	defer b.close(ctx)
	imported := make(chan struct{}) // closed when only loaders need the snapshot
	if j.cfg.LargeObjects && j.cfg.Selection.All {
		g.Go(func() error {
			lobs, err := func() (*largeObjects, error) {
				defer close(imported)
				return o.openLargeObjects(ctx, snap)
			}()
			if err != nil {
				return err
			}
			defer lobs.close(ctx)
			return lobs.run(ctx)
		})
	} else {
		close(imported)
	}
	for _, u := range ready {
		j.tables.copied(u)
		b.start(ctx, u)
	}
	f := newFlusher(j)
	g.Go(func() error { return f.run(ctx) })
	g.Go(func() error {
		defer f.stop()
		defer func() {
			<-imported
			snap.close(ctx)
		}()
		defer a.close(ctx)
		defer b.copying.Store(false)
		l := &loader{job: j, snap: snap, collisions: collisions, flusher: f, copied: func(u *unit) { b.start(ctx, u) }}
		return l.run(ctx, loads)
	})
	return g.Wait()
}

// claimParted claims the units whose rows come in several transactions, before the first of these.
func (j *job) claimParted(ctx context.Context, loads []*load) error {
	claimed := map[*unit]bool{}
	for _, l := range loads {
		if l.alone || claimed[l.unit] {
			continue
		}
		claimed[l.unit] = true
		err := pgx.BeginFunc(ctx, j.dst, func(tx pgx.Tx) error {
			if err := j.claim(ctx, tx, l.unit, false); err != nil {
				return err
			}
			return ledger.Check(ctx, tx, j.cfg.Task, j.fence)
		})
		if err != nil && concernsTable(err) && ctx.Err() == nil {
			l.unit.failed.Store(true)
			j.tables.refuse(l.unit, fmt.Errorf("copy %s: %w", l.unit.name, err))
			continue
		}
		if err != nil {
			return fmt.Errorf("prepare table %s: %w", l.unit.name, err)
		}
	}
	return nil
}
