package incremental

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
)

// holdLimit bounds how long a stream stands still for somebody who holds it.
const holdLimit = time.Minute

// Why a hold has ended before it was released.
var (
	errNotRunning = errors.New("the stream does not run")
	errHeldLong   = fmt.Errorf("the stream was held for more than %s", holdLimit)
)

// Hold makes the destination stop between two transactions of the source, at a position that need not be known yet: from now on
// no transaction is committed in the destination but those that have arrived. So whatever position the source's WAL gets to from now on, the
// destination is not beyond it. Receiving goes on as long as there is room, and the source is answered in any case.
//
// reach lets the stream go on up to a position, and returns when the destination holds exactly the transactions whose commit record
// starts before it. That must be a position between two records of the WAL which the source had not written yet when
// Hold returned. Besides it returns the fence of the task's row in the ledger: whoever looks at the destination and finds another one
// there has met another owner's work.
//
// release lets the stream go on without limit. It returns nil if the stream has stood still until then, and otherwise why not: ctx has
// ended, which releases as well; or the stream has; or it would have stood still for more than a minute. It must be called.
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
	on.queue.shut()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(holdLimit, func() { _ = h.end(errHeldLong) })
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
	timer *time.Timer   // ends the hold
	stop  func() bool   // stops waiting for the end of the context
	over  chan struct{} // closed when the hold has ended
	ended bool
	cause error // of the end; nil: release
}

func (h *heldStream) reach(ctx context.Context, lsn pglogrepl.LSN) (int64, error) {
	reached := h.goOn(lsn)
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
		h.timer.Reset(holdLimit)
	}
	return h.on.fence, nil
}

// goOn lets the stream go on up to a position, and returns what is closed when it is there.
func (h *heldStream) goOn(lsn pglogrepl.LSN) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return nil
	}
	h.timer.Stop()
	return h.on.queue.raise(lsn)
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

// shut keeps what is pushed from now on in the queue.
func (q *queue) shut() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gate = &gate{limit: q.passed}
	q.recount()
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
