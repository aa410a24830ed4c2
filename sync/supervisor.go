package sync

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/precheck"

	"golang.org/x/sync/errgroup"
)

// Config is what a Supervisor needs.
type Config struct {
	Catalog     *catalog.Catalog
	DataDir     string        // what the daemon takes of the disk is measured there; empty: it is not
	WorkDir     string        // for files that live as long as a run: dumps, password files
	ConnInfoDir string        // where files named by endpoints may lie
	Poll        time.Duration // how often desired states are read without being woken; default 1 s
	Logger      *slog.Logger
}

// Validate fills in defaults and names the field that is missing.
func (c *Config) Validate() error {
	switch {
	case c.Catalog == nil:
		return errors.New("sync: Config.Catalog is missing")
	case c.WorkDir == "":
		return errors.New("sync: Config.WorkDir is missing")
	case c.ConnInfoDir == "":
		return errors.New("sync: Config.ConnInfoDir is missing")
	case c.Logger == nil:
		return errors.New("sync: Config.Logger is missing")
	}
	if c.Poll <= 0 {
		c.Poll = time.Second
	}
	return nil
}

// spillDir is where transactions that sources have not committed yet are kept, in a directory for each task.
func (c *Config) spillDir() string { return filepath.Join(c.WorkDir, "spill") }

// Supervisor keeps one runner for every task that has a duty.
type Supervisor struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	runners map[string]*runner // by task id; written by Run's goroutine only
	watches map[string]*slotWatch

	told sync.Map // strangers that were warned of

	states   changes                   // of tasks
	flushing chan struct{}             // holds an element while live figures are written
	flushed  atomic.Pointer[time.Time] // when the last complete write of them began; written by who has flushing
	usage    usage
}

// New returns a supervisor that does nothing before Run.
func New(cfg Config) (*Supervisor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Supervisor{
		cfg: cfg, wake: make(chan struct{}, 1), runners: map[string]*runner{}, watches: map[string]*slotWatch{},
		flushing: make(chan struct{}, 1), usage: usage{dir: cfg.DataDir},
	}
	s.flushed.Store(&time.Time{})
	return s, nil
}

// Wake makes the supervisor read the desired states now.
func (s *Supervisor) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Changed returns a channel that is closed when one of the tasks that run here gets into another state.
func (s *Supervisor) Changed() <-chan struct{} { return s.states.wait() }

// errDaemonStops is the cause with which runners end when the daemon does; their tasks go on at its next start.
var errDaemonStops = errors.New("the daemon is shutting down")

// errSettingsChanged is the cause with which a runner whose stream runs ends to begin again with the task's new settings, see sameStream.
var errSettingsChanged = errors.New("the task's settings were changed")

// redirected is the cause with which a runner ends because its task has another duty now.
type redirected struct{ to duty }

func (r redirected) Error() string { return "the task is told to " + string(r.to) }

// Run supervises until ctx ends, and returns when every runner has ended.
func (s *Supervisor) Run(ctx context.Context) error {
	// Runners end by cancel with a cause of their own, not with ctx, so that each learns why.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var g errgroup.Group
	defer func() {
		cancel(errDaemonStops)
		_ = g.Wait()
	}()
	g.Go(func() error { s.writeFigures(base); return nil })
	// Of tasks that have no stream any more; the others' are of no use either.
	if err := os.RemoveAll(s.cfg.spillDir()); err != nil {
		s.cfg.Logger.Warn("remove what is left of streams", "error", err)
	}
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	prune := time.NewTicker(time.Hour)
	defer prune.Stop()
	for {
		if err := s.reconcile(ctx, base, &g); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("read tasks", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		case <-prune.C:
			if err := s.cfg.Catalog.Prune(ctx); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("prune history", "error", err)
			}
		}
	}
}

