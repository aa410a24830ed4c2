package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// stop ends a task in good order: everything the source has committed until now is brought to the destination, then the
// task's traces are removed. Network faults are waited out; what cannot be waited for is what a forced stop is for.
func (r *runner) stop(ctx context.Context) {
	wait, attempts := firstPause, int64(0)
	for {
		err := r.finish(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		kind := endpoint.Classify(err)
		if kind == endpoint.FaultOther {
			attempts++
		}
		if kind == endpoint.FaultPermanent || attempts > r.retryLimit() {
			r.fail(ctx, err)
			return
		}
		ch := r.explain(err)
		r.record(ctx, "warning", "stop delayed", ch.Error, ch.Detail)
		if !pause(ctx, wait) {
			return
		}
		wait = min(2*wait, longestPause)
	}
}

func (r *runner) finish(ctx context.Context) error {
	if current, err := r.refresh(ctx); err != nil || !current {
		return err
	}
	streamed := r.incremental() && r.notes.Phase == phaseIncremental
	if r.task.State == catalog.StateStopping {
		if streamed {
			if err := r.drain(ctx); err != nil {
				return err
			}
		} else if r.notes.Phase == phaseFull && r.task.Mode != catalog.ModeIncremental {
			r.record(ctx, "warning", "stopped early", "the full synchronization was not complete; the destination holds a part of the data", "")
		}
		r.fire(ctx, catalog.EventDrained, catalog.Change{})
		if r.task.State != catalog.StateCompleting {
			return errors.New("the catalog has not taken note that the stream is drained")
		}
	}
	if r.notes.Phase != phaseNew {
		if err := r.carryMemberships(ctx); err != nil {
			return err
		}
	}
	if err := r.cleanSource(ctx, streamed); err != nil {
		return err
	}
	if r.notes.Phase != phaseNew {
		if err := r.eraseLedger(ctx); err != nil {
			return err
		}
		r.adviseOnReplicationRole(ctx)
	}
	r.fire(ctx, catalog.EventCompleted, catalog.Change{})
	return nil
}

// drain streams until everything that was committed on the source when it began is durable in the destination.
func (r *runner) drain(ctx context.Context) error {
	conn, err := r.source.Connect(ctx, r.application("source"))
	if err != nil {
		return err
	}
	end, err := schema.WALEnd(ctx, conn)
	endpoint.CloseConn(ctx, conn)
	if err != nil {
		return err
	}
	return r.streamTo(ctx, max(end, r.notes.CopiedAt))
}

// streamTo streams until everything before lsn is durable in the destination.
func (r *runner) streamTo(ctx context.Context, lsn pglogrepl.LSN) error {
	st, err := r.newStream()
	if err != nil {
		return err
	}
	st.StopAt(lsn)
	r.stream.Store(st)
	defer r.stream.Store(nil)
	return st.Run(ctx)
}

// cleanSource warns of tables that were left out, carries the sequences over, and removes slot and publication. Every step may be repeated.
func (r *runner) cleanSource(ctx context.Context, sequences bool) error {
	if r.notes.Slot == "" || !r.incremental() {
		return nil
	}
	src, err := r.source.Connect(ctx, r.application("source"))
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, src)
	if sequences {
		if err := r.strangers(ctx, src, r.figures.known()); err != nil {
			return err
		}
		if err := r.setSequences(ctx, src); err != nil {
			return err
		}
		// What a standby lacks that takes over from now on, nobody sends again.
		if err := incremental.AwaitStandbys(ctx, r.streamConfig()); err != nil {
			return err
		}
	}
	if err := dropSlot(ctx, src, r.notes.Slot); err != nil {
		return err
	}
	return r.dropPublication(ctx, src)
}

func (r *runner) dropPublication(ctx context.Context, src *pgx.Conn) error {
	if r.notes.Publication == "" {
		return nil
	}
	if _, err := src.Exec(ctx, dropPublicationSQL(r.notes.Publication)); err != nil {
		return fmt.Errorf("drop publication %s: %w", r.notes.Publication, err)
	}
	return nil
}

func dropPublicationSQL(name string) string {
	return "DROP PUBLICATION IF EXISTS " + pgx.Identifier{name}.Sanitize()
}

func dropSlotSQL(name string) string {
	return "SELECT pg_catalog.pg_drop_replication_slot('" + name + "')"
}

