package incremental

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// progress is the one place where positions meet: the applier moves them, status messages to the source and everybody who
// waits read them.
type progress struct {
	mu      sync.Mutex
	now     Progress
	changed chan struct{} // closed and renewed when applied moves
	settled chan struct{} // capacity 1: all that came is applied
	stop    pglogrepl.LSN // where to end; 0: never
	hold    hold
}

func newProgress() *progress {
	return &progress{changed: make(chan struct{}), settled: make(chan struct{}, 1)}
}

// update changes the figures and wakes who waits for them.
func (p *progress) update(f func(*Progress)) Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.now
	f(&p.now)
	p.now.Confirmed = p.hold.limit(before.Confirmed, p.now.Confirmed)
	if p.now.Applied != before.Applied {
		close(p.changed)
		p.changed = make(chan struct{})
	}
	return p.now
}

func (p *progress) read() Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// wait returns when applied has reached lsn.
func (p *progress) wait(ctx context.Context, lsn pglogrepl.LSN) error {
	for {
		p.mu.Lock()
		reached, changed := p.now.Applied >= lsn, p.changed
		p.mu.Unlock()
		if reached {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// delay is the time from a commit in the source to now; skew is how far the source's clock is ahead of ours.
func delay(commit, now time.Time, skew time.Duration) time.Duration {
	return max(0, now.Add(skew).Sub(commit))
}

// tableCounter counts the changes of a table that arrived and that were committed in the destination.
type tableCounter struct {
	received, applied atomic.Int64
}

// counters are the tables' counters by source name. A partition's changes count for its root as well.
type counters struct {
	mu     sync.Mutex
	tables map[schema.Name]*tableCounter
	above  map[schema.Name][]schema.Name // partitioned tables above partitions, from the nearest on
	before map[schema.Name][]schema.Name // likewise, when they were copied: for those that have been dropped since
}

func newCounters() *counters {
	return &counters{tables: map[schema.Name]*tableCounter{}, above: map[schema.Name][]schema.Name{}}
}

func (c *counters) of(name schema.Name) *tableCounter {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tables[name]
	if t == nil {
		t = &tableCounter{}
		c.tables[name] = t
	}
	return t
}

// remember tells what was above the partitions that were copied.
func (c *counters) remember(sources map[uint32][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = map[schema.Name][]schema.Name{}
	for _, names := range sources {
		own, _ := parseName(names[0])
		for _, text := range names[1:] {
			parent, _ := parseName(text)
			c.before[own] = append(c.before[own], parent)
		}
	}
}

// partitions tells what is above every partition of the source.
func (c *counters) partitions(above map[schema.Name][]schema.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.above = above
}

// ancestors returns the partitioned tables above a partition, from the nearest on.
func (c *counters) ancestors(name schema.Name) []schema.Name {
	c.mu.Lock()
	defer c.mu.Unlock()
	if above, there := c.above[name]; there {
		return above
	}
	return c.before[name]
}

// sum adds up both counters of a table and its partitions.
func (c *counters) sum(table schema.Name) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var n int64
	for name, t := range c.tables {
		if name == table || slices.Contains(c.above[name], table) {
			n += t.received.Load() + t.applied.Load()
		}
	}
	return n
}
