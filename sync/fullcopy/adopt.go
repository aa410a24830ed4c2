package fullcopy

import (
	"context"
	"errors"
	"fmt"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// Adopt prepares a stream into tables that the destination has already, with the rows that the source has now. It creates publication
// and slot, and the ledger's row with every table recorded as copied at the position of the slot, in one transaction; nothing
// is read from the tables of the source or written to those of the destination. The stream then brings what commits at that position
// or later. That the tables show what committed before is the caller's word.
//
// When Adopt fails or ctx ends it can be called again with the same Config. Until the ledger's transaction has committed it begins
// anew, with another slot and a later position.
func Adopt(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.validate(); err != nil {
		return Result{}, err
	}
	if !cfg.incremental() {
		return Result{}, errors.New("fullcopy: Config.Slot is missing")
	}
	j := &job{cfg: cfg, log: cfg.Logger, tables: newTables(cfg.Report)}
	defer j.close(ctx)
	result, err := j.adopt(ctx)
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	return result, err
}

func (j *job) adopt(ctx context.Context) (Result, error) {
	j.cfg.Report.Phase(PhaseSnapshot, 0, 0)
	if err := j.open(ctx); err != nil {
		return Result{}, err
	}
	if err := j.evict(ctx); err != nil {
		return Result{}, err
	}
	p, err := ledger.Read(ctx, j.dst, j.cfg.Task)
	if err == nil && p.Slot != "" {
		return Result{HighestLSN: p.LSN}, j.checkSlot(ctx, p)
	}
	if err != nil && !errors.Is(err, ledger.ErrNoPosition) {
		return Result{}, err
	}
	inv, err := j.readSource(ctx, j.src)
	if err != nil {
		return Result{}, err
	}
	if _, err := j.adopted(ctx, inv, ledger.Position{}, nil); err != nil { // before anything is made
		return Result{}, err
	}
	if j.cfg.Publication != "" {
		if err := j.publish(ctx, inv, func(schema.Name) bool { return false }); err != nil {
			return Result{}, err
		}
	}
	return j.adoptAt(ctx)
}

// adoptAt makes the slot and records the tables that its snapshot shows.
func (j *job) adoptAt(ctx context.Context) (Result, error) {
	snap, err := j.exportSlot(ctx, j.cfg.Slot, true)
	if err != nil {
		return Result{}, err
	}
	defer snap.close(ctx)
	a, err := j.newAnchor(ctx, snap)
	if err != nil {
		return Result{}, err
	}
	defer a.close(ctx)
	p := ledger.Position{Task: j.cfg.Task, Slot: j.cfg.Slot, SystemID: snap.system.SystemID, Timeline: snap.system.Timeline, LSN: snap.lsn}
	units, err := j.adopted(ctx, a.inv, p, a.late)
	if err != nil {
		return Result{}, err
	}
	err = ledger.BeginWith(ctx, j.dst, p, func(tx pgx.Tx) error {
		for _, u := range units {
			if err := ledger.MarkObject(ctx, tx, j.cfg.Task, claimKey(u.name)); err != nil {
				return err
			}
			if err := j.markCopied(ctx, tx, u); err != nil {
				return err
			}
		}
		return j.markPublished(ctx, tx)
	})
	if err != nil {
		return Result{}, err
	}
	for _, t := range a.inv.Tables {
		if t.Unlogged {
			j.cfg.Report.Object(ObjectProgress{Type: "TABLE", Name: t.Name.String(), State: ObjectLeftOut, Error: "its changes are not in the WAL, because it is unlogged"})
		}
	}
	j.tables.expect(units)
	for _, u := range units {
		j.tables.finished(u)
	}
	return Result{HighestLSN: p.LSN}, nil
}

// adopted are the units of the tables whose changes come, or why one of them cannot be taken as it is.
func (j *job) adopted(ctx context.Context, inv *schema.Inventory, p ledger.Position, late map[schema.Name]bool) ([]*unit, error) {
	dest, err := j.readDestination(ctx, inv)
	if err != nil {
		return nil, err
	}
	units := j.makeUnits(inv, dest, p.LSN, func(n schema.Name) bool { return !late[n] && !inv.Table(n).Unlogged })
	var unfit []TableFailure
	for _, u := range units {
		if u.misfit != nil {
			unfit = append(unfit, TableFailure{u.name, fmt.Errorf("stream into %s: %w", u.name, u.misfit)})
		}
	}
	if unfit != nil {
		return nil, &TablesError{unfit}
	}
	return units, nil
}
