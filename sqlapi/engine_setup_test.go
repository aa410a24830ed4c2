package sqlapi

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	pgsync "pgsyncd/sync"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test.
const patience = time.Minute

// bench is an engine over a catalog in a database of its own.
type bench struct {
	testing.TB
	*Engine
	log      *buffer
	sessions map[Privilege]*pgconn.PgConn // what a client's queries run in
}

// buffer is a log that may be written to while it is read.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// comparisons runs none.
type comparisons struct{}

func (comparisons) Wake() {}

func (comparisons) Repair(_ context.Context, run int64, user string, dry bool) (*compare.Repair, error) {
	switch run {
	case 1:
		one := "1"
		row := catalog.RepairRow{SourceTable: "t", Kind: catalog.RowExtra, Key: map[string]*string{"id": &one}, Statement: "DELETE", Outcome: "repaired"}
		repair := &compare.Repair{Rows: []catalog.RepairRow{row, {SourceTable: "t", Kind: catalog.RowMissing, Outcome: "refused"}}, Notes: []string{"a note"}}
		if dry {
			repair.Rows[0].Outcome = "would be repaired by " + user
		} else {
			repair.Check = 8
		}
		return repair, nil
	case 2:
		return nil, &compare.RefusedError{Message: "no", Detail: "The reason.", Hint: "The way out."}
	}
	return nil, fmt.Errorf("comparison %d: %w", run, catalog.ErrNotFound)
}

func (comparisons) Report(_ context.Context, run int64) (string, error) {
	if run != 1 {
		return "", fmt.Errorf("comparison %d: %w", run, catalog.ErrNotFound)
	}
	return "<html>", nil
}

// newBench makes an engine with a supervisor that does not supervise: tasks stay in the state that a test takes them to.
func newBench(tb testing.TB) *bench {
	tb.Helper()
	server := testenv.Shared(tb)
	b := &bench{TB: tb, log: &buffer{}, sessions: map[Privilege]*pgconn.PgConn{}}
	logger := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cat, err := catalog.Open(tb.Context(), catalog.Config{
		DataDir: tb.TempDir(), ConnInfo: server.ConnString(server.Database(tb)), AdminPassword: "admin's", Logger: logger,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.end(cat.Close) })
	supervisor, err := pgsync.New(pgsync.Config{Catalog: cat, WorkDir: tb.TempDir(), ConnInfoDir: tb.TempDir(), Logger: logger})
	if err != nil {
		tb.Fatal(err)
	}
	b.Engine, err = NewEngine(EngineConfig{
		Catalog: cat, Supervisor: supervisor, Comparisons: comparisons{}, ConnInfoDir: tb.TempDir(), Logger: logger,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// end closes something when the test's own context has ended.
func (b *bench) end(closing func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), patience)
	defer cancel()
	if err := closing(ctx); err != nil {
		b.Error(err)
	}
}

// session is a session of the catalog as clients of a privilege have it.
func (b *bench) session(p Privilege) *pgconn.PgConn {
	b.Helper()
	if b.sessions[p] == nil {
		hc, err := b.cfg.Catalog.Session(b.Context(), string(p), nil)
		if err != nil {
			b.Fatal(err)
		}
		if b.sessions[p], err = pgconn.Construct(hc); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { b.end(b.sessions[p].Close) })
	}
	return b.sessions[p]
}

// answer is what a client gets for a statement.
type answer struct {
	tag     string
	columns []string
	rows    [][]string // NULL as "∅"
	notices []string
	err     *Error
}

// one is the only cell of the answer.
func (a answer) one(tb testing.TB) string {
	tb.Helper()
	if a.err != nil || len(a.rows) != 1 || len(a.rows[0]) != 1 {
		tb.Fatalf("not one cell: %+v", a)
	}
	return a.rows[0][0]
}

func (a answer) code() string {
	if a.err == nil {
		return ""
	}
	return a.err.Code
}

// text is everything that the client sees of the answer.
func (a answer) text() string {
	s := fmt.Sprintln(a.tag, a.columns, a.rows, a.notices)
	if a.err != nil {
		s += fmt.Sprintln(a.err.Message, a.err.Detail, a.err.Hint, a.err)
	}
	return s
}

// as executes a control statement, or any other in the session it would be relayed to.
func (b *bench) as(p Privilege, sql string) answer {
	b.Helper()
	var a answer
	s := &Session{ID: 1, User: "some " + string(p), Privilege: p, Notice: func(n Notice) {
		a.notices = append(a.notices, strings.TrimSpace(n.Message+" "+n.Detail+" "+n.Hint))
	}}
	defer b.Release(s)
	query := sql
	if segments, err := Split(sql); err == nil && segments[0].Kind == Control {
		prepared, err := b.Prepare(s, sql)
		if err == nil {
			err = b.Run(b.Context(), s, prepared)
		}
		if err != nil {
			a.err = AsError(err)
			return a
		}
		if a.tag, query = prepared.Tag, prepared.Query; query == "" {
			return a
		}
	}
	result := b.session(p).ExecParams(b.Context(), query, nil, nil, nil, nil)
	for _, f := range result.FieldDescriptions() {
		a.columns = append(a.columns, f.Name)
	}
	for result.NextRow() {
		var row []string
		for _, cell := range result.Values() {
			if cell == nil {
				row = append(row, "∅")
			} else {
				row = append(row, string(cell))
			}
		}
		a.rows = append(a.rows, row)
	}
	if _, err := result.Close(); err != nil {
		a.err = AsError(err)
	}
	return a
}

// do is as an administrator, without error.
func (b *bench) do(sql string) answer {
	b.Helper()
	a := b.as(Admin, sql)
	if a.err != nil {
		b.Fatalf("%s: %s", sql, a.text())
	}
	return a
}

// fire takes a task on as its runner would.
func (b *bench) fire(task string, events ...catalog.Event) {
	b.Helper()
	t, err := b.cfg.Catalog.Task(b.Context(), task)
	if err != nil {
		b.Fatal(err)
	}
	for _, ev := range events {
		if _, err := b.cfg.Catalog.Fire(b.Context(), t.ID, ev, catalog.Change{Error: "what went wrong", Hint: "what to do"}); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere is an endpoint that nothing listens at.
const nowhere = "host=127.0.0.1 port=1 dbname=shop user=app sslmode=disable password=hidden"

// create makes a task between two such endpoints.
func (b *bench) create(name, clauses string) {
	b.Helper()
	b.do(fmt.Sprintf("CREATE SYNC TASK %s FROM '%s' TO '%s' %s", quoteIdentifier(name), nowhere, nowhere, clauses))
}
