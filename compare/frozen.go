package compare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// slotPatience bounds the creation of a slot, which waits for the transactions in progress while the stream stands still. Waits
	// for each of them end a bit earlier by themselves, for the sake of a server that loses its client.
	slotPatience, slotLockTimeout = 3 * time.Second, "2500ms"
	// settlePatience bounds the wait for transactions that have committed and are not visible yet.
	settlePatience = 10 * time.Second
	// blockersPatience bounds the wait, of comparisons alone, for the transactions that a slot would have to wait for.
	blockersPatience = 30 * time.Second
	// freezeAgain is how long comparisons go on without freezing after they could not.
	freezeAgain = 20 * time.Second
	// momentAge is after how long a comparison moves on to another moment when it has done with a table: what is seen by
	// somebody is kept by both servers.
	momentAge = 15 * time.Minute
)

// moment is the state of both sides that the transactions of a sides see. The destination's is that of the source before lsn.
type moment struct {
	lsn pglogrepl.LSN
	at  time.Time
}

// obstacle is why the two sides cannot be frozen. Nothing is wrong with the connections.
type obstacle struct {
	why     string
	blocked bool // by transactions in progress, which may end
}

func (o *obstacle) Error() string { return o.why }

// obstruct makes an obstacle of what befell a step, unless the context has ended.
func obstruct(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &obstacle{why: step + ": " + err.Error()}
}

// freezer remembers whether freezing makes sense. It is used by the run's workers.
type freezer struct {
	mu  sync.Mutex
	why string    // the last obstacle; empty: there was none
	not time.Time // to be tried before
}

// freeze begins a transaction on every connection. All of them, on either side, show the source's transactions whose commit records
// start before a position, and no others. The stream stands still until thaw; that returns nil if it has stood still until then. An
// *obstacle says that there is no such position to be had.
func (j *job) freeze(ctx context.Context, st Stream, all ...*sides) (lsn pglogrepl.LSN, thaw func() error, err error) {
	for _, s := range all {
		if err := s.leave(ctx); err != nil {
			return 0, nil, err
		}
	}
	control := all[0].source
	if err := freezable(ctx, control); err != nil {
		return 0, nil, err
	}
	sender, err := j.source.ConnectReplication(ctx, j.application)
	if err != nil {
		return 0, nil, obstruct(ctx, "connect for replication", err)
	}
	defer endpoint.Close(ctx, sender)
	reach, release, err := st.Hold(ctx)
	if err != nil {
		return 0, nil, obstruct(ctx, "hold the stream", err)
	}
	defer func() {
		if err != nil {
			_ = release()
			for _, s := range all {
				_ = s.leave(ctx) // what is broken shows at its next use
			}
		}
	}()
	lsn, name, err := j.export(ctx, sender, control)
	if err != nil {
		return 0, nil, err
	}
	for _, s := range all {
		if err := begin(ctx, s.source, "SET TRANSACTION SNAPSHOT "+schema.Literal(name)); err != nil {
			return 0, nil, fmt.Errorf("import snapshot: %w", err)
		}
	}
	if err := settled(ctx, control, sender); err != nil {
		return 0, nil, err
	}
	fence, err := reach(ctx, lsn)
	if err != nil {
		return 0, nil, obstruct(ctx, "hold the stream", err)
	}
	for _, s := range all {
		if err := begin(ctx, s.destination, "SELECT 1"); err != nil {
			return 0, nil, fmt.Errorf("open snapshot in the destination: %w", err)
		}
		position, err := ledger.Read(ctx, s.destination, j.task.ID)
		if err != nil {
			return 0, nil, err
		}
		if position.Fence != fence {
			return 0, nil, &obstacle{why: "another owner has taken the task over"}
		}
		s.moment = &moment{lsn, time.Now()}
	}
	return lsn, release, nil
}

