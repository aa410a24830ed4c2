package incremental_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/uuid"
	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing is expected to take so long.
const patience = time.Minute

// lab is a source and a destination database with a slot between them, as the full copy of empty tables would leave them.
type lab struct {
	*testing.T
	src, dst     *testenv.Cluster
	srcDB, dstDB string
	s, d         *pgx.Conn // sessions of the test
	cfg          incremental.Config
	report       *recorder
}

// setup makes the databases on the shared clusters and runs ddl in both.
func setup(t *testing.T, ddl string) *lab {
	t.Helper()
	src, dst := testenv.SharedPair(t)
	return setupOn(t, src, dst, ddl)
}

func setupOn(t *testing.T, src, dst *testenv.Cluster, ddl string) *lab {
	t.Helper()
	return setupIn(t, src, dst, src.Database(t), dst.Database(t), ddl)
}

// setupIn works in databases that are there.
func setupIn(t *testing.T, src, dst *testenv.Cluster, srcDB, dstDB, ddl string) *lab {
	t.Helper()
	l := &lab{T: t, src: src, dst: dst, srcDB: srcDB, dstDB: dstDB, report: &recorder{tables: map[string][4]int64{}}}
	l.s, l.d = src.Connect(t, l.srcDB), dst.Connect(t, l.dstDB)
	l.source(ddl)
	l.destination(ddl)
	if src.VersionNum() >= 100000 {
		l.source("CREATE PUBLICATION pub FOR ALL TABLES")
	}
	l.cfg = incremental.Config{
		Task:        uuid.NewString(),
		Source:      parse(t, src.ConnString(l.srcDB)),
		Destination: parse(t, dst.ConnString(l.dstDB)),
		Slot:        "slot_" + strings.ReplaceAll(uuid.NewString(), "-", "_"),
		Publication: "pub",
		Selection:   schema.Selection{All: true},
		Heartbeat:   200 * time.Millisecond,
		SpillDir:    t.TempDir(),
		Report:      l.report,
	}
	if src.VersionNum() < 100000 || strings.Contains(t.Name(), "TestDecoding/") {
		l.cfg.Plugin, l.cfg.Publication = incremental.PluginTestDecoding, ""
	} else {
		l.cfg.Plugin = incremental.PluginPgoutput
	}
	if strings.HasPrefix(t.Name(), drained) {
		l.cfg.Drain = incremental.Drain{Above: 1, After: time.Nanosecond, Changes: 10}
	}
	if testing.Verbose() {
		l.cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	l.createSlot()
	return l
}

func parse(t *testing.T, conninfo string) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Parse(conninfo, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// createSlot makes the slot and the ledger's row as they belong together.
func (l *lab) createSlot() {
	l.Helper()
	repl, err := l.cfg.Source.ConnectReplication(l.Context(), "test")
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = repl.Close(context.WithoutCancel(l.Context())) }()
	system, err := pglogrepl.IdentifySystem(l.Context(), repl)
	if err != nil {
		l.Fatal(err)
	}
	slot, err := pglogrepl.CreateReplicationSlot(l.Context(), repl, l.cfg.Slot, l.cfg.Plugin, pglogrepl.CreateReplicationSlotOptions{})
	if err != nil {
		l.Fatal(err)
	}
	at, err := pglogrepl.ParseLSN(slot.ConsistentPoint)
	if err != nil {
		l.Fatal(err)
	}
	if err := ledger.Begin(l.Context(), l.d, ledger.Position{
		Task: l.cfg.Task, Slot: l.cfg.Slot, SystemID: system.SystemID, Timeline: system.Timeline, LSN: at,
	}); err != nil {
		l.Fatal(err)
	}
}

// through puts a proxy before one side.
func (l *lab) through(c *testenv.Cluster, db string) (*testenv.Proxy, *endpoint.Endpoint) {
	l.Helper()
	p := testenv.StartProxy(l.T, c.Addr())
	host, port := p.Addr()
	return p, parse(l.T, fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s sslmode=disable",
		host, port, db, testenv.Superuser, testenv.Password))
}

// source runs SQL in the source, one implicit transaction unless the text says otherwise.
func (l *lab) source(sql string) { l.Helper(); l.exec(l.s, sql) }

// destination runs SQL in the destination.
func (l *lab) destination(sql string) { l.Helper(); l.exec(l.d, sql) }

func (l *lab) exec(c *pgx.Conn, sql string) {
	l.Helper()
	if err := c.PgConn().Exec(l.Context(), sql).Close(); err != nil {
		l.Fatalf("%v\n%.500s", err, sql)
	}
}

