package compare_test

import (
	"errors"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"

	"github.com/jackc/pgx/v5"
)

// lock makes table t of the destination one that cannot be read.
func (l *lab) lock() { l.Helper(); l.exec(l.holder, "BEGIN; LOCK TABLE t") }

func (l *lab) release() { l.Helper(); l.exec(l.holder, "COMMIT") }

// hangs waits until a run has come to the locked table.
func (l *lab) hangs(id int64) {
	l.Helper()
	l.eventually("the comparison waits for the lock", func() bool {
		return l.number(l.d, "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted") > 0
	})
	if run, err := l.catalog.Compare(l.Context(), id); err != nil || run.State != compare.StateRunning || run.StartedAt == nil {
		l.Fatalf("%+v %v", run, err)
	}
}

func (l *lab) number(c *pgx.Conn, query string) (n int) {
	l.Helper()
	if err := c.QueryRow(l.Context(), query).Scan(&n); err != nil {
		l.Fatal(err)
	}
	return n
}

// leaves waits until the comparison has no session any more.
func (l *lab) leaves() {
	l.Helper()
	l.eventually("the comparison leaves", func() bool {
		const sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgsyncd task compare'"
		return l.number(l.s, sessions)+l.number(l.d, sessions) == 0
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE a(id int); CREATE TABLE t(id int)")
	l.lock()
	defer l.serve()()
	id := l.queue(catalog.CompareRun{Type: compare.TypeRows, Options: map[string]string{"workers": "1"}})
	l.hangs(id)
	if err := l.catalog.CancelCompare(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	l.leaves()
	l.release()
	if run := l.await(id); run.State != compare.StateCancelled || run.Error != "" || len(l.results(id)) != 1 {
		t.Errorf("%+v, %d results", run, len(l.results(id)))
	}
}

func TestTimeLimit(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t(id int)")
	l.lock()
	defer l.serve()()
	run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeValues, Options: map[string]string{"time_limit": "1s"}}))
	if run.State != compare.StateFailed || !strings.Contains(run.Error, "time_limit") || run.FinishedAt == nil {
		t.Errorf("%+v", run)
	}
}

// TestDroppedTask takes its runs with it.
func TestDroppedTask(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t(id int)")
	l.lock()
	stop := l.serve()
	l.hangs(l.queue(count()))
	if err := l.catalog.DropTask(t.Context(), l.task.ID); err != nil {
		t.Fatal(err)
	}
	l.leaves()
	l.release()
	stop()
}

// TestInterruptedRun goes on with the next service; the tables that it had finished stay so.
func TestInterruptedRun(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE a(id int); CREATE TABLE t(id int)")
	l.exec(l.s, "INSERT INTO a VALUES (1)")
	l.lock()
	stop := l.serve()
	id := l.queue(catalog.CompareRun{Type: compare.TypeRows, Options: map[string]string{"workers": "1"}})
	l.hangs(id)
	stop()
	if run, err := l.catalog.Compare(t.Context(), id); err != nil || run.State != compare.StateRunning || run.TablesDone != 1 {
		t.Fatalf("%+v %v", run, err)
	}
	l.release()
	l.exec(l.d, "INSERT INTO a VALUES (1)")
	defer l.serve()()
	run := l.await(id)
	if run.State != compare.StateFinished || run.TablesTotal != 2 || run.TablesDone != 2 || run.TablesDifferent != 1 || run.RowsDifferent != 1 ||
		l.results(id)[`"public"."a"`].Result != different || l.results(id)[table].Result != equal {
		t.Errorf("%+v", run)
	}
}

// TestRunsAtOnce share the service: one that hangs keeps no other from running.
func TestRunsAtOnce(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE a(id int); CREATE TABLE t(id int)")
	l.lock()
	defer l.serve()()
	first := l.queue(count())
	l.hangs(first)
	if run := l.await(l.queue(count(`"public"."a"`))); run.State != compare.StateFinished {
		t.Errorf("%+v", run)
	}
	l.release()
	if run := l.await(first); run.State != compare.StateFinished {
		t.Errorf("%+v", run)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t(id int)")
	l.exec(l.s, "INSERT INTO t VALUES (1)")
	for _, c := range []struct {
		name   string
		change func()
		want   string
	}{
		{"unreachable", func() {
			l.target = parse(t, "host=127.0.0.1 port=1 user=u password=pw-in-conninfo dbname=d sslmode=disable")
		}, "127.0.0.1"},
		{"no endpoints", func() { l.endpoint = errors.New("no endpoints") }, "no endpoints"},
	} {
		c.change()
		stop := l.serve()
		run := l.await(l.queue(count()))
		stop()
		if run.State != compare.StateFailed || !strings.Contains(run.Error, c.want) || strings.Contains(run.Error, "pw-in-conninfo") {
			t.Errorf("%s: %s %s", c.name, run.State, run.Error)
		}
	}
}