// freezable looks whether the source can tell a position with a snapshot.
func freezable(ctx context.Context, source *pgx.Conn) error {
	version, err := schema.ServerVersion(ctx, source)
	if err != nil {
		return err
	}
	var standby bool
	if err := source.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&standby); err != nil {
		return fmt.Errorf("look at source: %w", err)
	}
	switch {
	case version < 100000:
		return &obstacle{why: "the source has no temporary slots (PostgreSQL 10)"}
	case standby:
		return &obstacle{why: "the source is a standby"}
	}
	return nil
}

// begin begins a transaction and has it see what it is going to see.
func begin(ctx context.Context, conn *pgx.Conn, first string) error {
	_, err := conn.PgConn().Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "+first).ReadAll()
	return err
}

// export creates a slot that lives as long as the session, or until that executes something else. It returns the slot's position, and the
// snapshot that shows exactly the transactions whose commit records start before it. The plugin has no part in that.
func (j *job) export(ctx context.Context, sender *pgconn.PgConn, control *pgx.Conn) (pglogrepl.LSN, string, error) {
	if _, err := sender.Exec(ctx, "SET lock_timeout = '"+slotLockTimeout+"'").ReadAll(); err != nil {
		return 0, "", fmt.Errorf("create slot: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, slotPatience)
	defer cancel()
	name := fmt.Sprintf("pgsyncd_compare_%d_%d", j.run.ID, sender.PID())
	slot, err := pglogrepl.CreateReplicationSlot(limited, sender, name, "pgoutput", pglogrepl.CreateReplicationSlotOptions{
		Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT",
	})
	switch {
	case ctx.Err() != nil:
	case err == nil:
		lsn, err := pglogrepl.ParseLSN(slot.ConsistentPoint)
		return lsn, slot.SnapshotName, err
	case limited.Err() != nil || endpoint.SQLState(err) == "55P03":
		err = &obstacle{why: "transactions that have been in progress for long", blocked: true}
	default:
		return 0, "", obstruct(ctx, "create slot", err)
	}
	// A walsender that waits does not notice that its client has gone.
	after, end := context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer end()
	if _, failed := control.Exec(after, "SELECT pg_catalog.pg_terminate_backend($1)", int32(sender.PID())); failed != nil {
		return 0, "", fmt.Errorf("end the session that creates a slot: %w", failed)
	}
	if ctx.Err() != nil {
		return 0, "", context.Cause(ctx)
	}
	return 0, "", err
}

// settled waits until no transaction that the snapshot of conn shows is in progress. In the WAL, which a slot's snapshot follows, a
// transaction has committed before it is marked so; until then others take its rows for those of an aborted one. What is in progress now is
// asked of sender, whose snapshot has served its purpose.
func settled(ctx context.Context, conn *pgx.Conn, sender *pgconn.PgConn) error {
	version, err := schema.ServerVersion(ctx, conn)
	if err != nil {
		return err
	}
	current, xip, visible, kind := "pg_current_snapshot", "pg_snapshot_xip", "pg_visible_in_snapshot", "pg_snapshot"
	if version < 130000 {
		current, xip, visible, kind = "txid_current_snapshot", "txid_snapshot_xip", "txid_visible_in_snapshot", "txid_snapshot"
	}
	var shown string
	if err := conn.QueryRow(ctx, "SELECT pg_catalog."+current+"()::text").Scan(&shown); err != nil {
		return fmt.Errorf("read the imported snapshot: %w", err)
	}
	sql := fmt.Sprintf("SELECT count(*) FROM pg_catalog.%s(pg_catalog.%s()) AS x (id) WHERE pg_catalog.%s(x.id, %s::pg_catalog.%s)",
		xip, current, visible, schema.Literal(shown), kind)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(settlePatience); ; {
		results, err := sender.Exec(ctx, sql).ReadAll()
		switch {
		case err != nil:
			return fmt.Errorf("wait for the commits that the snapshot shows: %w", err)
		case len(results) == 1 && len(results[0].Rows) == 1 && string(results[0].Rows[0][0]) == "0":
			return nil
		case time.Now().After(deadline):
			return &obstacle{why: "transactions have committed and wait for a synchronous standby"}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave ends the transactions that show a moment.
func (s *sides) leave(ctx context.Context) error {
	s.moment = nil
	for _, conn := range []*pgx.Conn{s.source, s.destination} {
		if conn.PgConn().TxStatus() == 'I' {
			continue
		}
		if _, err := conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
			return err
		}
	}
	return nil
}

// meet has sides show one moment, if that can be had. It waits a while for transactions that stand in the way.
func (j *job) meet(ctx context.Context, st Stream, all ...*sides) error {
	f := j.freezer
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Now().Before(f.not) {
		return nil
	}
	begun := time.Now()
	for {
		lsn, thaw, err := j.freeze(ctx, st, all...)
		if err == nil {
			if err = thaw(); err == nil {
				f.why = ""
				return j.cfg.Catalog.UpdateCompare(ctx, j.done.reached(lsn))
			}
			err = obstruct(ctx, "hold the stream", err)
			for _, s := range all {
				if err := s.leave(ctx); err != nil {
					return err
				}
			}
		}
		o, ok := errors.AsType[*obstacle](err)
		if !ok {
			return err
		}
		if o.blocked {
			left := blockersPatience - time.Since(begun)
			names, err := unblocked(ctx, all[0].source, left)
			if err != nil {
				return err
			}
			if names == nil && left > 0 {
				continue
			}
			o.why += ": " + strings.Join(names, ", ")
		}
		f.why, f.not = o.why, time.Now().Add(freezeAgain)
		j.cfg.Logger.Info("the sides are compared without one moment of both", "run", j.run.ID, "cause", o.why)
		return nil
	}
}

// frozen has sides show one moment of both, and a pair's tables as they were then, until unanchor. False says that this is not possible,
// or that the task has no stream: the sides then show what is current.
func (j *job) frozen(ctx context.Context, st Stream, s *sides, p pair) (bool, error) {
	if st != nil && s.moment != nil && time.Since(s.moment.at) > momentAge || s.spoilt() {
		if err := s.leave(ctx); err != nil {
			return false, err
		}
	}
	for range rounds {
		if s.moment == nil && st != nil {
			if err := j.meet(ctx, st, s); err != nil {
				return false, err
			}
		}
		if s.moment == nil {
			return false, nil
		}
		same, err := j.anchor(ctx, s, p)
		if err != nil {
			s.unanchor(ctx)
		}
		if same || err != nil {
			return same, err
		}
		if err := s.leave(ctx); err != nil {
			return false, err
		}
	}
	return false, nil
}

// spoilt reports whether a transaction has failed.
func (s *sides) spoilt() bool {
	return s.source.PgConn().TxStatus() == 'E' || s.destination.PgConn().TxStatus() == 'E'
}

// outdated reports whether a server did not keep what a transaction was to see: old_snapshot_threshold, or the recovery of a standby.
func outdated(err error) bool {
	code := endpoint.SQLState(err)
	return code == "72000" || code == "40001"
}

// obstacle is why the sides could not be frozen; empty if they could.
func (f *freezer) obstacle() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

// unblocked waits until the transactions in progress have ended. It returns those that have not when patience is at its end.
func unblocked(ctx context.Context, conn *pgx.Conn, patience time.Duration) ([]string, error) {
	// Everybody may read pg_locks. A prepared transaction has no session.
	const sql = `SELECT l.transactionid::text, CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE 'session ' || l.pid END
		FROM pg_catalog.pg_locks l WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted`
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var waiting map[string]string // nil before the first look
	for deadline := time.Now().Add(patience); ; {
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			return nil, fmt.Errorf("read locks of transactions: %w", err)
		}
		still := map[string]string{}
		var xid, holder string
		if _, err := pgx.ForEachRow(rows, []any{&xid, &holder}, func() error {
			if _, before := waiting[xid]; before || waiting == nil {
				still[xid] = holder
			}
			return nil
		}); err != nil {
			return nil, fmt.Errorf("read locks of transactions: %w", err)
		}
		if waiting = still; len(waiting) == 0 {
			return nil, nil
		}
		if time.Now().After(deadline) {
			return slices.Compact(slices.Sorted(maps.Values(waiting))), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
