package compare_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing is expected to take so long.
const patience = time.Minute

// lab is a task in the catalog, its two databases, and a stand-in for its stream.
type lab struct {
	*testing.T
	catalog  *catalog.Catalog
	task     catalog.Task
	streams  *streams
	s, d     *pgx.Conn // sessions of the test
	holder   *pgx.Conn // a further one to the destination, for locks
	source   *endpoint.Endpoint
	target   *endpoint.Endpoint
	endpoint error            // what looking for endpoints fails with
	service  *compare.Service // nil when none runs
}

// setup makes the databases on the shared clusters and a task over all of them, which has completed.
func setup(t *testing.T) *lab {
	t.Helper()
	src, dst := testenv.SharedPair(t)
	return setupOn(t, src, dst, catalog.EventStart, catalog.EventFullBegun, catalog.EventFullDone, catalog.EventCompleted)
}

func setupOn(t *testing.T, src, dst *testenv.Cluster, events ...catalog.Event) *lab {
	t.Helper()
	shared := testenv.Shared(t)
	l := &lab{T: t, streams: &streams{}}
	var err error
	l.catalog, err = catalog.Open(t.Context(), catalog.Config{
		DataDir: t.TempDir(), ConnInfo: shared.ConnString(shared.Database(t)), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := l.catalog.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	srcDB, dstDB := src.Database(t), dst.Database(t)
	l.s, l.d = src.Connect(t, srcDB), dst.Connect(t, dstDB)
	l.holder = dst.Connect(t, dstDB)
	l.source, l.target = parse(t, src.ConnString(srcDB)), parse(t, dst.ConnString(dstDB))
	l.create("task", schema.Selection{All: true}, events...)
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

// create makes the task that the lab is about and takes it through its life.
func (l *lab) create(name string, selection schema.Selection, events ...catalog.Event) {
	l.Helper()
	definition, err := json.Marshal(selection)
	if err != nil {
		l.Fatal(err)
	}
	l.task, err = l.catalog.CreateTask(l.Context(), catalog.Task{
		Name: name, Mode: catalog.ModeFull, Scope: "FOR ALL", Definition: definition, SQL: "CREATE SYNC TASK", CreatedBy: "admin",
		Source: "host=a", Destination: "host=b", SourceText: "host=a", DestinationText: "host=b",
	})
	if err != nil {
		l.Fatal(err)
	}
	l.fire(events...)
}

func (l *lab) fire(events ...catalog.Event) {
	l.Helper()
	for _, ev := range events {
		var err error
		if l.task, err = l.catalog.Fire(l.Context(), l.task.ID, ev, catalog.Change{}); err != nil {
			l.Fatal(err)
		}
	}
}

// incremental is the course of a task up to its stream.
var incremental = []catalog.Event{catalog.EventStart, catalog.EventFullBegun, catalog.EventIncrementalBegun}

// live is setup with a task whose stream runs.
func live(t *testing.T) (*lab, *stream) {
	t.Helper()
	src, dst := testenv.SharedPair(t)
	l := setupOn(t, src, dst, incremental...)
	st := &stream{}
	l.streams.set(st)
	return l, st
}

func (l *lab) exec(c *pgx.Conn, sql string) {
	l.Helper()
	if err := c.PgConn().Exec(l.Context(), sql).Close(); err != nil {
		l.Fatalf("%v\n%.300s", err, sql)
	}
}

// both runs SQL on both sides.
func (l *lab) both(sql string) {
	l.Helper()
	l.exec(l.s, sql)
	l.exec(l.d, sql)
}

// serve runs a service until the test ends, or the returned function is called.
func (l *lab) serve() (stop func()) {
	l.Helper()
	service, err := compare.New(compare.Config{
		Catalog: l.catalog, Streams: l.streams, WorkDir: l.TempDir(), Logger: slog.New(slog.NewTextHandler(l.Output(), nil)),
		Endpoints: func(catalog.Task) (*endpoint.Endpoint, *endpoint.Endpoint, error) {
			return l.source, l.target, l.endpoint
		},
	})
	if err != nil {
		l.Fatal(err)
	}
	l.service = service
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.Errorf("service: %v", err)
		}
	})
	l.Cleanup(stop)
	return stop
}

