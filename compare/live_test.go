package compare_test

import (
	"errors"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/testenv"
)

const undecided = compare.ResultUndecided

// completed is the course of a task that has ended.
var completed = []catalog.Event{catalog.EventStart, catalog.EventFullBegun, catalog.EventFullDone, catalog.EventCompleted}

func count(tables ...string) catalog.CompareRun {
	return catalog.CompareRun{Type: compare.TypeRows, Tables: tables}
}

// table is the one table of these tests.
const table = `"public"."t"`

func (l *lab) expect(kind, want, remark string) {
	l.Helper()
	if r := l.compare(kind)[table]; r.Result != want || !strings.Contains(r.Remarks, remark) {
		l.Errorf("%s: %q, want %q (%s)", kind, r.Result, want, r.Remarks)
	}
}

// TestRealDifferenceWhileStreaming is a difference that no change explains.
func TestRealDifferenceWhileStreaming(t *testing.T) {
	t.Parallel()
	l, _ := live(t)
	l.both("CREATE TABLE t(id int)")
	l.exec(l.s, "INSERT INTO t VALUES (1)")
	l.expect(compare.TypeRows, different, "")
	l.expect(compare.TypeValues, different, "")
}

// TestRowUnderWay is a row that the source has and the destination gets later.
func TestRowUnderWay(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int)")
	l.exec(l.s, "INSERT INTO t VALUES (1)")
	st.count("t") // it had arrived before
	st.onWait = func(n int) error {
		if n == 2 { // the first one is before both sides are read, the second one after
			l.exec(l.d, "INSERT INTO t VALUES (1)")
			st.count("t")
		}
		return nil
	}
	l.expect(compare.TypeValues, equal, "")
}

// TestTableThatKeepsMoving is never different.
func TestTableThatKeepsMoving(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int)")
	l.exec(l.s, "INSERT INTO t VALUES (0)")
	st.onWait = func(int) error {
		l.exec(l.d, "INSERT INTO t SELECT count(*) FROM t")
		st.count("t")
		l.exec(l.s, "INSERT INTO t SELECT count(*) FROM t")
		st.count("t")
		return nil
	}
	l.expect(compare.TypeValues, undecided, "6 attempts")
	l.expect(compare.TypeRows, undecided, "6 attempts")
}

// TestMovingPartition moves the counter of a partition only.
func TestMovingPartition(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF t DEFAULT")
	l.exec(l.s, "INSERT INTO t VALUES (1)")
	st.onWait = func(n int) error {
		st.count("part")
		if n == 4 {
			l.exec(l.d, "INSERT INTO t VALUES (1)")
		}
		return nil
	}
	l.expect(compare.TypeValues, equal, "")
}

// TestCountsThatAgreeByChance are reported with a word of doubt.
func TestCountsThatAgreeByChance(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int)")
	st.onWait = func(int) error { st.count("t"); return nil }
	l.expect(compare.TypeRows, equal, "")
	moving := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-moving:
				return
			default:
				st.count("t")
			}
		}
	}()
	l.expect(compare.TypeRows, equal, "while they were counted")
	l.expect(compare.TypeValues, equal, "")
	close(moving)
	<-done
}

// TestCommitThatIsNotVisibleYet is a row that the source has sent, but does not show to others before its transaction ends:
// PostgreSQL writes the commit record first.
func TestCommitThatIsNotVisibleYet(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int)")
	l.exec(l.s, "BEGIN; INSERT INTO t VALUES (1)")
	l.exec(l.d, "INSERT INTO t VALUES (1)")
	st.onWait = func(n int) error {
		if n == 3 { // the second round begins
			l.exec(l.s, "COMMIT")
		}
		return nil
	}
	l.expect(compare.TypeValues, equal, "")
	l.exec(l.s, "BEGIN; INSERT INTO t VALUES (2)")
	l.expect(compare.TypeRows, equal, "")
	l.exec(l.d, "DELETE FROM t")
	l.expect(compare.TypeRows, undecided, "a transaction that changes them was open")
	l.exec(l.s, "ROLLBACK")
	l.expect(compare.TypeRows, different, "")
}

// TestStreamThatIsReplaced starts its counters anew; what the old ones said proves nothing.
func TestStreamThatIsReplaced(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int)")
	l.exec(l.s, "INSERT INTO t VALUES (1)")
	st.onWait = func(n int) error {
		if n < 2 {
			return nil
		}
		l.streams.set(&stream{onWait: func(n int) error {
			if n == 1 {
				l.exec(l.d, "INSERT INTO t VALUES (1)")
			}
			return nil
		}})
		return errors.New("it has ended and leaves its waiters waiting")
	}
	l.expect(compare.TypeValues, equal, "")
}

// TestPausedTask cannot tell a difference from a change that waits, but it can tell that nothing waits.
func TestPausedTask(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	l := setupOn(t, src, dst, incremental...)
	l.both("CREATE TABLE t(id int); CREATE TABLE same(id int)")
	l.exec(l.s, "INSERT INTO t VALUES (1)")
	l.expect(compare.TypeValues, undecided, "does not stream (incremental synchronization)")
	l.fire(catalog.EventPause, catalog.EventPaused)
	l.expect(compare.TypeRows, undecided, "does not stream (paused)")
	if r := l.compare(compare.TypeValues)[`"public"."same"`]; r.Result != equal || r.Remarks != "" {
		t.Errorf("equal tables: %+v", r)
	}
}

// TestTaskPausedMeanwhile loses its stream between the readings.
func TestTaskPausedMeanwhile(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int)")
	l.exec(l.s, "INSERT INTO t VALUES (1)")
	st.onWait = func(n int) error {
		if n < 2 {
			return nil
		}
		l.fire(catalog.EventPause, catalog.EventPaused)
		l.streams.set(nil)
		return errors.New("it has ended")
	}
	l.expect(compare.TypeValues, undecided, "does not stream (paused)")
}

// TestUnfinishedTask has nothing to compare yet.
func TestUnfinishedTask(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	l := setupOn(t, src, dst)
	defer l.serve()()
	for _, ev := range []catalog.Event{"", catalog.EventStart, catalog.EventFullBegun} {
		if ev != "" {
			l.fire(ev)
		}
		run := l.await(l.queue(count()))
		if run.State != compare.StateFailed || !strings.Contains(run.Error, string(l.task.State)) {
			t.Errorf("%s: %s %s", l.task.State, run.State, run.Error)
		}
	}
}

// TestComparisonYields while the stream is farther behind than max_delay.
func TestComparisonYields(t *testing.T) {
	t.Parallel()
	l, st := live(t)
	l.both("CREATE TABLE t(id int)")
	near := make(chan struct{})
	st.onWait = func(int) error {
		select {
		case <-near:
			return nil
		default:
			return errors.New("not there yet")
		}
	}
	defer l.serve()()
	id := l.queue(catalog.CompareRun{Type: compare.TypeRows, Options: map[string]string{"max_delay": "1s"}})
	l.eventually("several waits", func() bool { st.mu.Lock(); defer st.mu.Unlock(); return st.waits > 2 })
	if n := len(l.results(id)); n != 0 {
		t.Errorf("%d tables were compared meanwhile", n)
	}
	close(near)
	if run := l.await(id); run.State != compare.StateFinished || l.results(id)[table].Result != equal {
		t.Errorf("%+v", run)
	}
}
