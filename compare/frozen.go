package compare

import (
	"context"
	"errors"
	"fmt"
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
	// freezeAttempts is how often freezing is tried when the stream has gone further than it was to.
	freezeAttempts = 4
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
	passing bool // another attempt may do
}

func (o *obstacle) Error() string { return o.why }

// obstruct makes an obstacle of what befell a step, unless the context has ended. A connection that is lost shows at its next use.
func obstruct(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if o, ok := errors.AsType[*obstacle](err); ok {
		return o
	}
	return &obstacle{why: step + ": " + err.Error()}
}

// freezer remembers whether freezing makes sense. The run's workers share it.
type freezer struct {
	mu     sync.Mutex
	why    string    // the last obstacle; empty: there was none
	not    time.Time // to be tried before
	failed bool      // the last attempt
}

// patience is how long a slot is waited for. The caller holds the lock.
func (f *freezer) patience() time.Duration {
	if f.failed {
		return slotImpatience
	}
	return slotPatience
}

// obstacle is why the sides could not be frozen; empty if they could.
func (f *freezer) obstacle() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

// freeze begins a transaction on every connection. All of them, on either side, show the source's transactions whose commit records
// start before a position, and no others. An *obstacle says that there is no such position to be had.
func (j *job) freeze(ctx context.Context, st Stream, all ...*sides) (lsn pglogrepl.LSN, err error) {
	for _, s := range all {
		if err := s.leave(ctx); err != nil {
			return 0, err
		}
	}
	defer func() {
		for _, s := range all {
			if err != nil {
				_ = s.leave(ctx) // what is broken shows at its next use
			}
		}
	}()
	control := all[0].source
	if err := freezable(ctx, control); err != nil {
		return 0, err
	}
	sender, err := j.source.ConnectReplication(ctx, j.application)
	if err != nil {
		return 0, obstruct(ctx, "connect for replication", err)
	}
	defer endpoint.Close(ctx, sender)
	lsn, snapshot, err := j.meetAt(ctx, st, sender, control, all)
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if err := begin(ctx, s.source, "SET TRANSACTION SNAPSHOT "+schema.Literal(snapshot)); err != nil {
			return 0, passing(obstruct(ctx, "import snapshot", err))
		}
	}
	if err := settled(ctx, control, sender); err != nil {
		return 0, obstruct(ctx, "wait for the commits that the snapshot shows", err)
	}
	for _, s := range all {
		s.moment = &moment{lsn, time.Now()}
	}
	return lsn, nil
}

// meetAt learns of a position with a snapshot of the source, which sender keeps, and begins transactions of the destination that show the same.
// The stream stands still meanwhile, but not while the slot is made: that may take long.
func (j *job) meetAt(ctx context.Context, st Stream, sender *pgconn.PgConn, control *pgx.Conn, all []*sides) (lsn pglogrepl.LSN, snapshot string, err error) {
	reach, release, err := st.Hold(ctx)
	if err != nil {
		return 0, "", obstruct(ctx, "hold the stream", err)
	}
	defer func() {
		if moved := release(); err == nil && moved != nil {
			err = passing(obstruct(ctx, "hold the stream", moved))
		}
	}()
	if lsn, snapshot, err = j.export(ctx, sender, control, j.freezer.patience()); err != nil {
		return 0, "", err
	}
	fence, err := reach(ctx, lsn)
	if err != nil {
		return 0, "", passing(obstruct(ctx, "hold the stream", err))
	}
	for _, s := range all {
		if err := begin(ctx, s.destination, "SELECT 1"); err != nil {
			return 0, "", passing(obstruct(ctx, "open snapshot in the destination", err))
		}
		position, err := ledger.Read(ctx, s.destination, j.task.ID)
		if err != nil {
			return 0, "", obstruct(ctx, "open snapshot in the destination", err)
		}
		if position.Fence != fence {
			return 0, "", &obstacle{why: "another owner has taken the task over"}
		}
	}
	return lsn, snapshot, nil
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

// passing marks an obstacle as one that may be gone at the next attempt.
func passing(err error) error {
	if o, ok := errors.AsType[*obstacle](err); ok {
		o.passing = true
	}
	return err
}

// meet has sides show one moment, if that can be had.
func (j *job) meet(ctx context.Context, st Stream, all ...*sides) error {
	f := j.freezer
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Now().Before(f.not) {
		return nil
	}
	for attempt := 1; ; attempt++ {
		began := time.Now()
		lsn, err := j.freeze(ctx, st, all...)
		if err == nil {
			f.why, f.failed = "", false
			j.cfg.Logger.Info("both sides are read at one position", "run", j.run.ID, "lsn", lsn.String(), "took", time.Since(began))
			return j.cfg.Catalog.UpdateCompare(ctx, j.done.reached(lsn))
		}
		o, ok := errors.AsType[*obstacle](err)
		if !ok {
			return err
		}
		if o.passing && attempt < freezeAttempts {
			continue
		}
		f.why, f.not, f.failed = o.why, time.Now().Add(freezeAgain), true
		j.cfg.Logger.Info("the sides are not read at one position", "run", j.run.ID, "cause", o.why)
		return nil
	}
}

// frozen has sides show one moment of both, and a pair's tables as they were then, until unanchor. False says that this is not possible,
// or that the task has no stream: the sides then show what is current.
func (j *job) frozen(ctx context.Context, st Stream, s *sides, p pair) (bool, error) {
	if st != nil && s.moment != nil && time.Since(s.moment.at) > momentAge {
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
