package sync_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

// These tests drive the daemon as its users do: a process of its own, operated by SQL.

// patience bounds every wait of a test; nothing is expected to take so long.
const patience = 90 * time.Second

// daemon serves all tests that do not stop or kill it.
var daemon = sync.OnceValues(func() (*testenv.Daemon, error) {
	return testenv.NewDaemon(context.Background(), testenv.DaemonConfig{})
})

// suite ends the shared daemon before goroutines are counted.
type suite struct{ *testing.M }

func (s suite) Run() int {
	// Tests wait for servers most of the time; the command line may still say otherwise.
	_ = flag.Set("test.parallel", "6")
	code := s.M.Run()
	d, err := daemon()
	if err == nil {
		err = d.Destroy()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// lab is a source and a destination database, a daemon, and one task between them.
type lab struct {
	*testing.T
	daemon       *testenv.Daemon
	src, dst     *testenv.Cluster
	srcDB, dstDB string
	s, d         *pgx.Conn // sessions of the test in the databases
	from, to     string    // connection strings that the task gets
	task         string

	client  *pgx.Conn // session with the daemon; nil until it is used
	notices []*pgconn.Notice
}

var tasks atomic.Int64

// setup makes two databases of the shared clusters, runs ddl in the source, and names a task of the shared daemon.
func setup(t *testing.T, ddl string) *lab {
	t.Helper()
	src, dst := testenv.SharedPair(t)
	return setupBetween(t, src, dst, ddl)
}

// setupBetween is setup with the given clusters.
func setupBetween(t *testing.T, src, dst *testenv.Cluster, ddl string) *lab {
	t.Helper()
	d, err := daemon()
	if err != nil {
		t.Fatal(err)
	}
	l := setupOn(t, d, src, dst, ddl)
	t.Cleanup(func() { // before the databases go
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if l.client != nil { // it may be in the middle of something
			_ = l.client.Close(ctx)
		}
		if t.Failed() {
			rows, err := l.exec(ctx, "SELECT time, level, event, message, detail FROM sync_log WHERE task = '"+l.task+"' ORDER BY time")
			t.Logf("log of the task (%v):\n%s", err, table(rows))
		}
		if _, err := l.exec(ctx, "DROP SYNC TASK IF EXISTS "+l.task+" FORCE"); err != nil {
			t.Errorf("drop task: %s", describe(err))
		}
	})
	return l
}

// setupAlone is setup with a daemon of the test's own.
func setupAlone(t *testing.T, ddl string) *lab {
	t.Helper()
	src, dst := testenv.SharedPair(t)
	l := setupOn(t, nil, src, dst, ddl)
	l.daemon = testenv.StartDaemon(t, testenv.DaemonConfig{})
	return l
}

func setupOn(t *testing.T, d *testenv.Daemon, src, dst *testenv.Cluster, ddl string) *lab {
	t.Helper()
	l := &lab{T: t, daemon: d, src: src, dst: dst, task: fmt.Sprintf("task_%d", tasks.Add(1))}
	l.srcDB, l.dstDB = src.Database(t), dst.Database(t)
	l.s, l.d = src.Connect(t, l.srcDB), dst.Connect(t, l.dstDB)
	l.from, l.to = src.ConnString(l.srcDB), dst.ConnString(l.dstDB)
	l.source(ddl)
	t.Cleanup(func() {
		if l.client != nil {
			_ = l.client.Close(context.WithoutCancel(t.Context())) // the daemon may be gone
		}
	})
	return l
}

// restart starts the daemon that was ended.
func (l *lab) restart() {
	l.Helper()
	if err := l.daemon.Start(l.Context()); err != nil {
		l.Fatal(err)
	}
	l.client = nil
}

// exec runs statements on the daemon, in a new session where there is none or the last one ended.
func (l *lab) exec(ctx context.Context, sql string) ([][]string, error) {
	if l.client == nil || l.client.IsClosed() {
		config, err := pgx.ParseConfig(l.daemon.SocketString())
		if err != nil {
			return nil, err
		}
		config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { l.notices = append(l.notices, n) }
		if l.client, err = pgx.ConnectConfig(ctx, config); err != nil {
			return nil, err
		}
	}
	l.notices = nil
	return read(ctx, l.client, sql)
}

// read returns the rows of the last statement of sql, NULL as the empty text.
func read(ctx context.Context, conn *pgx.Conn, sql string) ([][]string, error) {
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	last := results[len(results)-1]
	rows := make([][]string, len(last.Rows))
	for i, row := range last.Rows {
		for _, cell := range row {
			rows[i] = append(rows[i], string(cell))
		}
	}
	return rows, nil
}

// table writes rows as psql -A -t does.
func table(rows [][]string) string {
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = strings.Join(row, "|")
	}
	return strings.Join(lines, "\n")
}

// sql runs statements on the daemon and returns their rows as psql -A -t writes them. %[1]s stands for the task.
func (l *lab) sql(format string, args ...any) string {
	l.Helper()
	sql := l.statement(format, args)
	rows, err := l.exec(l.Context(), sql)
	if err != nil {
		l.Fatalf("%s: %s", sql, describe(err))
	}
	return table(rows)
}

// refused runs a statement that the daemon must refuse with the given SQLSTATE.
func (l *lab) refused(code, format string, args ...any) pgconn.PgError {
	l.Helper()
	sql := l.statement(format, args)
	_, err := l.exec(l.Context(), sql)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != code {
		l.Fatalf("%s: got %s, want an error %s", sql, describe(err), code)
	}
	return *pg
}

func (l *lab) statement(format string, args []any) string {
	if len(args) == 0 {
		return strings.ReplaceAll(format, "%[1]s", l.task)
	}
	return fmt.Sprintf(format, append([]any{l.task}, args...)...)
}

func describe(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Sprintf("%s %s\nDETAIL: %s\nHINT: %s", pg.Code, pg.Message, pg.Detail, pg.Hint)
	}
	return fmt.Sprint(err)
}

