package sync

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/testenv"

	"golang.org/x/sync/errgroup"
)

func TestFreshSince(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct{ changed, want time.Time }{
		"no task has changed":            {time.Time{}, now.Add(-freshness)},
		"it changed long ago":            {now.Add(-time.Hour), now.Add(-freshness)},
		"it changed since the last read": {now.Add(-freshness / 2), now.Add(-freshness / 2)},
		"it has just changed":            {now, now},
	} {
		if got := freshSince(now, c.changed); !got.Equal(c.want) {
			t.Errorf("%s: %v before now", name, now.Sub(got))
		}
	}
}

// flushing is a supervisor with one task that runs, as far as its figures go.
type flushing struct {
	*Supervisor
	t       *testing.T
	task    catalog.Task
	figures *figures
}

func newFlushing(t *testing.T) *flushing {
	t.Helper()
	server := testenv.Shared(t)
	log := slog.New(slog.DiscardHandler)
	cat, err := catalog.Open(t.Context(), catalog.Config{DataDir: t.TempDir(), ConnInfo: server.ConnString(server.Database(t)), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if err := cat.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	task, err := cat.CreateTask(t.Context(), catalog.Task{
		Name: "task", Mode: catalog.ModeFull, Scope: "FOR ALL", Definition: []byte("{}"), SQL: "CREATE SYNC TASK", CreatedBy: "admin",
		Source: "host=a", Destination: "host=b", SourceText: "host=a", DestinationText: "host=b",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Catalog: cat, WorkDir: t.TempDir(), ConnInfoDir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	f := newFigures(catalog.Status{}, nil)
	r := &runner{Supervisor: s, id: task.ID, task: task, duty: dutyRun, figures: f, log: log}
	r.inUse.Store(&task)
	s.runners[task.ID] = r
	return &flushing{s, t, task, f}
}

// wantPhase checks what readers are shown.
func (f *flushing) wantPhase(want string) {
	f.t.Helper()
	st, err := f.cfg.Catalog.Status(f.t.Context(), f.task.ID)
	if err != nil {
		f.t.Fatal(err)
	}
	if st.Phase != want {
		f.t.Errorf("readers are shown phase %q instead of %q", st.Phase, want)
	}
}

func TestFiguresAreThereWhenTheyAreRead(t *testing.T) {
	t.Parallel()
	f := newFlushing(t)
	f.figures.phase("one")
	f.Refresh(t.Context())
	f.wantPhase("one")

	fresh := time.Now().Add(time.Hour) // as if they had been written just now
	f.flushed.Store(&fresh)
	f.figures.phase("two")
	f.Refresh(t.Context())
	f.wantPhase("one")

	f.flushed.Store(&time.Time{})
	f.Refresh(t.Context())
	f.wantPhase("two")

	f.figures.phase("three")
	f.states.announce()
	f.Refresh(t.Context())
	f.wantPhase("three")

	f.figures.phase("four")
	f.Flush(t.Context())
	f.wantPhase("four")
}

func TestReadersShareAWrite(t *testing.T) {
	t.Parallel()
	f := newFlushing(t)
	if !f.beginFlush(t.Context()) {
		t.Fatal("figures are being written though nobody writes them")
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	f.Refresh(impatient) // gives up, and leaves the figures as they are
	f.figures.phase("one")
	var g errgroup.Group
	for range 20 {
		g.Go(func() error { f.Refresh(t.Context()); return nil })
	}
	f.endFlush()
	_ = g.Wait() // nil
	f.wantPhase("one")
	begun := *f.flushed.Load()

	// A write that began after the question is as good as one's own.
	f.figures.phase("two")
	f.flushSince(t.Context(), begun.Add(-1))
	f.wantPhase("one")
	f.flushSince(t.Context(), begun)
	f.wantPhase("two")

	// One that was given up counts for nobody.
	before := f.flushed.Load()
	f.flushSince(impatient, time.Now())
	if f.flushed.Load() != before {
		t.Error("figures count as written by somebody who gave up")
	}
}
