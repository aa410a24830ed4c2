package fullcopy

import (
	"context"
	"fmt"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// batch is how many entries share a transaction. Each commit waits for the destination's disk; but the locks on everything a
// transaction makes have to fit into the server's table of locks, so it cannot be all.
const batch = 64

// readsRows are the kinds of entries that look at the rows of tables. Since a batch that fails is repeated entry by entry, work
// that may take long has a transaction of its own.
var readsRows = map[string]bool{"FK CONSTRAINT": true, "CHECK CONSTRAINT": true, "CONSTRAINT": true, "INDEX": true}

// step is a statement and the key under which the ledger knows that it was executed. The statement may be empty.
type step struct{ key, sql string }

// all creates entries in their order.
func (o *objects) all(ctx context.Context, conn *pgx.Conn, phase string, entries []schema.Entry) error {
	entries = o.wanted(entries)
	for done := 0; done < len(entries); {
		o.cfg.Report.Phase(phase, done, len(entries))
		n := 1
		for n < batch && done+n < len(entries) && !readsRows[entries[done].Desc] && !readsRows[entries[done+n].Desc] {
			n++
		}
		part := entries[done : done+n]
		done += n
		if n > 1 {
			if together, err := o.createTogether(ctx, conn, part); err != nil {
				return err
			} else if together {
				continue
			}
		}
		for _, e := range part {
			if err := o.create(ctx, conn, e); err != nil {
				return err
			}
		}
	}
	o.cfg.Report.Phase(phase, len(entries), len(entries))
	return nil
}

// createTogether creates what is not done of some entries, with further steps, in one transaction. It reports whether that
// worked; if not, nothing has changed, and doing one after the other will tell which of them is at fault. The error is about the
// session: when it is lost, so is the knowledge of what was done.
func (o *objects) createTogether(ctx context.Context, conn *pgx.Conn, entries []schema.Entry, more ...step) (done bool, err error) {
	var fresh []schema.Entry
	var steps []step
	for _, e := range entries {
		switch {
		case o.marks.has(e.Key()) || o.marks.has(existedPrefix+e.Key()):
		case o.obstacle(e) != "":
			return false, nil
		default:
			fresh, steps = append(fresh, e), append(steps, step{e.Key(), e.Definition})
		}
	}
	for _, s := range more {
		if !o.marks.has(s.key) {
			steps = append(steps, s)
		}
	}
	if len(steps) > 0 {
		err = o.perform(ctx, conn, steps)
	}
	switch {
	case err != nil && conn.IsClosed():
		return false, fmt.Errorf("create %d objects: %w", len(steps), err)
	case err != nil:
		return false, nil //nolint:nilerr // each entry by itself will tell
	}
	for _, e := range fresh {
		o.cfg.Report.Object(progressOf(e))
	}
	return true, nil
}

// once executes sql, which may be empty, and marks key as done.
func (j *job) once(ctx context.Context, conn *pgx.Conn, key, sql string) error {
	return j.perform(ctx, conn, []step{{key, sql}})
}

// perform executes steps and marks them as done, all in one transaction.
func (j *job) perform(ctx context.Context, conn *pgx.Conn, steps []step) error {
	keys := make([]string, len(steps))
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for i, s := range steps {
			keys[i] = s.key
			if s.sql == "" {
				continue
			}
			if _, err := tx.Exec(ctx, s.sql); err != nil {
				return err
			}
		}
		if err := ledger.Check(ctx, tx, j.cfg.Task, j.fence); err != nil {
			return err
		}
		return ledger.MarkObject(ctx, tx, j.cfg.Task, keys...)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		j.marks.add(keys...)
	}
	return err
}
