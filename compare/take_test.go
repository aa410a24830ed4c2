package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

type noStreams struct{}

func (noStreams) Stream(string) (Stream, bool) { return nil, false }

// setupTaking makes a service whose runs fail, because there are no endpoints, a catalog with one of them, and a proxy before it.
func setupTaking(t *testing.T) (*Service, *testenv.Proxy, *pgx.Conn) {
	t.Helper()
	c := testenv.Shared(t)
	db := c.Database(t)
	proxy := testenv.StartProxy(t, c.Addr())
	host, port := proxy.Addr()
	opened, err := catalog.Open(t.Context(), catalog.Config{
		DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
		ConnInfo: fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s sslmode=disable", host, port, db, testenv.Superuser, testenv.Password),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := opened.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	s, err := New(Config{
		Catalog: opened, Streams: noStreams{}, WorkDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Endpoints: func(catalog.Task) (*endpoint.Endpoint, *endpoint.Endpoint, error) {
			return nil, nil, errors.New("no endpoints")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	task, err := opened.CreateTask(t.Context(), catalog.Task{
		Name: "task", Mode: catalog.ModeFull, Scope: "FOR ALL", Definition: []byte("{}"), SQL: "CREATE SYNC TASK", CreatedBy: "admin",
		Source: "host=a", Destination: "host=b", SourceText: "host=a", DestinationText: "host=b",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opened.AddCompare(t.Context(), catalog.CompareRun{TaskID: task.ID, Type: TypeRows}); err != nil {
		t.Fatal(err)
	}
	return s, proxy, c.Connect(t, db)
}

// A service that is told to end while it asks for a run waits for the answer: the run is its own, or still anybody's.
func TestTakingToTheEnd(t *testing.T) {
	t.Parallel()
	s, _, _ := setupTaking(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if run, found, err := s.next(ctx); err != nil || !found || run.State != StateRunning {
		t.Errorf("%+v, %v, %v", run, found, err)
	}
	if s.requeue(ctx); len(s.busy) != 1 {
		t.Errorf("busy with %v", s.busy)
	}
	if _, found, err := s.next(ctx); err != nil || found {
		t.Errorf("a run that is being carried out was taken again: %v", err)
	}
}

// A run whose taking was not learnt of, because the connection was lost with the answer, is taken again.
func TestLostTaking(t *testing.T) {
	t.Parallel()
	s, proxy, conn := setupTaking(t)
	cut := proxy.CutBefore(func(dir testenv.Direction, kind byte, body []byte) bool {
		return dir == testenv.ToClient && kind == 'D' && bytes.Contains(body, []byte(StateRunning))
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	testenv.Await(t, "the run is taken", cut)
	testenv.Eventually(t, "the run ends", func() (ended bool) {
		if err := conn.QueryRow(t.Context(), "SELECT state = 'failed' FROM pgsyncd.compare_run").Scan(&ended); err != nil {
			t.Fatal(err)
		}
		return ended
	})
	cancel()
	if err := testenv.Await(t, "the service ends", done); err != nil {
		t.Error(err)
	}
}
