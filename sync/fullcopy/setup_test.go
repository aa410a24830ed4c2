package fullcopy_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a source and a destination database with a configuration that copies everything from one to the other.
type world struct {
	source, destination *testenv.Cluster
	from, to            string // databases
	src, dst            *pgx.Conn
	report              *report
	cfg                 fullcopy.Config
}

var taskNumber struct {
	sync.Mutex
	n int
}

func newTask() string {
	taskNumber.Lock()
	defer taskNumber.Unlock()
	taskNumber.n++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", taskNumber.n)
}

// setup makes two databases and runs ddl in the first.
func setup(t *testing.T, ddl string) *world {
	t.Helper()
	source, destination := testenv.SharedPair(t)
	w := &world{source: source, destination: destination, report: &report{}}
	w.from, w.to = source.Database(t), destination.Database(t)
	w.src, w.dst = source.Connect(t, w.from), destination.Connect(t, w.to)
	if ddl != "" {
		source.Exec(t, w.from, ddl)
	}
	w.cfg = fullcopy.Config{
		Task:             newTask(),
		Source:           parse(t, source.ConnString(w.from)),
		Destination:      parse(t, destination.ConnString(w.to)),
		Selection:        schema.Selection{All: true},
		Workers:          2,
		IndexWorkers:     2,
		SplitAbove:       256 << 20,
		Indexes:          true,
		PopulateMatviews: true,
		WorkDir:          t.TempDir(),
		Report:           w.report,
		Logger:           slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	return w
}

// incremental makes the copy one that a stream is to follow.
func (w *world) incremental() {
	w.cfg.Slot = "fc_" + w.cfg.Task[len(w.cfg.Task)-12:]
	w.cfg.Publication = w.cfg.Slot
}

// through puts proxies in front of both servers.
func (w *world) through(t *testing.T) (source, destination *testenv.Proxy) {
	t.Helper()
	source, destination = testenv.StartProxy(t, w.source.Addr()), testenv.StartProxy(t, w.destination.Addr())
	w.cfg.Source, w.cfg.Destination = via(t, source, w.from), via(t, destination, w.to)
	return source, destination
}

func via(t *testing.T, p *testenv.Proxy, db string) *endpoint.Endpoint {
	t.Helper()
	host, port := p.Addr()
	return parse(t, fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s sslmode=disable",
		host, port, db, testenv.Superuser, testenv.Password))
}

func parse(t *testing.T, conninfo string) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Parse(conninfo, endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (w *world) run(t *testing.T) fullcopy.Result {
	t.Helper()
	result, err := fullcopy.Run(t.Context(), w.cfg)
	if err != nil {
		t.Fatalf("run: %+v", err)
	}
	return result
}

// background starts a run and returns what waits for it.
func (w *world) background(ctx context.Context) (wait func() error) {
	done := make(chan error, 1)
	go func() {
		_, err := fullcopy.Run(ctx, w.cfg)
		done <- err
	}()
	return func() error { return <-done }
}

// value reads one value.
func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// report keeps the last word on every table, every object, and lets tests wait for phases.
type report struct {
	mu      sync.Mutex
	tables  map[schema.Name]fullcopy.TableProgress
	objects []fullcopy.ObjectProgress
	phases  []string
	watch   []watcher
}

type watcher struct {
	match func(phase string) bool
	seen  chan struct{}
}

func (r *report) Tables(tables []fullcopy.TableProgress) {
	for _, t := range tables {
		r.Table(t)
	}
}

func (r *report) Table(t fullcopy.TableProgress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tables == nil {
		r.tables = map[schema.Name]fullcopy.TableProgress{}
	}
	r.tables[t.Source] = t
}

func (r *report) Object(o fullcopy.ObjectProgress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objects = append(r.objects, o)
}

func (r *report) Phase(name string, done, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phases = append(r.phases, name)
	keep := r.watch[:0]
	for _, w := range r.watch {
		if w.match(name) {
			close(w.seen)
		} else {
			keep = append(keep, w)
		}
	}
	r.watch = keep
}

// phase is closed when a matching phase is reported.
func (r *report) phase(match func(string) bool) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(chan struct{})
	r.watch = append(r.watch, watcher{match, seen})
	return seen
}

func (r *report) table(name string) fullcopy.TableProgress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tables[schema.Name{Schema: "public", Name: name}]
}