// reconcile brings the runners in line with the duties of all tasks.
func (s *Supervisor) reconcile(ctx, base context.Context, g *errgroup.Group) error {
	// Before the tasks are read: what a runner wrote at its end must be in what is read, or its task would get the old duty
	// once more.
	s.forgetEnded()
	tasks, err := s.cfg.Catalog.Tasks(ctx)
	if err != nil {
		return err
	}
	byID := make(map[string]catalog.Task, len(tasks))
	for _, t := range tasks {
		byID[t.ID] = t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchSlots(base, g, tasks)
	for id, r := range s.runners {
		t := byID[id] // of a task that is gone the zero value, without a duty
		switch d := dutyOf(t.State, t.Desired); {
		case d != r.duty:
			r.cancel(redirected{d})
		case sameStream(t, *r.inUse.Load()):
			r.inUse.Store(&t)
			r.limiter.set(t)
		case t.State == catalog.StateIncremental:
			r.cancel(errSettingsChanged)
		default:
			r.limiter.set(t)
		}
	}
	for _, t := range tasks {
		if d := dutyOf(t.State, t.Desired); d != dutyNone && s.runners[t.ID] == nil {
			f, err := s.restore(ctx, t)
			if err != nil {
				return err
			}
			s.runners[t.ID] = s.launch(base, g, t, d, f)
		}
	}
	return nil
}

// forgetEnded makes room for new runners of tasks whose runner has ended.
func (s *Supervisor) forgetEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.runners {
		select {
		case <-r.done:
			delete(s.runners, id)
		default:
		}
	}
}

// sameSettings compares what can be altered while a task runs.
func sameSettings(a, b catalog.Task) bool {
	return a.Name == b.Name && a.Source == b.Source && a.Destination == b.Destination && maps.Equal(a.Options, b.Options)
}

// streamOptions are those that a stream has been begun with, of all that can be altered while it runs.
var streamOptions = []string{"conflict_policy", "apply_workers", "heartbeat_interval", "source_ssl_ca", "destination_ssl_ca"}

// sameStream compares the settings that a stream which runs has to be begun anew for.
func sameStream(a, b catalog.Task) bool {
	return a.Name == b.Name && a.Source == b.Source && a.Destination == b.Destination &&
		!slices.ContainsFunc(streamOptions, func(o string) bool { return a.Options[o] != b.Options[o] })
}

// restore returns the figures of a task as they were last written.
func (s *Supervisor) restore(ctx context.Context, t catalog.Task) (*figures, error) {
	status, err := s.cfg.Catalog.Status(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	tables, err := s.cfg.Catalog.Tables(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	return newFigures(status, tables), nil
}

func (s *Supervisor) launch(base context.Context, g *errgroup.Group, t catalog.Task, d duty, f *figures) *runner {
	ctx, cancel := context.WithCancelCause(base)
	r := &runner{
		Supervisor: s,
		id:         t.ID,
		task:       t,
		duty:       d,
		cancel:     cancel,
		done:       make(chan struct{}),
		figures:    f,
		limiter:    newLimiter(t),
		log:        s.cfg.Logger.With("task", t.Name),
	}
	r.inUse.Store(&t)
	g.Go(func() error {
		defer s.Wake() // its end may give the task another duty
		defer close(r.done)
		defer cancel(nil)
		r.guard(ctx)
		// Its last figures; the next runner of the task goes on from them.
		settled, done := settle(ctx)
		defer done()
		f.close()
		s.flush(settled, r)
		return nil
	})
	return r
}

// Precheck makes every check of a task now and records the results.
func (s *Supervisor) Precheck(ctx context.Context, t catalog.Task) ([]precheck.Result, error) {
	r := &runner{Supervisor: s, task: t, log: s.cfg.Logger.With("task", t.Name)}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r.precheck(ctx)
}

// Endpoints returns the two endpoints of a task.
func (s *Supervisor) Endpoints(t catalog.Task) (source, destination *endpoint.Endpoint, err error) {
	r := &runner{Supervisor: s, task: t}
	if err := r.open(); err != nil {
		return nil, nil, err
	}
	return r.source, r.destination, nil
}

// Stream returns the running stream of a task, for comparisons.
func (s *Supervisor) Stream(taskID string) (*incremental.Stream, bool) {
	s.mu.Lock()
	r := s.runners[taskID]
	s.mu.Unlock()
	if r == nil {
		return nil, false
	}
	st := r.stream.Load()
	return st, st != nil
}
