package incremental

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
)

const (
	// holdLag is how far a stream that is held stays behind what arrives until it is told where to stop, and holdStep how often it
	// moves on.
	holdLag, holdStep = time.Second, 100 * time.Millisecond
	// holdLimit bounds how long it stands still.
	holdLimit = time.Minute
)

// Why a hold has ended before it was released, or cannot do what it is for.
var (
	errNotRunning = errors.New("the stream does not run")
	errHeldLong   = fmt.Errorf("the stream was held for more than %s", holdLimit)
	errPassed     = errors.New("the stream has gone further already")
)

// Hold makes the destination stop between two transactions of the source, at a position that need not be known yet. Until it is, the
// stream goes on, but no transaction is committed in the destination before it has been here for a second: whoever learns of a position within
// less time after the source's WAL has got there finds the destination not beyond it. Receiving goes on as long as there is room, and the
// source is answered in any case.
//
// reach has the stream stop at a position, and returns when the destination holds exactly the transactions whose commit record starts
// before it; an error says that it has gone further. The position must lie between two records of the WAL. Besides reach returns the fence of the
// task's row in the ledger: whoever looks at the destination and finds another one there has met another owner's work.
//
// release lets the stream go on. It returns nil if the stream has stood still since reach returned, and otherwise why not: ctx
// has ended, which releases as well; or the stream has; or it would have stood still for more than a minute. It must be called.
//
// There is one hold at a time, others wait for their turn. Nothing of it is durable.
func (s *Stream) Hold(ctx context.Context) (reach func(context.Context, pglogrepl.LSN) (fence int64, err error), release func() error, err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	on := s.live.Load()
	if on == nil {
		<-s.turn
		return nil, nil, errNotRunning
	}
	h := &heldStream{stream: s, on: on, over: make(chan struct{})}
	h.limit = on.queue.shut()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(holdStep, h.follow)
	h.stop = context.AfterFunc(ctx, func() { _ = h.end(context.Cause(ctx)) })
	return h.reach, func() error { return h.end(nil) }, nil
}

// live is what a stream that runs shows to those who hold it.
type live struct {
	queue *queue
	fence int64
	ended chan struct{}
}

// serve lets the stream be held until the returned function is called, before anything else can move the destination.
func (s *Stream) serve(q *queue, fence int64) (end func()) {
	on := &live{queue: q, fence: fence, ended: make(chan struct{})}
	s.live.Store(on)
	return func() {
		s.live.Store(nil)
		close(on.ended)
	}
}

// heldStream is one hold.
type heldStream struct {
	stream *Stream
	on     *live

	mu    sync.Mutex
	limit pglogrepl.LSN   // what the queue lets pass at most
	seen  []pglogrepl.LSN // what had arrived at each of the last steps
	timer *time.Timer     // of the next step, or of the end
	going bool            // to where reach has said
	stop  func() bool     // stops waiting for the end of the context
	over  chan struct{}   // closed when the hold has ended
	ended bool
	cause error // of the end; nil: release
}

// follow lets pass what has been here for long enough.
func (h *heldStream) follow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || h.going {
		return
	}
	h.seen = append(h.seen, h.on.queue.arrived())
	if len(h.seen) > int(holdLag/holdStep) {
		h.limit, h.seen = h.seen[0], h.seen[1:]
		h.on.queue.raise(h.limit)
	}
	h.timer.Reset(holdStep)
}

func (h *heldStream) reach(ctx context.Context, lsn pglogrepl.LSN) (int64, error) {
	reached, err := h.goTo(lsn)
	if err != nil {
		return 0, err
	}
	signal(h.stream.kick) // an idle source would not pass the position by itself
	select {
	case <-reached:
	case <-h.over:
		return 0, h.end(nil)
	case <-h.on.ended:
		return 0, h.end(nil)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.timer = time.AfterFunc(holdLimit, func() { _ = h.end(errHeldLong) })
	}
	return h.on.fence, nil
}

// goTo lets the stream go on up to a position, and returns what is closed when it is there.
func (h *heldStream) goTo(lsn pglogrepl.LSN) (<-chan struct{}, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ended && h.cause != nil:
		return nil, h.cause
	case h.ended || h.going || h.limit > lsn:
		return nil, errPassed
	}
	h.timer.Stop()
	h.going, h.limit = true, lsn
	return h.on.queue.raise(lsn), nil
}

// end ends the hold for a cause, if nothing else has, and returns what has.
func (h *heldStream) end(cause error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return h.cause
	}
	select {
	case <-h.on.ended:
		cause = errNotRunning
	default:
	}
	h.ended, h.cause = true, cause
	h.timer.Stop()
	h.stop()
	close(h.over)
	h.on.queue.unshut()
	<-h.stream.turn
	return cause
}

// gate keeps transactions in the queue.
type gate struct {
	limit   pglogrepl.LSN // those that end behind it
	stopped bool          // the queue has one of them
	reached chan struct{} // closed when nothing else is left to be applied; nil: nobody waits for that
}

// shut keeps what is pushed from now on in the queue, and returns the position that it begins behind.
func (q *queue) shut() pglogrepl.LSN {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gate = &gate{limit: q.passed}
	q.recount()
	return q.passed
}

// arrived is the position before which all commits have been pushed.
func (q *queue) arrived() pglogrepl.LSN {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.passed
}

// raise lets the transactions pass that end at or before lsn. The channel is closed when all of them have been applied.
func (q *queue) raise(lsn pglogrepl.LSN) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gate = &gate{limit: lsn, reached: make(chan struct{})}
	q.recount()
	return q.gate.reached
}

// unshut lets everything pass.
func (q *queue) unshut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gate = nil
	q.recount()
}

// recount finds out what may be taken after the gate has changed. The caller holds the lock.
func (q *queue) recount() {
	q.whole = 0
	for i := range q.events {
		q.count(&q.events[i], i+1)
	}
	signal(q.filled)
	if q.whole > 0 && q.bytes >= q.limit/2 {
		signal(q.plenty)
	}
}

// count takes note of an event that is in the queue as the n-th. The caller holds the lock.
//
// Commit records do not overlap, and the gate's limit lies between two records. So a transaction whose record starts behind the
// limit ends behind it, and the other way round. With test_decoding the start of a begin event is a lower bound, which may
// lie before the limit when the transaction's end does not; then its commit tells.
func (q *queue) count(e *event, n int) {
	g := q.gate
	switch e.kind {
	case kindBegin:
		if g != nil && e.tx.start >= g.limit {
			g.stopped = true
		}
		return
	case kindCommit:
		q.passed = max(q.passed, e.tx.end)
		if g != nil && e.tx.end > g.limit {
			g.stopped = true
		}
	case kindPosition:
		q.passed = max(q.passed, e.lsn)
	default:
		return
	}
	if g == nil || !g.stopped {
		q.whole = n
	}
}

// settled tells who waits for the gate's limit if it is reached: all that was taken has been applied, and nothing that has to be
// is in the queue or still to come. The caller is the one who applies.
func (q *queue) settled() {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.gate
	if g != nil && g.reached != nil && q.whole == 0 && (g.stopped || q.passed >= g.limit) {
		close(g.reached)
		g.reached = nil
	}
}
