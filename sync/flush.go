package sync

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"pgsyncd/catalog"
)

const (
	// freshness is how old live figures may be when they are read: too little to be seen, and enough for any number of readers to have the
	// figures of all tasks written twenty times a second at most.
	freshness = 50 * time.Millisecond
	// refreshTimeout is how long a reader waits for them. Figures that cannot be written must not keep anybody from reading.
	refreshTimeout = 2 * time.Second
)

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

// Flush writes the live figures of all running tasks to the catalog: as they are now, or later.
func (s *Supervisor) Flush(ctx context.Context) { s.flushSince(ctx, time.Now()) }

// Refresh is Flush for whoever reads the figures again and again: those in the catalog may be as old as freshness, but not older than the
// last change of a task's state. It costs next to nothing when they are not, or no task runs.
func (s *Supervisor) Refresh(ctx context.Context) {
	since := freshSince(time.Now(), s.states.since())
	if s.flushed.Load().After(since) || len(s.running()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	s.flushSince(ctx, since)
}

// freshSince is when a write of the figures has to have begun for them to be shown now, given the last change of a task's state.
func freshSince(now, changed time.Time) time.Time {
	if since := now.Add(-freshness); since.After(changed) {
		return since
	}
	return changed
}

func (s *Supervisor) running() []*runner {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.runners))
}

// flushSince writes all live figures, unless a write of them began after the given time. Of many that wait for one that is under way,
// the first writes for the others.
func (s *Supervisor) flushSince(ctx context.Context, since time.Time) {
	if !s.beginFlush(ctx) {
		return
	}
	defer s.endFlush()
	if s.flushed.Load().After(since) {
		return
	}
	begun := time.Now()
	s.write(ctx, s.running()...)
	if ctx.Err() == nil {
		s.flushed.Store(&begun)
	}
}

// flush writes the live figures of one runner.
func (s *Supervisor) flush(ctx context.Context, r *runner) {
	if s.beginFlush(ctx) {
		defer s.endFlush()
		s.write(ctx, r)
	}
}

// beginFlush waits until nobody else writes live figures; false means that ctx has ended before.
func (s *Supervisor) beginFlush(ctx context.Context) bool {
	select {
	case s.flushing <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Supervisor) endFlush() { <-s.flushing }

// write writes the live figures of runners; the caller is between beginFlush and endFlush.
func (s *Supervisor) write(ctx context.Context, runners ...*runner) {
	for _, r := range runners {
		err := r.flush(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, catalog.ErrNotFound) { // a dropped task has no figures
			s.cfg.Logger.Warn("write figures", "task", r.id, "error", err)
		}
	}
}

// flush writes this runner's figures if they changed.
func (r *runner) flush(ctx context.Context) error {
	now := time.Now()
	r.figures.streaming(r.stream.Load() != nil)
	status, changed := r.figures.status(now)
	tables, objects := r.figures.changedTables(), r.figures.changedObjects()
	var err error
	if changed {
		err = r.cfg.Catalog.SaveStatus(ctx, r.id, status)
	}
	if err == nil && len(tables) > 0 {
		err = r.cfg.Catalog.SaveTables(ctx, r.id, tables)
	}
	if err == nil && len(objects) > 0 {
		err = r.cfg.Catalog.SaveObjects(ctx, r.id, objects)
	}
	if err != nil {
		r.figures.keep(tables, objects)
		return err
	}
	r.watchDelay(ctx, status)
	return r.addMetric(ctx, now)
}
