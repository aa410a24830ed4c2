package compare

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"golang.org/x/sync/errgroup"
)

// Types of a comparison, as the catalog stores them.
const (
	TypeRows     = "ROWS"
	TypeValues   = "VALUES"
	TypeObjects  = "OBJECTS"
	TypeAccounts = "ACCOUNTS"
)

// States of a run, as the catalog stores them.
const (
	StateQueued    = "queued"
	StateRunning   = "running"
	StateFinished  = "finished"
	StateFailed    = "failed"
	StateCancelled = "cancelled"
)

// Results of one table, object or item of an account. Failed are tables only, undecided tables and objects, missing and extra never tables.
const (
	ResultEqual     = "equal"
	ResultDifferent = "different"
	ResultUndecided = "undecided"
	ResultFailed    = "failed"
	ResultMissing   = "missing" // in the destination
	ResultExtra     = "extra"   // only there
)

// Streams finds the running stream of a task.
type Streams interface {
	Stream(taskID string) (Stream, bool)
}

// Stream is what a comparison must know of a running stream.
type Stream interface {
	// WaitApplied returns once everything the source committed up to lsn is in the destination.
	WaitApplied(ctx context.Context, lsn pglogrepl.LSN) error
	// Changes counts the changes of a table that were received and that were applied; it moves whenever one of them does.
	Changes(table schema.Name) int64
	// Hold keeps what arrives from now on out of the destination. reach lets the stream go on up to a position that the source's
	// WAL had not come to, and returns the fence of the ledger when the destination holds what the source committed before it, and nothing
	// else. release, which must be called, returns nil if the stream has stood still until then.
	Hold(ctx context.Context) (reach func(context.Context, pglogrepl.LSN) (fence int64, err error), release func() error, err error)
}

// Config is what a Service needs.
type Config struct {
	Catalog   *catalog.Catalog
	Streams   Streams
	Endpoints func(catalog.Task) (source, destination *endpoint.Endpoint, err error)
	WorkDir   string // existing directory for files with credentials of pg_dump
	Runs      int    // comparisons at once; default 2
	Repair    int64  // bytes of rows that one repair may hold, about; default 256 MiB
	Logger    *slog.Logger
}

// Validate fills in defaults and names the field that is missing.
func (c *Config) Validate() error {
	switch {
	case c.Catalog == nil:
		return errors.New("compare: Config.Catalog is missing")
	case c.Streams == nil:
		return errors.New("compare: Config.Streams is missing")
	case c.Endpoints == nil:
		return errors.New("compare: Config.Endpoints is missing")
	case c.WorkDir == "":
		return errors.New("compare: Config.WorkDir is missing")
	case c.Logger == nil:
		return errors.New("compare: Config.Logger is missing")
	}
	if c.Runs <= 0 {
		c.Runs = 2
	}
	if c.Repair <= 0 {
		c.Repair = 256 << 20
	}
	return nil
}

// definiteTimeout bounds the wait for a catalog that does not answer.
const definiteTimeout = 10 * time.Second

// Service executes queued comparisons and fires schedules.
type Service struct {
	cfg  Config
	wake chan struct{}

	mu   sync.Mutex
	busy []int64 // runs that are being carried out, at most cfg.Runs
}

// New returns a service that does nothing before Run.
func New(cfg Config) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, wake: make(chan struct{}, 1)}, nil
}

// Wake makes the service look for queued runs now.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run executes comparisons until ctx ends. Runs that an earlier daemon left unfinished begin anew.
func (s *Service) Run(ctx context.Context) error {
	var g errgroup.Group
	defer func() { _ = g.Wait() }()
	g.Go(func() error { s.learnAll(ctx); return nil })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for known := false; ; { // whether all runs that are marked as running are carried out
		if known = known || s.requeue(ctx); known {
			if err := s.fireDue(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.cfg.Logger.Warn("read schedules", "error", err)
			}
			known = s.takeQueued(ctx, &g)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// definite is for statements that say who carries out a run. One whose answer is not waited for may still be executed by the
// server, and take a run from the service that comes after this one.
func definite(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), definiteTimeout)
}

// requeue queues what an earlier daemon left unfinished, or what was taken without our knowing; false means to try again.
func (s *Service) requeue(ctx context.Context) bool {
	ctx, cancel := definite(ctx)
	defer cancel()
	s.mu.Lock()
	busy := slices.Clone(s.busy)
	s.mu.Unlock()
	n, err := s.cfg.Catalog.RequeueCompares(ctx, busy...)
	if err != nil {
		s.cfg.Logger.Warn("queue interrupted comparisons", "error", err)
	}
	if n > 0 {
		s.cfg.Logger.Info("interrupted comparisons queued again", "runs", n)
	}
	return err == nil
}

// takeQueued starts queued runs as long as there is room, which each of them takes up until it ends. False means that a run may have
// been taken, and the answer been lost.
func (s *Service) takeQueued(ctx context.Context, g *errgroup.Group) bool {
	for ctx.Err() == nil && s.room() {
		run, found, err := s.next(ctx)
		if err != nil {
			s.cfg.Logger.Warn("take queued comparison", "error", err)
		}
		if !found {
			return err == nil
		}
		g.Go(func() error {
			defer s.Wake()
			defer s.leave(run.ID)
			s.execute(ctx, run)
			return nil
		})
	}
	return true
}

func (s *Service) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.busy) < s.cfg.Runs
}

func (s *Service) next(ctx context.Context) (catalog.CompareRun, bool, error) {
	ctx, cancel := definite(ctx)
	defer cancel()
	run, found, err := s.cfg.Catalog.NextCompare(ctx)
	if found {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy = append(s.busy, run.ID)
	}
	return run, found, err
}

func (s *Service) leave(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = slices.DeleteFunc(s.busy, func(other int64) bool { return other == id })
}