// through puts a proxy before a cluster and returns it with the connection string of a database behind it.
func (l *lab) through(c *testenv.Cluster, db string) (*testenv.Proxy, string) {
	l.Helper()
	p := testenv.StartProxy(l.T, c.Addr())
	host, port := p.Addr()
	return p, fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s sslmode=disable", host, port, db, testenv.Superuser, testenv.Password)
}

// await waits for a channel to be closed.
func (l *lab) await(what string, done <-chan struct{}) {
	l.Helper()
	testenv.Await(l.T, what, done)
}

// create makes the task; clauses follow FROM and TO.
func (l *lab) create(clauses string) {
	l.Helper()
	l.sql("CREATE SYNC TASK %[1]s FROM '%[2]s' TO '%[3]s' %[4]s", l.from, l.to, l.decoded(clauses))
}

// start makes the task, starts it and waits until it streams.
func (l *lab) start(clauses string) {
	l.Helper()
	l.create(clauses)
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
}

// reach waits for a state; a task that fails on the way fails the test.
func (l *lab) reach(state string) {
	l.Helper()
	l.sql("WAIT FOR SYNC TASK %[1]s TO REACH '%[2]s' TIMEOUT '%[3]d s'", state, int(patience.Seconds()))
}

// caughtUp waits until everything that the source has committed is in the destination.
func (l *lab) caughtUp() {
	l.Helper()
	l.sql("WAIT FOR SYNC TASK %[1]s CAUGHT UP TIMEOUT '%[2]d s'", int(patience.Seconds()))
}

// status is one column of sync_status.
func (l *lab) status(column string) string {
	l.Helper()
	return l.sql("SELECT %[2]s FROM sync_status WHERE task = '%[1]s'", column)
}

// source and destination run SQL in the databases; one statement a transaction, unless the text says otherwise.
func (l *lab) source(sql string) { l.Helper(); l.one(l.s, sql) }

func (l *lab) destination(sql string) { l.Helper(); l.one(l.d, sql) }

// one runs SQL and returns the rows of its last statement as text.
func (l *lab) one(conn *pgx.Conn, sql string) string {
	l.Helper()
	rows, err := read(l.Context(), conn, sql)
	if err != nil {
		l.Fatalf("%s: %s", sql, describe(err))
	}
	return table(rows)
}

// equal compares all tables of the source with those of the destination.
func (l *lab) equal() {
	l.Helper()
	testenv.MustEqual(l.T, l.s, l.d)
}

// eventually waits for a condition.
func (l *lab) eventually(what string, condition func() bool) {
	l.Helper()
	testenv.Eventually(l.T, what, condition)
}

// fails waits until the task is in a state that waits for an operator.
func (l *lab) fails(state string) {
	l.Helper()
	l.eventually("the task is in state "+state, func() bool {
		l.Helper()
		now := l.status("state")
		if now != state && strings.HasSuffix(now, "failed") {
			l.Fatalf("the task is in state %s: %s", now, l.status("error"))
		}
		return now == state
	})
}

// contains fails the test unless text has every part.
func (l *lab) contains(text string, parts ...string) {
	l.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			l.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// want compares two texts.
func (l *lab) want(what, got, want string) {
	l.Helper()
	if got != want {
		l.Errorf("%s: got %q, want %q", what, got, want)
	}
}
