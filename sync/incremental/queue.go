package incremental

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
)

// queue carries events from the goroutine that receives to the one that applies. Positions travel in it like everything
// else, so whoever takes one out has taken out all that came before.
type queue struct {
	limit int    // bytes; one event more may be held
	meter *Meter // nil where what comes is not counted

	mu     sync.Mutex
	events []event
	bytes  int
	whole  int           // events up to and with the last one that leaves no transaction open and that the gate lets pass
	open   bool          // the last event that was pushed leaves a transaction open
	passed pglogrepl.LSN // all that committed before was pushed
	gate   *gate         // nil: everything may be taken

	filled  chan struct{} // capacity 1: something to take
	drained chan struct{} // capacity 1: room again
	plenty  chan struct{} // capacity 1: half full, of whole transactions
}

func newQueue(limit int) *queue {
	return &queue{
		limit: limit, filled: make(chan struct{}, 1), drained: make(chan struct{}, 1), plenty: make(chan struct{}, 1),
	}
}

// push waits while the queue is full.
func (q *queue) push(ctx context.Context, e event) error {
	q.meter.arrive(&e)
	for {
		if q.offer(e) {
			return nil
		}
		select {
		case <-q.drained:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (q *queue) offer(e event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.kind == kindPosition {
		if q.open {
			return true // it says nothing that the commit will not say
		}
		if last := len(q.events) - 1; last >= 0 && q.events[last].kind == kindPosition {
			q.events[last].lsn = max(q.events[last].lsn, e.lsn)
			q.events[last].reply = q.events[last].reply || e.reply
			q.count(&e, len(q.events))
			if q.gate != nil {
				signal(q.filled)
			}
			return true
		}
	}
	if q.bytes >= q.limit {
		return false
	}
	q.events = append(q.events, e)
	q.bytes += e.size
	q.open = e.kind != kindCommit && e.kind != kindPosition
	q.count(&e, len(q.events))
	if q.whole > 0 || q.bytes >= q.limit || q.gate != nil {
		signal(q.filled)
	}
	if q.whole > 0 && q.bytes >= q.limit/2 {
		signal(q.plenty)
	}
	return true
}

// take waits for something to apply and returns everything up to the last whole transaction, or a full queue's worth of a
// transaction that is larger than the queue. It returns nothing when the alarm rings before.
func (q *queue) take(ctx context.Context, alarm <-chan time.Time) ([]event, error) {
	for {
		if events := q.grab(); len(events) > 0 {
			return events, nil
		}
		q.settled()
		select {
		case <-q.filled:
		case <-alarm:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// linger waits while the queue fills, until it is half full, but not for longer than a part of the time by which what it holds is
// late already: the more changes come together, the more of them fold. skew is how far the source's clock is ahead of ours.
func (q *queue) linger(ctx context.Context, skew time.Duration) {
	late, bytes := q.late(time.Now().Add(skew))
	if late < lingerFrom {
		return
	}
	tick := time.NewTicker(lingerStep)
	defer tick.Stop()
	for end := time.Now().Add(min(late/lingerPart, lingerLimit)); time.Now().Before(end); {
		select {
		case <-q.plenty:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := bytes
		if _, bytes = q.late(time.Time{}); bytes <= before || bytes >= q.limit/2 {
			return
		}
	}
}

const (
	lingerFrom  = 500 * time.Millisecond
	lingerPart  = 10
	lingerLimit = 200 * time.Millisecond
	lingerStep  = 10 * time.Millisecond
)

// late is how long ago the newest transaction that is held committed, 0 when there is none, and how much is held.
func (q *queue) late(now time.Time) (late time.Duration, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := q.whole - 1; i >= 0; i-- {
		if q.events[i].kind == kindCommit {
			return now.Sub(q.events[i].tx.time), q.bytes
		}
	}
	return 0, q.bytes
}

// plentiful returns whole transactions if the queue is half full, else nothing.
func (q *queue) plentiful() []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.whole == 0 || q.bytes < q.limit/2 {
		return nil
	}
	return q.remove(q.whole)
}

func (q *queue) grab() []event {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.whole
	if n == 0 && q.bytes >= q.limit && (q.gate == nil || !q.gate.stopped) {
		n = len(q.events)
	}
	if n == 0 {
		return nil
	}
	return q.remove(n)
}

// remove takes the first n events out. The caller holds the lock.
func (q *queue) remove(n int) []event {
	taken, rest := q.events[:n:n], q.events[n:]
	q.events = append(make([]event, 0, n), rest...) // as many come as came before
	q.bytes, q.whole = 0, 0
	for i := range q.events {
		q.bytes += q.events[i].size
	}
	signal(q.drained)
	return taken
}

// empty reports whether nothing waits.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events) == 0
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
