package fullcopy

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"pgsyncd/sync/endpoint"

	"github.com/jackc/pgx/v5"
)

// sessions lends a number of destination sessions, to the work with the greatest weight first: what takes longest and begins last
// is what everybody waits for.
type sessions struct {
	mu      sync.Mutex
	total   int
	free    []*pgx.Conn // nil where it is not open yet
	waiting []*request  // by weight, the greatest first
}

// request is somebody's place in the queue. Each must be waited for.
type request struct {
	weight int64
	lent   chan *pgx.Conn // capacity 1
}

func newSessions(n int) *sessions { return &sessions{total: n, free: make([]*pgx.Conn, n)} }

// ask queues for a session.
func (s *sessions) ask(weight int64) *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &request{weight: weight, lent: make(chan *pgx.Conn, 1)}
	if last := len(s.free) - 1; last >= 0 {
		r.lent <- s.free[last]
		s.free = s.free[:last]
		return r
	}
	at, _ := slices.BinarySearchFunc(s.waiting, r, func(a, b *request) int {
		if a.weight == b.weight {
			return -1 // first come, first served
		}
		return cmp.Compare(b.weight, a.weight)
	})
	s.waiting = slices.Insert(s.waiting, at, r)
	return r
}

// wait returns a session; it may be nil, and then is to be opened.
func (s *sessions) wait(ctx context.Context, r *request) (*pgx.Conn, error) {
	select {
	case conn := <-r.lent:
		return conn, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	at := slices.Index(s.waiting, r)
	if at >= 0 {
		s.waiting = slices.Delete(s.waiting, at, at+1)
	}
	s.mu.Unlock()
	if at < 0 {
		s.give(<-r.lent)
	}
	return nil, context.Cause(ctx)
}

// give returns a session, or nil for one that has ended.
func (s *sessions) give(conn *pgx.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.free = append(s.free, conn)
		return
	}
	s.waiting[0].lent <- conn
	s.waiting = s.waiting[1:]
}

// wanted is how many sessions are in use or waited for.
func (s *sessions) wanted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total - len(s.free) + len(s.waiting)
}

// close ends the sessions; none may be in use.
func (s *sessions) close(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.free {
		endpoint.CloseConn(ctx, conn)
	}
	s.free = nil
}
