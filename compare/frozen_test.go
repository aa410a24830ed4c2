package compare_test

import (
	"context"
	"errors"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// held is live with a stream that can be held: it has applied all there is, and its tables never rest. released is called
// after the n-th hold that reached its position; others wait for transactions of other tests.
func held(t *testing.T, ddl string, released func(l *lab, n int) error) (*lab, *stream) {
	t.Helper()
	src, dst := testenv.SharedPair(t)
	return heldOn(t, src, dst, ddl, released)
}

func heldOn(t *testing.T, src, dst *testenv.Cluster, ddl string, released func(l *lab, n int) error) (*lab, *stream) {
	t.Helper()
	l, st := setupOn(t, src, dst, incremental...), &stream{}
	l.streams.set(st)
	l.both(ddl)
	if err := ledger.Begin(t.Context(), l.d, ledger.Position{Task: l.task.ID, Slot: "s", SystemID: "1", Timeline: 1, LSN: 1}); err != nil {
		t.Fatal(err)
	}
	st.onHold = func(context.Context, int) (func(context.Context, pglogrepl.LSN) (int64, error), func() error, error) {
		n := 0
		reach := func(ctx context.Context, _ pglogrepl.LSN) (int64, error) {
			st.mu.Lock()
			st.reached++
			n = st.reached
			st.mu.Unlock()
			position, err := ledger.Read(ctx, l.holder, l.task.ID)
			return position.Fence, err
		}
		return reach, func() error {
			if st.count("t"); n == 0 {
				return nil
			}
			return released(l, n)
		}, nil
	}
	return l, st
}

// moments checks how many there were.
func (l *lab) moments(st *stream, want int) {
	l.Helper()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.reached != want {
		l.Errorf("%d moments, want %d", st.reached, want)
	}
}

// TestFrozen: what is written after the moment is not compared, and what differed then is, by values and rows alike.
func TestFrozen(t *testing.T) {
	t.Parallel()
	l, st := held(t, "CREATE TABLE t(id int); CREATE TABLE other(id int); CREATE TABLE later(id int); INSERT INTO t VALUES (1)", func(l *lab, n int) error {
		if n == 1 {
			l.exec(l.s, "INSERT INTO t VALUES (2)")
			l.exec(l.d, "INSERT INTO t VALUES (3), (4); DROP TABLE later")
		}
		return nil
	})
	l.exec(l.d, "INSERT INTO other VALUES (1)")
	defer l.serve()()
	run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeValues, Tables: []string{table, `"public"."other"`}}))
	results := l.results(run.ID)
	if results[table].Result != equal || results[`"public"."other"`].Result != different {
		t.Errorf("%+v", results)
	}
	if at, err := pglogrepl.ParseLSN(run.LSN); err != nil || at == 0 {
		t.Errorf("compared at %q", run.LSN)
	}
	l.moments(st, 1)
	// Of a table that is gone the moment has nothing to show any more.
	run = l.await(l.queue(count(table, `"public"."later"`)))
	if results = l.results(run.ID); results[table].Result != different || results[`"public"."later"`].Remarks == "" {
		t.Errorf("%+v", results)
	}
}

// TestFrozenBeforeItIsEmptied: a table that is truncated, rewritten, or gets other partitions after the moment is read at another one.
func TestFrozenBeforeItIsEmptied(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"truncated": "TRUNCATE t", "rewritten": "ALTER TABLE t ALTER id TYPE bigint", "made anew": "DROP TABLE t; CREATE TABLE t(id int)",
		"attached": "CREATE TABLE more(id int); INSERT INTO more VALUES (7); ALTER TABLE p ATTACH PARTITION more FOR VALUES IN (7)",
		"detached": "ALTER TABLE p DETACH PARTITION p1",
	} {
		for side := range 2 {
			t.Run(name+[]string{" in the source", " in the destination"}[side], func(t *testing.T) {
				t.Parallel()
				l, st := held(t, `CREATE TABLE t(id int); INSERT INTO t VALUES (1), (2);
					CREATE TABLE p(id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1)`, func(l *lab, n int) error {
					if n <= 2 {
						l.exec([]*pgx.Conn{l.s, l.d}[(side+n-1)%2], sql)
					}
					return nil
				})
				defer l.serve()()
				run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeValues, Tables: []string{table, `"public"."p"`}, Options: map[string]string{"workers": "1"}}))
				if results := l.results(run.ID); results[table].Result != equal || results[`"public"."p"`].Result != equal {
					t.Errorf("%+v", results)
				}
				l.moments(st, 3)
			})
		}
	}
}

// TestFreezeWaitsForTransactions that a slot has to wait for.
func TestFreezeWaitsForTransactions(t *testing.T) {
	t.Parallel()
	l, st := held(t, "CREATE TABLE t(id int)", func(*lab, int) error { return nil })
	l.exec(l.s, "BEGIN; INSERT INTO t VALUES (1)")
	defer l.serve()()
	id := l.queue(catalog.CompareRun{Type: compare.TypeValues})
	l.eventually("a slot waits", func() (waits bool) {
		if err := l.s.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted
			AND transactionid = pg_current_xact_id()::xid)`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		return waits
	})
	l.exec(l.d, "INSERT INTO t VALUES (1)")
	l.exec(l.s, "COMMIT")
	if run := l.await(id); run.LSN == "" || l.results(id)[table].Result != equal {
		t.Errorf("%+v %+v", run, l.results(id))
	}
	l.moments(st, 1)
}

// TestFreezeInVain: another owner's work, or a stream that did not stand still, is not compared as if it were this one's.
func TestFreezeInVain(t *testing.T) {
	t.Parallel()
	for name, moved := range map[string]bool{"another owner": false, "a stream that moved": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, st := held(t, "CREATE TABLE t(id int)", func(*lab, int) error { return errors.New("it has moved") })
			if !moved {
				st.onHold = func(context.Context, int) (func(context.Context, pglogrepl.LSN) (int64, error), func() error, error) {
					return func(context.Context, pglogrepl.LSN) (int64, error) { return 77, nil }, func() error { return nil }, nil
				}
			}
			l.exec(l.s, "INSERT INTO t VALUES (1)")
			st.onWait = func(int) error { st.count("t"); return nil }
			l.expect(compare.TypeValues, undecided, map[bool]string{true: "it has moved", false: "another owner"}[moved])
		})
	}
}
