package server

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// Steps in which limits are checked.
const (
	limitStep    = time.Second
	minLimitStep = 10 * time.Millisecond
)

// watchLimits holds every session to its time limits until ctx ends. They are kept here because a client can reset the catalog's.
func (s *Server) watchLimits(ctx context.Context, g *errgroup.Group) error {
	step := limitStep
	for _, limit := range []time.Duration{s.cfg.StatementTimeout, s.cfg.IdleInTransactionTimeout, s.cfg.MaxSessionAge} {
		if limit > 0 {
			step = min(step, max(limit/4, minLimitStep))
		}
	}
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			for _, c := range s.snapshot() {
				if c.checkLimits(now) {
					g.Go(func() error { c.cancelBackend(ctx); return nil })
				}
			}
		}
	}
}

func (s *Server) snapshot() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for _, c := range s.sessions {
		all = append(all, c)
	}
	return all
}

// checkLimits ends the session when a limit is passed. When it is that of a statement, it returns true for the statement to be
// canceled; the session ends only if that has no effect, which is so when the client does not read.
func (c *session) checkLimits(now time.Time) (cancel bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cfg, q, spent := &c.server.cfg, &c.replies, now.Sub(c.since)
	over := func(limit time.Duration) bool { return limit > 0 && spent > limit }
	switch {
	case c.end == nil: // not running yet
	case cfg.MaxSessionAge > 0 && now.Sub(c.started) > cfg.MaxSessionAge:
		c.end(errAge)
	case len(q.queue) > 0:
		if q.timedOut && over(cfg.StatementTimeout+cancelGrace) {
			c.end(errNotReading)
		} else if !q.timedOut && over(cfg.StatementTimeout) {
			q.timedOut = true
			return true
		}
	case c.cancel == nil && (q.block != 'I' || q.unsynced) && over(cfg.IdleInTransactionTimeout):
		c.end(errIdle)
	}
	return false
}
