package compare_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/sync/ledger"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// fence is that of the task's row in the ledger in tests whose stream applies something.
const fence = 3

// applying is a lab whose task streams, whose ledger knows the stream, and whose hold lets come what the test applies before it reaches its
// position.
func applying(t *testing.T, reach func(l *lab)) *lab {
	t.Helper()
	l, st := live(t)
	if err := ledger.Begin(t.Context(), l.d, ledger.Position{Task: l.task.ID, Fence: fence, Slot: "s", SystemID: "1", Timeline: 1}); err != nil {
		t.Fatal(err)
	}
	st.onHold = func(context.Context, int) (func(context.Context, pglogrepl.LSN) (int64, error), func() error, error) {
		return func(context.Context, pglogrepl.LSN) (int64, error) { reach(l); return fence, nil }, func() error { return nil }, nil
	}
	return l
}

// apply does in the destination what a stream does with a change: in one transaction with its position, and it must meet one row, or else
// there is a conflict.
func (l *lab) apply(conn *pgx.Conn, sql string) error {
	return pgx.BeginFunc(l.Context(), conn, func(tx pgx.Tx) error {
		if err := ledger.Hold(l.Context(), tx, l.task.ID, fence, 0); err != nil {
			return err
		}
		tag, err := tx.Exec(l.Context(), sql)
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("conflict: %q met %d rows", sql, tag.RowsAffected())
		}
		return err
	})
}

// waiting reports whether a session of the destination waits for a lock.
func (l *lab) waiting(application string) bool {
	l.Helper()
	var n int
	if err := l.d.QueryRow(l.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
		AND application_name LIKE $1`, application).Scan(&n); err != nil {
		l.Fatal(err)
	}
	return n > 0
}

// TestRepairFollowsTheStream: what the source has committed reaches the destination before anything is decided. A repair that did not wait for
// it would delete a row that the stream is about to delete, which would stop on it.
func TestRepairFollowsTheStream(t *testing.T) {
	t.Parallel()
	var pending []string
	l := applying(t, func(l *lab) {
		for _, sql := range pending {
			if err := l.apply(l.holder, sql); err != nil {
				t.Error(err)
			}
		}
		pending = nil
	})
	l.both("CREATE TABLE t(id int PRIMARY KEY, v text)")
	l.exec(l.s, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
	l.exec(l.d, "INSERT INTO t VALUES (1, 'x'), (2, 'x')")
	run := l.values(nil)
	l.exec(l.s, "DELETE FROM t WHERE id = 1; UPDATE t SET v = 'B' WHERE id = 2")
	pending = []string{"DELETE FROM t WHERE id = 1", "UPDATE t SET v = 'B' WHERE id = 2"}
	for _, row := range l.repair(run.ID, false).Rows {
		if row.Outcome == catalog.OutcomeRepaired { // the one is gone, the other equal: both moved, since they were noted before
			t.Errorf("%+v", row)
		}
	}
	for _, sql := range pending {
		if err := l.apply(l.holder, sql); err != nil {
			t.Errorf("the stream comes after the repair: %v", err)
		}
	}
	l.equalNow()
}

// TestRepairKeepsTheStreamOut: from the first look until it has committed, no transaction of the stream gets between. A stream that could
// would find nothing to delete, and the row that is inserted then would stay for ever.
func TestRepairKeepsTheStreamOut(t *testing.T) {
	t.Parallel()
	l := applying(t, func(*lab) {})
	l.both("CREATE TABLE t(id int PRIMARY KEY, v text); CREATE TABLE u(id int PRIMARY KEY, v text)")
	l.exec(l.s, "INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1, 'a')")
	l.exec(l.d, "INSERT INTO u VALUES (1, 'x')")
	run := l.values(nil)
	tx, err := l.holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM u FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	repaired := make(chan error, 1)
	go func() {
		r, err := l.service.Repair(l.Context(), run.ID, "somebody", false)
		for i := 0; err == nil && i < len(r.Rows); i++ {
			if r.Rows[i].Outcome != catalog.OutcomeRepaired {
				err = errors.New(r.Rows[i].Outcome)
			}
		}
		repaired <- err
	}()
	l.eventually("the repair has decided on t and waits for a row of u", func() bool { return l.waiting("pgsyncd % repair") })
	l.exec(l.s, "DELETE FROM t")
	stream, err := pgx.ConnectConfig(t.Context(), l.d.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close(context.WithoutCancel(t.Context())) }()
	if _, err := stream.Exec(t.Context(), "SET application_name = 'the stream'"); err != nil {
		t.Fatal(err)
	}
	applied := make(chan error, 1)
	go func() { applied <- l.apply(stream, "DELETE FROM t WHERE id = 1") }()
	l.eventually("the stream waits as well, or has passed", func() bool { return len(applied) > 0 || l.waiting("the stream") })
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-repaired; err != nil {
		t.Error(err)
	}
	if err := <-applied; err != nil {
		t.Error(err)
	}
	l.equalNow()
}

// TestRepairOfUnseenCommits: PostgreSQL writes a commit to its WAL before it shows it, so the destination may have what the source hides. Such
// a row is not one that only the destination has.
func TestRepairOfUnseenCommits(t *testing.T) {
	t.Parallel()
	l := applying(t, func(*lab) {})
	l.both("CREATE TABLE t(id int PRIMARY KEY, v text); CREATE TABLE calm(id int PRIMARY KEY, v text)")
	l.exec(l.d, "INSERT INTO t VALUES (1, 'x'); INSERT INTO calm VALUES (1, 'x')")
	run := l.values(nil)
	hidden, err := l.s.Begin(t.Context()) // its commit would be in the WAL and has been applied
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hidden.Exec(t.Context(), "INSERT INTO t VALUES (1, 'a')"); err != nil {
		t.Fatal(err)
	}
	if err := l.apply(l.holder, "UPDATE t SET v = 'a' WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	for _, row := range l.repair(run.ID, false).Rows {
		want := map[string]string{table: "not repaired: a transaction that was changing the table in the source had not ended", `"public"."calm"`: catalog.OutcomeRepaired}[row.SourceTable]
		if !strings.HasPrefix(row.Outcome, want) {
			t.Errorf("%+v, want %s", row, want)
		}
	}
	if err := hidden.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.streams.set(nil)
	l.fire(catalog.EventStop, catalog.EventDrained, catalog.EventCompleted)
	l.equalNow()
}
