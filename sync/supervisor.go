package sync

import (
	"context"
	"errors"
	"log/slog"
	"sync"
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

// Supervisor keeps one runner for every task that has a duty.
type Supervisor struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	runners map[string]*runner // by task id; written by Run's goroutine only

	flushing sync.Mutex // one write of the live figures at a time
}

// New returns a supervisor that does nothing before Run.
func New(cfg Config) (*Supervisor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Supervisor{cfg: cfg, wake: make(chan struct{}, 1), runners: map[string]*runner{}}, nil
}

// Wake makes the supervisor read the desired states now.
func (s *Supervisor) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// errDaemonStops is the cause with which runners end when the daemon does; their tasks go on at its next start.
var errDaemonStops = errors.New("the daemon is shutting down")

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
		s.Flush(base)
	}()
	g.Go(func() error { s.writeFigures(base); return nil })
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
	tasks, err := s.cfg.Catalog.Tasks(ctx)
	if err != nil {
		return err
	}
	duties := make(map[string]duty, len(tasks))
	for _, t := range tasks {
		duties[t.ID] = dutyOf(t.State, t.Desired)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.runners {
		select {
		case <-r.done:
			delete(s.runners, id)
		default:
			if d := duties[id]; d != r.duty {
				r.cancel(redirected{d})
			}
		}
	}
	for _, t := range tasks {
		if d := duties[t.ID]; d != dutyNone && s.runners[t.ID] == nil {
			f, err := s.restore(ctx, t)
			if err != nil {
				return err
			}
			s.runners[t.ID] = s.launch(base, g, t, d, f)
		}
	}
	return nil
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
		task:       t,
		duty:       d,
		cancel:     cancel,
		done:       make(chan struct{}),
		figures:    f,
		log:        s.cfg.Logger.With("task", t.Name),
	}
	g.Go(func() error {
		defer s.Wake() // its end may give the task another duty
		defer close(r.done)
		defer cancel(nil)
		r.guard(ctx)
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

// writeFigures writes the live figures once a second until ctx ends.
func (s *Supervisor) writeFigures(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.Flush(ctx)
		}
	}
}

// Flush writes the live figures of all running tasks to the catalog. A call while another is under way waits for that
// one and writes what has changed since.
func (s *Supervisor) Flush(ctx context.Context) {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	runners := make([]*runner, 0, len(s.runners))
	for _, r := range s.runners {
		runners = append(runners, r)
	}
	s.mu.Unlock()
	for _, r := range runners {
		if err := r.flush(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("write figures", "error", err)
		}
	}
}

// flush writes this runner's figures if they changed.
func (r *runner) flush(ctx context.Context) error {
	status, changed := r.figures.status(time.Now())
	tables, objects := r.figures.changedTables(), r.figures.changedObjects()
	var err error
	if changed {
		err = r.cfg.Catalog.SaveStatus(ctx, r.task.ID, status)
	}
	if err == nil && len(tables) > 0 {
		err = r.cfg.Catalog.SaveTables(ctx, r.task.ID, tables)
	}
	if err == nil && len(objects) > 0 {
		err = r.cfg.Catalog.SaveObjects(ctx, r.task.ID, objects)
	}
	if err != nil {
		r.figures.keep(tables, objects)
	}
	return err
}
