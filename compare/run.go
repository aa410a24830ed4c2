package compare

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"pgsyncd/catalog"

	"github.com/jackc/pglogrepl"
	"golang.org/x/sync/errgroup"
)

var (
	errCancelled = errors.New("the comparison was cancelled")
	errTimeLimit = errors.New("the comparison reached its time_limit")
)

// execute carries a run to its end and records that end.
func (s *Service) execute(ctx context.Context, run catalog.CompareRun) {
	log := s.cfg.Logger.With("run", run.ID)
	err := s.guard(run.ID, func() error { return s.compare(ctx, &run) })
	if ctx.Err() != nil {
		return // the run is still marked as running, so the next daemon begins it anew
	}
	now := time.Now()
	run.FinishedAt = &now
	switch {
	case err == nil:
		run.State = StateFinished
	case errors.Is(err, errCancelled):
		run.State = StateCancelled
	default:
		run.State, run.Error = StateFailed, err.Error()
		log.Warn("comparison failed", "error", err)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		err := s.cfg.Catalog.UpdateCompare(ctx, run)
		if err == nil || errors.Is(err, catalog.ErrNotFound) { // the task was dropped, and the run with it
			return
		}
		log.Warn("record end of comparison", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// guard turns a panic of f into an error.
func (s *Service) guard(run int64, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Logger.Error("comparison panicked", "run", run, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return f()
}

func (s *Service) compare(ctx context.Context, run *catalog.CompareRun) error {
	options, err := catalog.ParseCompareOptions(run.Type, run.Options)
	if err != nil {
		return err
	}
	task, err := s.cfg.Catalog.TaskByID(ctx, run.TaskID)
	if err != nil {
		return err
	}
	source, destination, err := s.cfg.Endpoints(task)
	if err != nil {
		return err
	}
	j := &job{
		Service: s, run: run, options: options, task: task, source: source, destination: destination,
		application: "pgsyncd " + task.Name + " compare", sourcePace: newPace(options), destinationPace: newPace(options),
		freezer: &freezer{}, done: &progress{run: run},
	}
	j.brake = j.newBrake()
	if _, _, err := j.standing(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if options.TimeLimit > 0 {
		limit := time.AfterFunc(options.TimeLimit, func() { cancel(errTimeLimit) })
		defer limit.Stop()
	}
	var g errgroup.Group
	g.Go(func() error { s.watchCancel(ctx, run.ID, cancel); return nil })
	switch run.Type {
	case TypeObjects:
		err = j.objects(ctx)
	case TypeAccounts:
		err = j.accounts(ctx)
	default:
		err = j.all(ctx)
	}
	cause := context.Cause(ctx)
	cancel(nil)
	_ = g.Wait()
	if err != nil && cause != nil {
		return cause
	}
	return err
}

// watchCancel ends the run when an operator cancels it.
func (s *Service) watchCancel(ctx context.Context, id int64, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if yes, err := s.cfg.Catalog.CompareCancelled(ctx, id); err == nil && yes {
			cancel(errCancelled)
			return
		}
	}
}

// progress counts finished tables; its methods are safe for concurrent use.
type progress struct {
	mu  sync.Mutex
	run *catalog.CompareRun
}

// reached notes the position at which tables are compared from now on.
func (p *progress) reached(lsn pglogrepl.LSN) catalog.CompareRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run.LSN = lsn.String()
	return *p.run
}

func (p *progress) add(result catalog.CompareTable) catalog.CompareRun {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run.TablesDone++
	if result.Result == ResultDifferent {
		p.run.TablesDifferent++
		switch {
		case result.RowsMissing != nil && result.RowsExtra != nil && result.RowsDifferent != nil:
			p.run.RowsDifferent += *result.RowsMissing + *result.RowsExtra + *result.RowsDifferent
		case result.SourceRows != nil && result.DestinationRows != nil:
			p.run.RowsDifferent += abs(*result.SourceRows - *result.DestinationRows)
		}
	}
	return *p.run
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// all compares every table of the run that an earlier daemon has not finished, several at once.
func (j *job) all(ctx context.Context) error {
	pairs, err := j.pairs(ctx)
	if err != nil {
		return err
	}
	j.run.TablesTotal = len(pairs)
	if pairs, err = j.unfinished(ctx, pairs); err != nil {
		return err
	}
	if err := j.cfg.Catalog.UpdateCompare(ctx, *j.run); err != nil {
		return err
	}
	workers := int(j.options.Workers)
	if workers == 0 {
		workers = max(1, runtime.NumCPU()/2)
	}
	var connected []*sides
	defer func() {
		for _, s := range connected {
			s.close(ctx)
		}
	}()
	for range min(workers, len(pairs)) {
		s, err := j.connect(ctx)
		if err != nil {
			return err
		}
		connected = append(connected, s)
	}
	if st, ok := j.cfg.Streams.Stream(j.task.ID); ok && len(connected) > 0 {
		if err := j.meet(ctx, st, connected...); err != nil {
			return err
		}
	}
	queue := make(chan pair)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(queue)
		for _, p := range pairs {
			select {
			case queue <- p:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for _, s := range connected {
		g.Go(func() error { return j.guard(j.run.ID, func() error { return j.worker(ctx, s, queue) }) })
	}
	return g.Wait()
}

// unfinished leaves out the pairs whose results are there, and counts those.
func (j *job) unfinished(ctx context.Context, pairs []pair) ([]pair, error) {
	results, err := j.cfg.Catalog.CompareTables(ctx, j.run.ID)
	if err != nil {
		return nil, err
	}
	for _, result := range results {
		if i := slices.IndexFunc(pairs, func(p pair) bool { return p.name() == result.SourceTable }); i >= 0 {
			pairs = slices.Delete(pairs, i, i+1)
			j.done.add(result)
		}
	}
	return pairs, nil
}

// worker compares tables over one connection to each side. A table that fails does not end the run; a lost connection does.
func (j *job) worker(ctx context.Context, s *sides, queue <-chan pair) error {
	defer s.close(ctx)
	for p := range queue {
		result, err := j.table(ctx, s, p)
		if err != nil {
			if ctx.Err() != nil || s.broken() {
				return err
			}
			result.Result, result.Remarks = ResultFailed, err.Error()
		}
		result.RunID = j.run.ID
		if err := j.cfg.Catalog.SaveCompareTable(ctx, result); err != nil {
			return err
		}
		if err := j.cfg.Catalog.UpdateCompare(ctx, j.done.add(result)); err != nil {
			return err
		}
	}
	return nil
}
