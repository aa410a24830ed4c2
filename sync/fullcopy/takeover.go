package fullcopy

import (
	"context"
	"errors"
	"fmt"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// evictSQL ends the sessions of an earlier run that are still there because their client vanished without a word. They could
// not do harm, the fence sees to that, but hold locks and slots.
const evictSQL = `
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
 WHERE application_name = $1 AND usename = current_user AND datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid()`

// evict does so on both sides, and makes sure of the ledger.
func (j *job) evict(ctx context.Context) error {
	for _, conn := range []*pgx.Conn{j.src, j.dst} {
		if _, err := conn.Exec(ctx, evictSQL, j.cfg.application()); err != nil {
			return fmt.Errorf("end sessions of an earlier run: %w", err)
		}
	}
	return ledger.Ensure(ctx, j.dst)
}

// takeOver makes this run the task's only one and finds out where the task stands. At the very beginning it creates the
// publication, the slot and the ledger's row, in this order, and returns the slot's snapshot.
func (j *job) takeOver(ctx context.Context) (snap *snapshot, err error) {
	if err := j.evict(ctx); err != nil {
		return nil, err
	}
	position, err := ledger.Read(ctx, j.dst, j.cfg.Task)
	switch {
	case errors.Is(err, ledger.ErrNoPosition), err == nil && position.Slot == "" && j.cfg.incremental(): // the latter after a reset
		if snap, err = j.beginTask(ctx); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if err := j.checkSlot(ctx, position); err != nil {
			return nil, err
		}
	}
	if position, err = ledger.Raise(ctx, j.dst, j.cfg.Task); err == nil {
		j.fence, j.start = position.Fence, position.LSN
		j.marks.keys, err = ledger.Objects(ctx, j.dst, j.cfg.Task)
	}
	if err != nil && snap != nil {
		snap.close(ctx)
	}
	return snap, err
}

// beginTask makes the task's traces on both sides. If it is interrupted before the ledger has the row, the next run finds no
// row and begins again, dropping the slot.
func (j *job) beginTask(ctx context.Context) (snap *snapshot, err error) {
	position := ledger.Position{Task: j.cfg.Task, Slot: j.cfg.Slot}
	if j.cfg.incremental() {
		if j.cfg.Publication != "" {
			if err := j.createPublication(ctx); err != nil {
				return nil, err
			}
		}
		if snap, err = j.exportSlot(ctx, j.cfg.Slot, true); err != nil {
			return nil, err
		}
		position.SystemID, position.Timeline, position.LSN = snap.system.SystemID, snap.system.Timeline, snap.lsn
	}
	if err := ledger.BeginWith(ctx, j.dst, position, func(tx pgx.Tx) error { return j.markPublished(ctx, tx) }); err != nil {
		if snap != nil {
			snap.close(ctx)
		}
		return nil, err
	}
	return snap, nil
}

// checkSlot refuses to go on without the slot that has kept the changes since the beginning.
func (j *job) checkSlot(ctx context.Context, p ledger.Position) error {
	if p.Slot != j.cfg.Slot {
		return &LostError{fmt.Sprintf("it was begun with slot %q, not %q", p.Slot, j.cfg.Slot)}
	}
	if !j.cfg.incremental() {
		return nil
	}
	lost := "restart_lsn IS NULL"
	if j.sourceVersion >= 130000 {
		lost = "coalesce(wal_status = 'lost', true) OR " + lost
	}
	var gone bool
	err := j.src.QueryRow(ctx, `SELECT `+lost+` FROM pg_catalog.pg_replication_slots
		WHERE slot_name = $1 AND slot_type = 'logical' AND database = pg_catalog.current_database()`, j.cfg.Slot).Scan(&gone)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return &LostError{fmt.Sprintf("slot %q does not exist any more", j.cfg.Slot)}
	case err != nil:
		return fmt.Errorf("look for slot %s: %w", j.cfg.Slot, err)
	case gone:
		return &LostError{fmt.Sprintf("slot %q has lost changes", j.cfg.Slot)}
	}
	conn, err := j.cfg.Source.ConnectReplication(ctx, j.cfg.application())
	if err != nil {
		return err
	}
	defer endpoint.Close(ctx, conn)
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return fmt.Errorf("identify the source: %w", err)
	}
	if system.SystemID != p.SystemID {
		return &LostError{fmt.Sprintf("the source is another cluster (system identifier %s, not %s)", system.SystemID, p.SystemID)}
	}
	return nil
}
