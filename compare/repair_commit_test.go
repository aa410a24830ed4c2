package compare_test

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"
)

// throughProxy makes the service reach the destination through a proxy.
func (l *lab) throughProxy() *testenv.Proxy {
	l.Helper()
	c := l.d.Config()
	p := testenv.StartProxy(l.T, net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))))
	host, port := p.Addr()
	text := strings.Replace(c.ConnString(), "port="+strconv.Itoa(int(c.Port)), "port="+strconv.Itoa(port), 1)
	if !strings.Contains(text, host) || text == c.ConnString() {
		l.Fatalf("no proxy in %s", text)
	}
	l.target = parse(l.T, text)
	return p
}

// commits matches the COMMIT of a transaction, answered its answer.
func commits(dir testenv.Direction, kind byte, body []byte) bool {
	return dir == testenv.ToTarget && kind == 'Q' && bytes.EqualFold(bytes.Trim(body, "; \x00"), []byte("commit"))
}

func answered(dir testenv.Direction, kind byte, body []byte) bool {
	return dir == testenv.ToClient && kind == 'C' && bytes.Equal(body, []byte("COMMIT\x00"))
}

// recorded are the outcomes that sync_repairs has, by repair, and the run that checks it.
func (l *lab) recorded() string {
	l.Helper()
	var text string
	if err := l.catalog.Pool().QueryRow(l.Context(), `SELECT coalesce(string_agg(concat_ws(' ', repair_id, outcome, CASE WHEN check_run_id IS NOT NULL THEN '(checked)' END), '; '
		ORDER BY repair_id), '') FROM sync.sync_repairs`).Scan(&text); err != nil {
		l.Fatal(err)
	}
	return text
}

// marks is how many marks of repairs are in the destination, whether the ledger is there or not.
func (l *lab) marks() int {
	l.Helper()
	var n int
	var ledger bool
	err := l.d.QueryRow(l.Context(), "SELECT to_regclass('pgsyncd.objects') IS NOT NULL").Scan(&ledger)
	if err == nil && ledger {
		err = l.d.QueryRow(l.Context(), "SELECT count(*) FROM pgsyncd.objects WHERE key LIKE 'REPAIR %'").Scan(&n)
	}
	if err != nil {
		l.Fatal(err)
	}
	return n
}

// TestRepairCutAtCommit: a repair whose connection is lost at its COMMIT says whether that took effect.
func TestRepairCutAtCommit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		match testenv.Match
		took  bool
	}{{"before it arrives", commits, false}, {"before it is answered", answered, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := setup(t)
			l.both("CREATE TABLE t(id int PRIMARY KEY, v text)")
			l.exec(l.s, "INSERT INTO t VALUES (1, 'a')")
			run := l.values(nil)
			p := l.throughProxy()
			fired := p.CutBefore(c.match)
			r, err := l.service.Repair(t.Context(), run.ID, "somebody", false)
			<-fired
			var rows int
			if err := l.d.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&rows); err != nil {
				t.Fatal(err)
			}
			if c.took {
				if err != nil || rows != 1 || len(r.Rows) != 1 || r.Rows[0].Outcome != catalog.OutcomeRepaired || r.Check == 0 {
					t.Errorf("%+v %v, %d rows", r, err, rows)
				}
				if got := l.recorded(); got != "1 repaired (checked)" {
					t.Error(got)
				}
			} else {
				if err == nil || !strings.Contains(err.Error(), "nothing was changed") || rows != 0 {
					t.Errorf("%+v %v, %d rows", r, err, rows)
				}
				if got := l.recorded(); got != "1 not repaired: the transaction was rolled back" {
					t.Error(got)
				}
				if again := l.repair(run.ID, false); again.Rows[0].Outcome != catalog.OutcomeRepaired {
					t.Errorf("%+v", again)
				}
			}
			if n := l.marks(); n != 0 {
				t.Errorf("%d marks are left", n)
			}
			l.equalNow()
		})
	}
}

// TestRepairIsLearntLater: what became of a repair whose daemon could not ask any more is found out by the next.
func TestRepairIsLearntLater(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t(id int PRIMARY KEY, v text)")
	run := l.finished()
	begin := func(mark string) int64 {
		id, err := l.catalog.BeginRepair(t.Context(), l.task.ID, run, "somebody", mark)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.catalog.AddRepairRows(t.Context(), id, 0, []catalog.RepairRow{{SourceTable: "t", Kind: catalog.RowMissing, Statement: "INSERT", Outcome: catalog.OutcomeRepaired}}); err != nil {
			t.Fatal(err)
		}
		if err := l.catalog.SetRepairTables(t.Context(), id, []string{table}); err != nil {
			t.Fatal(err)
		}
		return id
	}
	begin("lost")
	begin("made")
	if err := ledger.Ensure(t.Context(), l.d); err != nil {
		t.Fatal(err)
	}
	l.exec(l.d, `INSERT INTO pgsyncd.objects VALUES ('`+l.task.ID+`', 'REPAIR made'), (gen_random_uuid(), 'REPAIR lost')`)
	// As long as its transaction may go on, nothing is known.
	tx, err := l.holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock(hashtext('pgsyncd repair'), hashtext($1))", l.task.ID); err != nil {
		t.Fatal(err)
	}
	p := l.throughProxy()
	var tries atomic.Int32
	p.CutBefore(func(dir testenv.Direction, kind byte, body []byte) bool { // never: it counts
		if dir == testenv.ToTarget && kind == 'P' && bytes.Contains(body, []byte("pg_try_advisory")) {
			tries.Add(1)
		}
		return false
	})
	l.serve()
	l.eventually("the second time that the destination is asked", func() bool { return tries.Load() >= 2 }) // so the first has ended
	if got := l.recorded(); strings.Count(got, "not known yet") != 2 {
		t.Error(got)
	}
	asked := p.CutBefore(func(dir testenv.Direction, kind byte, body []byte) bool {
		return dir == testenv.ToTarget && kind == 'P' && bytes.Contains(body, []byte("pgsyncd.objects"))
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-asked // and once that did not go well
	l.eventually("both are known", func() bool { return !strings.Contains(l.recorded(), "not known") })
	if got := l.recorded(); got != "1 not repaired: the transaction was rolled back; 2 repaired (checked)" {
		t.Error(got)
	}
	l.eventually("the mark is gone", func() bool { return l.marks() == 1 }) // that of another task stays
	if check := l.await(run + 1); check.State != compare.StateFinished || check.Type != compare.TypeValues || len(check.Tables) != 1 {
		t.Errorf("%+v", check)
	}
}
