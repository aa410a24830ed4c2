package sync

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

const (
	// watchEvery is how often the source of a task that runs is looked at, and watchQuiet that of another.
	watchEvery = 2 * time.Second
	watchQuiet = 10 * time.Second
	// watchAway is the longest pause after looks that failed: nobody's log should fill with logins that are refused.
	watchAway = 5 * time.Minute
	// lookTimeout bounds one look.
	lookTimeout = 30 * time.Second
	// strangersEvery is how often the source is searched for tables that the task does not have.
	strangersEvery = time.Minute
	// slotRefresh is how often figures that do not change are written; they are shown as unknown after a minute.
	slotRefresh = 20 * time.Second
)

// slotWatch keeps what is known of the slot of one task fresh, and does what was asked for when it retains too much WAL. It is no
// part of the task's runner, because WAL piles up most while the task is paused, has failed, or cannot reach its destination.
type slotWatch struct {
	*Supervisor
	task   atomic.Pointer[catalog.Task]
	wake   chan struct{} // capacity 1: the task is another now
	cancel context.CancelFunc

	// What follows belongs to the goroutine of run.
	conn  *pgx.Conn
	with  catalog.Task // settings that conn was opened with
	query string

	saved     catalog.Slot
	savedAt   time.Time
	alarm     string // raised last; valid once known is true
	known     bool
	condemned bool // the task has been failed for what the slot retains
	growth    trend
	minute    time.Time // of the last metric

	stream   *incremental.Stream // the one that strangers were searched for
	searched time.Time
}

// hasSlot tells whether a task may have a slot on its source.
func hasSlot(t catalog.Task) bool {
	n, err := readNotes(t)
	return err == nil && n.Slot != "" && t.Mode != catalog.ModeFull && t.State != catalog.StateCompleted
}

