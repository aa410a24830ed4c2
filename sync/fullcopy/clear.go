package fullcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// Clear drops what earlier runs of the task have made in the destination, all of it or nothing: the ledger knows what that is, and the
// source, which must still have it, in which order it can go. Schemas and extensions stay, and so does what existed before the task.
// It is an *ObjectsError when others depend on something, or another task puts rows into one of the tables. Config is that of Run.
func Clear(ctx context.Context, cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	j := &job{cfg: cfg, log: cfg.Logger, tables: newTables(cfg.Report)}
	defer j.close(ctx)
	err := j.clear(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (j *job) clear(ctx context.Context) error {
	if err := j.open(ctx); err != nil {
		return err
	}
	var err error
	if j.pgDump, _, err = schema.FindPgDump(ctx, j.sourceVersion, j.destinationVersion); err != nil {
		return err
	}
	if err := j.evict(ctx); err != nil {
		return err
	}
	p, err := ledger.Raise(ctx, j.dst, j.cfg.Task)
	if errors.Is(err, ledger.ErrNoPosition) {
		return nil
	}
	if err == nil {
		j.fence = p.Fence
		j.marks.keys, err = ledger.Objects(ctx, j.dst, j.cfg.Task)
	}
	if err != nil {
		return err
	}
	inv, err := j.readSource(ctx, j.src)
	if err != nil {
		return err
	}
	archive, plan, err := j.dump(ctx, nil, "", inv)
	if err != nil {
		return err
	}
	o := j.newObjects(archive, plan, func(schema.Name) bool { return false }, layout{})
	made := func(e schema.Entry) bool { return j.marks.has(e.Key()) }
	err = o.drop(ctx, j.dst, inv, slices.Concat(plan.Before, plan.After), made, func(tx pgx.Tx) error {
		return ledger.ForgetMade(ctx, tx, j.cfg.Task)
	})
	if err != nil {
		return fmt.Errorf("clear the destination: %w", err)
	}
	return nil
}