// dropSlot drops the slot if it exists, waiting while a walsender that has lost its client still holds it.
func dropSlot(ctx context.Context, conn *pgx.Conn, slot string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("slot %s is still in use", slot))
	defer cancel()
	for {
		var active bool
		err := conn.QueryRow(ctx, `SELECT active FROM pg_catalog.pg_replication_slots WHERE slot_name = $1`, slot).Scan(&active)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil && !active {
			_, err = conn.Exec(ctx, dropSlotSQL(slot))
			if err == nil {
				return nil
			}
		}
		var pg *pgconn.PgError
		if err != nil && (!errors.As(err, &pg) || pg.Code != "55006") {
			return fmt.Errorf("drop slot %s: %w", slot, err)
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("drop slot %s: %w", slot, context.Cause(ctx))
		}
	}
}

// setSequences gives every sequence of the destination the source's value and a margin, so that values handed out by the
// source after they were read do not come again.
func (r *runner) setSequences(ctx context.Context, src *pgx.Conn) error {
	inv, err := schema.Read(ctx, src, r.selection)
	if err != nil {
		return err
	}
	dst, err := r.destination.Connect(ctx, r.application("destination"))
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, dst)
	shared := sharedSequences(inv.Sequences)
	for _, s := range inv.Sequences {
		if !s.Readable {
			r.record(ctx, "warning", "sequence not set", "the source user may not read sequence "+s.Name.String(), "")
			continue
		}
		if _, err := dst.Exec(ctx, setvalSQL(s, r.options.SequenceMargin, r.appends() || shared[s.Target])); err != nil {
			var pg *pgconn.PgError
			if errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "3F000") {
				r.record(ctx, "warning", "sequence not set", "sequence "+s.Target.String()+" does not exist in the destination", "")
				continue
			}
			return fmt.Errorf("set sequence %s: %w", s.Target, err)
		}
	}
	return nil
}

// appends tells whether other tasks may put rows into the same tables.
func (r *runner) appends() bool {
	return fullcopy.Existing(r.options.ExistingObjects) == fullcopy.ExistingAppend
}

// sharedSequences are the names in the destination that several sequences of the source have.
func sharedSequences(sequences []schema.Sequence) map[schema.Name]bool {
	seen, shared := map[schema.Name]bool{}, map[schema.Name]bool{}
	for _, s := range sequences {
		shared[s.Target] = seen[s.Target]
		seen[s.Target] = true
	}
	return shared
}

// setvalSQL is the statement that sets a sequence of the destination to the source's value plus margin in its own direction, within its
// bounds. A sequence that others move as well is not set back.
func setvalSQL(s schema.Sequence, margin int64, others bool) string {
	value, farther := s.LastValue, "greatest"
	switch {
	case s.Increment < 0 && value < s.Min+margin:
		value, farther = s.Min, "least"
	case s.Increment < 0:
		value, farther = value-margin, "least"
	case value > s.Max-margin:
		value = s.Max
	default:
		value += margin
	}
	name := schema.Literal(s.Target.String())
	if others {
		return fmt.Sprintf("SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s(last_value, %d), is_called OR %t) FROM %s",
			name, farther, value, s.IsCalled, s.Target)
	}
	return fmt.Sprintf("SELECT pg_catalog.setval(%s::pg_catalog.regclass, %d, %t)", name, value, s.IsCalled)
}

// adviseOnReplicationRole tells when the destination server still runs everything as a replica.
func (r *runner) adviseOnReplicationRole(ctx context.Context) {
	dst, err := r.destination.Connect(ctx, r.application("destination"))
	if err != nil {
		r.log.Info("server-wide session_replication_role not checked", "error", err)
		return
	}
	defer endpoint.CloseConn(ctx, dst)
	var role string
	if err := dst.QueryRow(ctx, `SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'session_replication_role'`).Scan(&role); err != nil {
		r.log.Info("server-wide session_replication_role not checked", "error", err)
		return
	}
	if role == "replica" {
		r.record(ctx, "warning", "session_replication_role",
			"session_replication_role is still replica on the destination: its triggers and foreign keys do not fire",
			"Set it back with: ALTER SYSTEM RESET session_replication_role; SELECT pg_reload_conf();")
	}
}

// record writes to the task's log in the catalog. A log that cannot be written must not stop the work it tells of.
func (r *runner) record(ctx context.Context, level, event, message, detail string) {
	ctx, cancel := settle(ctx)
	defer cancel()
	r.log.Info("task event", "event", event, "message", message, "detail", detail)
	t, err := r.cfg.Catalog.TaskByID(ctx, r.id) // it may have been renamed
	if err == nil {
		err = r.cfg.Catalog.Log(ctx, t.Name, level, event, message, detail)
	}
	if err != nil {
		r.log.Warn("write task log", "error", err)
	}
}