// one reads a single value as text.
func (l *lab) one(c *pgx.Conn, sql string) string {
	l.Helper()
	results, err := c.PgConn().Exec(l.Context(), sql).ReadAll()
	if err != nil {
		l.Fatalf("%v\n%.500s", err, sql)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		l.Fatalf("not one row: %s", sql)
	}
	return string(results[0].Rows[0][0])
}

// end is the present end of the source's WAL.
func (l *lab) end() pglogrepl.LSN {
	l.Helper()
	current := "pg_current_wal_lsn()"
	if l.src.VersionNum() < 100000 {
		current = "pg_current_xlog_location()"
	}
	lsn, err := pglogrepl.ParseLSN(l.one(l.s, "SELECT "+current))
	if err != nil {
		l.Fatal(err)
	}
	return lsn
}

// equal compares all tables.
func (l *lab) equal(tables ...string) {
	l.Helper()
	testenv.MustEqual(l.T, l.s, l.d, tables...)
}

// running is a stream at work.
type running struct {
	*incremental.Stream
	l      *lab
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// start runs a stream; it is stopped at the end of the test at the latest.
func (l *lab) start() *running {
	l.Helper()
	st, err := incremental.New(l.cfg)
	if err != nil {
		l.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.Context())
	r := &running{Stream: st, l: l, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = st.Run(ctx)
	}()
	l.Cleanup(func() { _ = r.kill() })
	return r
}

// kill ends the stream as if its process ended, and returns what Run returned.
func (r *running) kill() error {
	r.cancel()
	<-r.done
	return r.err
}

// wait returns what Run returns by itself.
func (r *running) wait() error {
	r.l.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		r.l.Fatal("the stream does not end")
		return nil
	}
}

// stops returns what Run returns by itself, of a stream that must not get past what the source has committed.
func (r *running) stops() error {
	r.l.Helper()
	ctx, cancel := context.WithTimeout(r.l.Context(), patience)
	defer cancel()
	end := r.l.end()
	past := make(chan error, 1)
	go func() { past <- r.WaitApplied(ctx, end) }()
	select {
	case <-r.done:
		cancel()
		r.l.Logf("waited: %v", <-past)
	case err := <-past:
		r.l.Fatalf("the stream has not stopped before %s: applied %s, %v", end, r.Applied(), err)
	}
	return r.err
}

// catchUp waits until everything that the source has committed is in the destination.
func (r *running) catchUp() {
	r.l.Helper()
	ctx, cancel := context.WithTimeout(r.l.Context(), patience)
	defer cancel()
	end := r.l.end()
	waited := make(chan error, 1)
	go func() { waited <- r.WaitApplied(ctx, end) }()
	select {
	case err := <-waited:
		if err != nil {
			r.l.Fatalf("wait for %s: %v, applied %s", end, err, r.Applied())
		}
	case <-r.done:
		cancel()
		r.l.Logf("waited: %v", <-waited)
		r.l.Fatalf("the stream ended: %v", r.err)
	}
}

// resume runs streams, each after the fault of the one before, until one has caught up; that one is returned.
func (l *lab) resume() *running {
	l.Helper()
	deadline := time.Now().Add(patience)
	for {
		r := l.start()
		end := l.end()
		ctx, cancel := context.WithTimeout(l.Context(), patience)
		waited := make(chan error, 1)
		go func() { waited <- r.WaitApplied(ctx, end) }()
		select {
		case err := <-waited:
			cancel()
			if err == nil {
				return r
			}
			l.Fatal(err)
		case <-r.done:
			cancel()
			l.Logf("waited: %v", <-waited)
		}
		if !endpoint.Retryable(r.err) || time.Now().After(deadline) {
			l.Fatalf("the stream does not recover: %v", r.err)
		}
		l.Logf("stream ended: %v", r.err)
	}
}

// eventually waits for a condition.
func (l *lab) eventually(what string, condition func() bool) {
	l.Helper()
	testenv.Eventually(l.T, what, condition)
}

// recorder takes what a stream reports.
type recorder struct {
	mu        sync.Mutex
	now       incremental.Progress
	tables    map[string][4]int64
	conflicts []incremental.Conflict
}

func (r *recorder) Progress(p incremental.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = p
}

func (r *recorder) Table(name schema.Name, inserts, updates, deletes, truncates int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.tables[name.Name]
	n[0], n[1], n[2], n[3] = n[0]+inserts, n[1]+updates, n[2]+deletes, n[3]+truncates
	r.tables[name.Name] = n
}

func (r *recorder) Conflicts(_ context.Context, conflicts []incremental.Conflict) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conflicts = append(r.conflicts, conflicts...)
	return nil
}

func (r *recorder) recorded() []incremental.Conflict {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]incremental.Conflict(nil), r.conflicts...)
}

func (r *recorder) progress() incremental.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func state(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

var gate = schema.Name{Schema: "public", Name: "gate"}
