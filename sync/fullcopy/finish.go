package fullcopy

import (
	"context"
	"fmt"
	"slices"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// finish does what needs all tables: foreign keys, triggers and the like, materialized views, sequences. Where rows are
// missing it does what does not need those.
func (j *job) finish(ctx context.Context, o *objects, plan *schema.Plan, inv *schema.Inventory) error {
	before, after := splitAfter(plan.After)
	if err := o.all(ctx, j.dst, PhaseFinish, before); err != nil {
		return err
	}
	if j.cfg.PopulateMatviews && !o.partial {
		for _, name := range plan.Matviews {
			if err := o.create(ctx, j.dst, populate(inv, name)); err != nil {
				return err
			}
		}
	}
	if err := o.all(ctx, j.dst, PhaseFinish, after); err != nil {
		return err
	}
	if err := j.setSequences(ctx, o, plan.Sequences, inv); err != nil {
		return err
	}
	return o.err()
}

// splitAfter finds what comes after materialized views are filled: they are filled with the rights of their owner, and event
// triggers would fire.
func splitAfter(entries []schema.Entry) (before, after []schema.Entry) {
	i := slices.IndexFunc(entries, func(e schema.Entry) bool {
		return e.Desc == "OWNER" || e.Desc == "ACL" || e.Desc == "DEFAULT ACL" || e.Desc == "EVENT TRIGGER"
	})
	if i < 0 {
		return entries, nil
	}
	return entries[:i], entries[i:]
}

// populate is what fills a materialized view.
func populate(inv *schema.Inventory, name schema.Name) schema.Entry {
	target := name
	for _, m := range inv.Matviews {
		if m.Name == name {
			target = m.Target
		}
	}
	return schema.Entry{
		Desc: "POPULATION OF MATERIALIZED VIEW", Namespace: name.Schema, Tag: name.Name, Target: target.String(),
		Definition: "REFRESH MATERIALIZED VIEW " + target.String(),
	}
}

// setSequences sets the values the source has now: sequences stand outside transactions, so no snapshot shows them, and they
// may only be ahead of the rows. A sequence that several go on from gets the value farthest ahead.
func (j *job) setSequences(ctx context.Context, o *objects, names []schema.Name, inv *schema.Inventory) error {
	if len(names) == 0 {
		return nil
	}
	values, err := schema.SequenceValues(ctx, j.src, names)
	if err != nil {
		return err
	}
	targets, set := map[schema.Name]schema.Name{}, map[schema.Name]bool{}
	for _, s := range inv.Sequences {
		targets[s.Name] = s.Target
	}
	for _, s := range values {
		target := targets[s.Name]
		forward := set[target] || j.cfg.ExistingObjects == ExistingAppend
		set[target] = true
		e := schema.Entry{Desc: "SEQUENCE VALUE", Namespace: s.Name.Schema, Tag: s.Name.Name, Target: target.String()}
		var err error
		if reason := o.obstacle(e); reason != "" {
			err = refusal(reason)
		} else {
			err = pgx.BeginFunc(ctx, j.dst, func(tx pgx.Tx) error { return setSequence(ctx, tx, s, target, forward) })
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case concernsTable(err):
			p := progressOf(e)
			p.State, p.Error = ObjectFailed, withDetail(err)
			o.fail(e, p, err)
			o.cfg.Report.Object(p)
		default:
			return fmt.Errorf("set sequence %s: %w", target, err)
		}
	}
	return nil
}

// setSequence sets one value. Where others draw from the same sequence it only moves on.
func setSequence(ctx context.Context, tx pgx.Tx, s schema.Sequence, target schema.Name, forward bool) error {
	if forward {
		var last int64
		var called bool
		if err := tx.QueryRow(ctx, "SELECT last_value, is_called FROM "+target.String()).Scan(&last, &called); err != nil {
			return err
		}
		ahead := last > s.LastValue
		if s.Increment < 0 {
			ahead = last < s.LastValue
		}
		if ahead || last == s.LastValue && called {
			return nil
		}
	}
	_, err := tx.Exec(ctx, "SELECT pg_catalog.setval($1::text::pg_catalog.regclass, $2, $3)", target.String(), s.LastValue, s.IsCalled)
	return err
}
