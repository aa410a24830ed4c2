package fullcopy

import (
	"context"
	"fmt"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// finish does what needs all tables: foreign keys, triggers and the like, materialized views, sequences.
func (j *job) finish(ctx context.Context, o *objects, plan *schema.Plan) error {
	if err := o.all(ctx, j.dst, PhaseFinish, plan.After); err != nil {
		return err
	}
	if j.cfg.PopulateMatviews {
		for _, name := range plan.Matviews {
			e := schema.Entry{
				Desc: "POPULATION OF MATERIALIZED VIEW", Namespace: name.Schema, Tag: name.Name,
				Definition: "REFRESH MATERIALIZED VIEW " + name.String(),
			}
			if err := o.create(ctx, j.dst, e); err != nil {
				return err
			}
		}
	}
	if err := j.setSequences(ctx, o, plan.Sequences); err != nil {
		return err
	}
	return o.err()
}

// setSequences sets the values the source has now: sequences stand outside transactions, so no snapshot shows them, and they
// may only be ahead of the rows.
func (j *job) setSequences(ctx context.Context, o *objects, names []schema.Name) error {
	if len(names) == 0 {
		return nil
	}
	values, err := schema.SequenceValues(ctx, j.src, names)
	if err != nil {
		return err
	}
	for _, s := range values {
		err := pgx.BeginFunc(ctx, j.dst, func(tx pgx.Tx) error { return j.setSequence(ctx, tx, s) })
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case concernsTable(err):
			o.failures = append(o.failures, ObjectFailure{Type: "SEQUENCE VALUE", Name: s.Name.String(), Err: err})
		default:
			return fmt.Errorf("set sequence %s: %w", s.Name, err)
		}
	}
	return nil
}

// setSequence sets one value. Where others may draw from the same sequence it only moves on.
func (j *job) setSequence(ctx context.Context, tx pgx.Tx, s schema.Sequence) error {
	if j.cfg.ExistingObjects == ExistingAppend {
		var last int64
		var called bool
		if err := tx.QueryRow(ctx, "SELECT last_value, is_called FROM "+s.Name.String()).Scan(&last, &called); err != nil {
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
	_, err := tx.Exec(ctx, "SELECT pg_catalog.setval($1::text::pg_catalog.regclass, $2, $3)", s.Name.String(), s.LastValue, s.IsCalled)
	return err
}