// queue adds a run of the task.
func (l *lab) queue(run catalog.CompareRun) int64 {
	l.Helper()
	run.TaskID = l.task.ID
	id, err := l.catalog.AddCompare(l.Context(), run)
	if err != nil {
		l.Fatal(err)
	}
	if l.service != nil {
		l.service.Wake()
	}
	return id
}

// await waits for the end of a run.
func (l *lab) await(id int64) catalog.CompareRun {
	l.Helper()
	var run catalog.CompareRun
	l.eventually("the run ends", func() bool {
		var err error
		if run, err = l.catalog.Compare(l.Context(), id); err != nil {
			l.Fatal(err)
		}
		return run.State != compare.StateQueued && run.State != compare.StateRunning
	})
	return run
}

// compare runs a comparison to its successful end and returns the result of each table by its source name.
func (l *lab) compare(kind string, tables ...string) map[string]result {
	l.Helper()
	defer l.serve()()
	run := l.await(l.queue(catalog.CompareRun{Type: kind, Tables: tables}))
	if run.State != compare.StateFinished || run.Error != "" {
		l.Fatalf("the run is %s: %s", run.State, run.Error)
	}
	results := l.results(run.ID)
	different, undecided := 0, 0
	for _, r := range results {
		switch r.Result {
		case compare.ResultDifferent:
			different++
		case compare.ResultUndecided, compare.ResultFailed:
			undecided++
		}
	}
	var shown int
	if err := l.catalog.Pool().QueryRow(l.Context(), "SELECT tables_undecided FROM sync.sync_compares WHERE run_id = $1", run.ID).Scan(&shown); err != nil || shown != undecided {
		l.Errorf("%d tables are undecided, not %d: %v", undecided, shown, err)
	}
	if run.TablesTotal != len(results) || run.TablesDone != len(results) || run.TablesDifferent != different {
		l.Errorf("%d tables, %d of them different, but the run says %d, %d done, %d different", len(results), different,
			run.TablesTotal, run.TablesDone, run.TablesDifferent)
	}
	return results
}

// result is a row of sync_compare_tables.
type result struct {
	Table               string
	Result              string
	Source, Destination *int64
	Remarks             string
}

func (l *lab) results(run int64) map[string]result {
	l.Helper()
	rows, err := l.catalog.Pool().Query(l.Context(), `SELECT source_table, result, source_rows, destination_rows, coalesce(remarks, '')
		FROM sync.sync_compare_tables WHERE run_id = $1`, run)
	if err != nil {
		l.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[result])
	if err != nil {
		l.Fatal(err)
	}
	results := map[string]result{}
	for _, r := range list {
		results[r.Table] = r
	}
	return results
}

// eventually waits for a condition.
func (l *lab) eventually(what string, condition func() bool) {
	l.Helper()
	testenv.Eventually(l.T, what, condition)
}

// streams holds the stream of the one task, if any.
type streams struct {
	mu sync.Mutex
	st *stream
}

func (s *streams) set(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st = st
}

func (s *streams) Stream(string) (compare.Stream, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st, s.st != nil
}

// stream stands in for a running stream; what it replicates, and when, is the test's decision.
type stream struct {
	mu      sync.Mutex
	changes map[schema.Name]int64
	waits   int
	onWait  func(n int) error // at the n-th call of WaitApplied
	holds   int
	reached int                                                                                                         // holds that reached their position
	onHold  func(ctx context.Context, n int) (func(context.Context, pglogrepl.LSN) (int64, error), func() error, error) // at the n-th call of Hold
}

func (s *stream) WaitApplied(ctx context.Context, _ pglogrepl.LSN) error {
	s.mu.Lock()
	s.waits++
	n, f := s.waits, s.onWait
	s.mu.Unlock()
	if f != nil {
		if err := f(n); err != nil {
			<-ctx.Done()
			return context.Cause(ctx)
		}
	}
	return ctx.Err()
}

// Hold is refused by default, and comparisons go on without.
func (s *stream) Hold(ctx context.Context) (reach func(context.Context, pglogrepl.LSN) (int64, error), release func() error, err error) {
	if s.onHold == nil {
		return nil, nil, errors.New("it is a stand-in")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	return s.onHold(ctx, s.holds)
}

func (s *stream) Changes(table schema.Name) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes[table]
}

// count records that a change of a table arrived, or that it was applied.
func (s *stream) count(table string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changes == nil {
		s.changes = map[schema.Name]int64{}
	}
	s.changes[schema.Name{Schema: "public", Name: table}]++
}

func keys[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
