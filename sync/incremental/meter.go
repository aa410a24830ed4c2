package incremental

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pglogrepl"
)

// Meter counts what streams do. Streams that follow each other after faults may share one, so that its counts go on. All its
// methods are safe for concurrent use, and a nil Meter counts nothing.
type Meter struct {
	received, rows        atomic.Int64
	applied, batches      atomic.Int64
	executing, committing atomic.Int64 // nanoseconds; the former include the latter

	mu      sync.Mutex
	skew    time.Duration // the source's clock minus ours
	trip    time.Duration // that it took to find that out
	clocked time.Time     // when that was
	commits int64
	latency time.Duration
	waiting []arrival     // commits that were received, from the oldest on, at most one for each arrivalSpacing
	listed  time.Time     // when the last of them came
	last    arrival       // the newest commit of all
	through pglogrepl.LSN // everything before has left waiting
	worst   time.Duration // greatest delay since Delay was called
}

// arrival is a commit of the source.
type arrival struct {
	end pglogrepl.LSN
	at  time.Time // of the commit, by our clock
}

const (
	arrivalSpacing = 20 * time.Millisecond
	maxArrivals    = 1 << 12
	clockAge       = time.Minute // a measurement of the clocks is replaced by a less exact one after that
)

// Figures are the counts of a [Meter], sums since it was made.
type Figures struct {
	ReceivedBytes   int64         // of messages of the output plugin
	ReceivedRows    int64         // changes of rows, and TRUNCATEs
	ReceivedCommits int64         // transactions, those included that turn out to be in the destination already
	Latency         time.Duration // of ReceivedCommits, from the commit in the source to its receipt
	AppliedBytes    int64         // of messages whose changes were committed in the destination
	Batches         int64         // transactions of the destination that held changes
	Execute         time.Duration // of Batches, for their statements
	Commit          time.Duration // of Batches, for their COMMIT
}

// Figures returns what has been counted.
func (m *Meter) Figures() Figures {
	m.mu.Lock()
	defer m.mu.Unlock()
	committing := time.Duration(m.committing.Load())
	return Figures{
		ReceivedBytes: m.received.Load(), ReceivedRows: m.rows.Load(), ReceivedCommits: m.commits, Latency: m.latency,
		AppliedBytes: m.applied.Load(), Batches: m.batches.Load(), Commit: committing,
		Execute: max(0, time.Duration(m.executing.Load())-committing),
	}
}

// Delay is the greatest one since it was last called, by one clock: of the transactions that were committed in the destination
// since then, from their commit in the source, and of those that were received and still wait, until now. The destination has all
// that ended at or before applied. Of transactions that come within a moment one of the first counts.
func (m *Meter) Delay(applied pglogrepl.LSN) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.passed(applied)
	delay := m.worst
	m.worst = 0
	switch {
	case len(m.waiting) > 0:
		delay = max(delay, now.Sub(m.waiting[0].at))
	case m.last.end > applied:
		delay = max(delay, now.Sub(m.last.at))
	}
	return delay
}

// passed forgets the commits up to applied and returns the first of them; the caller holds mu.
func (m *Meter) passed(applied pglogrepl.LSN) (first arrival, any bool) {
	n := slices.IndexFunc(m.waiting, func(a arrival) bool { return a.end > applied })
	if n < 0 {
		n = len(m.waiting)
	}
	first, any = m.last, m.last.end > m.through && m.last.end <= applied
	if n > 0 {
		first, any = m.waiting[0], true
		m.waiting = slices.Delete(m.waiting, 0, n)
	}
	m.through = max(m.through, applied)
	return first, any
}

// Clock learns how far the source's clock is ahead from a question that the source answered with its time. The quickest
// answer of late is the one that counts.
func (m *Meter) Clock(asked, source, answered time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if trip := answered.Sub(asked); m.clocked.IsZero() || trip <= m.trip || answered.Sub(m.clocked) > clockAge {
		m.trip, m.clocked = trip, answered
		m.skew = source.Sub(asked.Add(trip / 2))
	}
}

// Skew is the source's clock minus ours.
func (m *Meter) Skew() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.skew
}

// receive counts a message of the plugin.
func (m *Meter) receive(bytes int) {
	if m != nil {
		m.received.Add(int64(bytes))
	}
}

// arrive counts an event.
func (m *Meter) arrive(e *event) {
	if m == nil {
		return
	}
	switch e.kind {
	case kindBegin, kindPosition:
	case kindCommit:
		m.arriveCommit(e.tx, time.Now())
	default:
		m.rows.Add(1)
	}
}

func (m *Meter) arriveCommit(tx *transaction, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = arrival{tx.end, tx.time.Add(-m.skew)}
	m.commits++
	m.latency += max(0, now.Sub(m.last.at))
	if len(m.waiting) > 0 && now.Sub(m.listed) < arrivalSpacing {
		return
	}
	if len(m.waiting) == maxArrivals { // whoever looks sees the oldest; of the others every second will do
		for i := range maxArrivals / 2 {
			m.waiting[i] = m.waiting[2*i]
		}
		m.waiting = m.waiting[:maxArrivals/2]
	}
	m.waiting, m.listed = append(m.waiting, m.last), now
}

// apply counts the time since the application of a batch began, its COMMIT included.
func (m *Meter) apply(begun time.Time) { m.executing.Add(int64(time.Since(begun))) }

// commit counts the COMMIT of a transaction with changes of so many bytes, which brought the destination to applied.
func (m *Meter) commit(begun time.Time, bytes int, applied pglogrepl.LSN) {
	now := time.Now()
	m.committing.Add(int64(now.Sub(begun)))
	m.batches.Add(1)
	m.applied.Add(int64(bytes))
	m.mu.Lock()
	defer m.mu.Unlock()
	if first, any := m.passed(applied); any {
		m.worst = max(m.worst, now.Sub(first.at))
	}
}

// wire is about what the plugin's message of a change took.
func (e *event) wire() int { return max(0, e.size-eventSize-(len(e.old)+len(e.new))*tupleValueSize) }

// tupleValueSize is what a value takes in a tuple beside its bytes, see decode.
const tupleValueSize = 24