// watchSlots brings the watches in line with the tasks; the caller holds mu.
func (s *Supervisor) watchSlots(base context.Context, g *errgroup.Group, tasks []catalog.Task) {
	wanted := map[string]bool{}
	for _, t := range tasks {
		if !hasSlot(t) {
			continue
		}
		wanted[t.ID] = true
		w := s.watches[t.ID]
		if w == nil {
			ctx, cancel := context.WithCancel(base)
			w = &slotWatch{Supervisor: s, wake: make(chan struct{}, 1), cancel: cancel}
			w.task.Store(&t)
			s.watches[t.ID] = w
			g.Go(func() error { w.run(ctx); return nil })
			continue
		}
		if before := w.task.Swap(&t); before.State != t.State || !sameSettings(*before, t) {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
	for id, w := range s.watches {
		if !wanted[id] {
			w.cancel()
			delete(s.watches, id)
		}
	}
}

// run looks at the slot until ctx ends.
func (w *slotWatch) run(ctx context.Context) {
	defer w.cancel()
	defer func() { w.disconnect(ctx) }()
	wait := watchEvery
	for {
		t := *w.task.Load()
		r := w.runner(t.ID)
		err := w.lookSafely(ctx, t, r)
		switch {
		case err != nil && ctx.Err() == nil:
			w.cfg.Logger.Debug("watch slot", "task", t.Name, "error", err)
			w.disconnect(ctx)
			longest := watchAway
			if r != nil {
				longest = longestPause
			}
			wait = min(2*wait, longest)
		case r == nil:
			w.disconnect(ctx)
			wait = watchQuiet
		default:
			wait = watchEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-w.wake:
			timer.Stop()
			wait = watchEvery
		case <-timer.C:
		}
	}
}

// runner is the one of a task, nil when it has none.
func (s *Supervisor) runner(id string) *runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runners[id]
}

func (w *slotWatch) disconnect(ctx context.Context) {
	if w.conn != nil {
		endpoint.CloseConn(ctx, w.conn)
		w.conn = nil
	}
}

// lookSafely keeps a panic from taking the daemon down.
func (w *slotWatch) lookSafely(ctx context.Context, t catalog.Task, r *runner) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.cfg.Logger.Error("watch panicked", "task", t.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return w.look(ctx, t, r)
}

// look reads what the source says of the slot once, makes it known, and acts on it.
func (w *slotWatch) look(ctx context.Context, t catalog.Task, r *runner) error {
	q := &runner{Supervisor: w.Supervisor, id: t.ID, task: t, log: w.cfg.Logger.With("task", t.Name)}
	if err := q.open(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := w.connect(bounded, q); err != nil {
		return err
	}
	if !w.known {
		alarm, err := w.cfg.Catalog.SlotAlarm(bounded, t.ID)
		if err != nil {
			return err
		}
		w.alarm, w.known = alarm, true
	}
	asked := time.Now()
	seen, err := readSlot(bounded, w.conn, w.query, q.notes.Slot)
	if err != nil {
		return err
	}
	now := time.Now()
	if r != nil {
		r.figures.source(now, seen.end, seen.retained)
		r.figures.meter.Clock(asked, seen.clock, now)
	}
	if err := w.judge(ctx, q, seen, now); err != nil {
		return err
	}
	if err := w.addMetric(bounded, t, r, seen, now); err != nil {
		return err
	}
	return w.search(bounded, q, r)
}

// connect opens a session with the source where there is none, or one with settings of before.
func (w *slotWatch) connect(ctx context.Context, q *runner) error {
	if w.conn != nil && sameSettings(w.with, q.task) {
		return nil
	}
	w.disconnect(ctx)
	conn, err := q.source.Connect(ctx, "pgsyncd "+q.task.Name+" watch")
	if err != nil {
		return err
	}
	version, err := schema.ServerVersion(ctx, conn)
	if err != nil {
		endpoint.CloseConn(ctx, conn)
		return err
	}
	w.conn, w.with, w.query = conn, q.task, slotQuery(version)
	return nil
}

// slotState is what the source says of a slot.
type slotState struct {
	end      pglogrepl.LSN // of the source's WAL
	clock    time.Time     // of the source
	retained *int64        // bytes of WAL; nil without a slot
	safe     *int64        // bytes that may be written before the server lets go of WAL the slot needs; nil without a limit
	keep     *int64        // max_slot_wal_keep_size in bytes; nil for none
}

// slotQuery reads a slotState. safe_wal_size and max_slot_wal_keep_size are there since 13.
func slotQuery(version int) string {
	current, diff := "pg_current_wal_lsn", "pg_wal_lsn_diff"
	if version < 100000 {
		current, diff = "pg_current_xlog_location", "pg_xlog_location_diff"
	}
	safe, keep := "NULL::bigint", "NULL::bigint"
	if version >= 130000 {
		safe = "s.safe_wal_size"
		keep = "(SELECT nullif(setting, '-1')::bigint * 1048576 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size')"
	}
	return `SELECT w.lsn::text, pg_catalog.clock_timestamp(), pg_catalog.` + diff + `(w.lsn, s.restart_lsn)::bigint, ` + safe + `, ` + keep + `
		FROM (SELECT pg_catalog.` + current + `() AS lsn) w
		LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1`
}

func readSlot(ctx context.Context, conn *pgx.Conn, query, slot string) (seen slotState, err error) {
	var end string
	if err = conn.QueryRow(ctx, query, slot).Scan(&end, &seen.clock, &seen.retained, &seen.safe, &seen.keep); err == nil {
		seen.end, err = pglogrepl.ParseLSN(end)
	}
	if err != nil {
		return seen, fmt.Errorf("look at slot %s: %w", slot, err)
	}
	return seen, nil
}

// addMetric makes the history show what the slot retains while the task has no runner, which would tell.
func (w *slotWatch) addMetric(ctx context.Context, t catalog.Task, r *runner, seen slotState, now time.Time) error {
	minute := now.Truncate(time.Minute)
	if r != nil || seen.retained == nil || minute.Equal(w.minute) {
		return nil
	}
	m := catalog.Metric{Time: now, SlotWALBytes: seen.retained}
	if t.State == catalog.StateIncrementalFailed {
		m.Streaming = new(bool)
	}
	if err := w.cfg.Catalog.AddMetric(ctx, t.ID, m); err != nil {
		return err
	}
	w.minute = minute
	return nil
}

// search looks for tables that the task does not have, at the beginning of a stream and now and then.
func (w *slotWatch) search(ctx context.Context, q *runner, r *runner) error {
	if r == nil {
		return nil
	}
	stream := r.stream.Load()
	if stream == nil || stream == w.stream && time.Since(w.searched) < strangersEvery {
		return nil
	}
	w.stream, w.searched = stream, time.Now()
	return q.strangers(ctx, w.conn, r.figures.known())
}

// stranger is a table that a task does not have.
type stranger struct {
	task  string
	table schema.Name
}

// strangers warns, once for each, of tables of the source that were created after the task began. Partitions join with their tree.
func (r *runner) strangers(ctx context.Context, source *pgx.Conn, known map[schema.Name]bool) error {
	inv, err := schema.Read(ctx, source, r.selection)
	if err != nil {
		return err
	}
	for _, t := range inv.Tables {
		if t.Kind == schema.KindPartitioned || t.Partition || known[t.Name] {
			continue
		}
		if t.Unlogged && r.task.Mode == catalog.ModeIncremental { // it could not join, and sync_objects says so of those there were
			continue
		}
		if _, told := r.told.LoadOrStore(stranger{r.id, t.Name}, true); told {
			continue
		}
		r.record(ctx, "warning", "table not synchronized", "table "+t.Name.String()+" does not belong to the task, so its rows are not synchronized",
			"A table that was created or renamed after a task began does not join it. Create it in the destination, then: CREATE SYNC TASK … FOR ( TABLE "+t.Name.String()+" ) … WITH ( existing_objects = 'use' ).")
	}
	return nil
}

// tell writes to the log of a task from outside of its runner.
func (s *Supervisor) tell(ctx context.Context, t catalog.Task, level, event, message, detail string) {
	r := &runner{Supervisor: s, id: t.ID, log: s.cfg.Logger.With("task", t.Name)}
	r.record(ctx, level, event, message, detail)
}
