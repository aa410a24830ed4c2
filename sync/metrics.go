package sync

import (
	"context"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/incremental"
)

const (
	// metricEvery is how often figures of the current minute are added to the catalog at most, and metricQuiet how often when
	// nothing happens.
	metricEvery = 900 * time.Millisecond // figures are written every second
	metricQuiet = 10 * time.Second
	// outdated is when what was seen of the source's WAL is not known any more, as in the view sync_status.
	outdated = time.Minute
)

// totals are the counts of a runner, which only grow.
type totals struct {
	stream                incremental.Figures
	rowsCopied            int64
	bytesCopied           int64
	rows, transactions    int64 // applied
	ddls                  int64
	trafficIn, trafficOut int64
	processor             time.Duration // of the whole daemon
}

// minute is what the next addition to the metrics is made from.
type minute struct {
	since   time.Time // the last addition
	before  totals    // at that time
	delay   *int64    // greatest since, in ms
	closing bool      // what there is must be added
}

// totals returns the counts as they are; the caller holds mu.
func (f *figures) totals() totals {
	t := totals{
		stream: f.meter.Figures(), rowsCopied: f.st.RowsCopied, bytesCopied: f.st.BytesCopied, rows: f.st.RowsApplied,
		transactions: f.st.TransactionsApplied, ddls: f.st.DDLs, processor: processorTime(),
	}
	t.trafficIn, t.trafficOut = f.traffic.Bytes()
	return t
}

// idle reports whether nothing was done for the task between two readings.
func (t totals) idle(before totals) bool {
	return t.stream == before.stream && t.rowsCopied == before.rowsCopied && t.bytesCopied == before.bytesCopied && t.rows == before.rows
}

// close makes the next metric take all that is left.
func (f *figures) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.minute.closing = true
}

// employ notes how many connections copy or apply.
func (f *figures) employ(workers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers = workers
}

// metric returns what was measured since the last one that was added, and what to call once it is; false when it is too early.
func (f *figures) metric(now time.Time) (m catalog.Metric, added func(), due bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	is, was, span := f.totals(), f.minute.before, now.Sub(f.minute.since)
	if !f.minute.closing && (span < metricEvery || span < metricQuiet && is.idle(was)) {
		return m, nil, false
	}
	// A table that is copied once more after a fault begins at zero again.
	rows, bytes := max(is.rowsCopied-was.rowsCopied, 0), max(is.bytesCopied-was.bytesCopied, 0)
	m = catalog.Metric{
		Time:              now,
		Span:              span,
		ExtractBytes:      bytes + is.stream.ReceivedBytes - was.stream.ReceivedBytes,
		ExtractRows:       rows + is.stream.ReceivedRows - was.stream.ReceivedRows,
		Commits:           is.stream.ReceivedCommits - was.stream.ReceivedCommits,
		Latency:           is.stream.Latency - was.stream.Latency,
		ApplyBytes:        bytes + is.stream.AppliedBytes - was.stream.AppliedBytes,
		ApplyRows:         rows + is.rows - was.rows,
		ApplyTransactions: is.transactions - was.transactions,
		ApplyDDLs:         is.ddls - was.ddls,
		Batches:           is.stream.Batches - was.stream.Batches,
		Execute:           is.stream.Execute - was.stream.Execute,
		Commit:            is.stream.Commit - was.stream.Commit,
		NetIn:             is.trafficIn - was.trafficIn,
		NetOut:            is.trafficOut - was.trafficOut,
		CPU:               is.processor - was.processor,
		DelayMs:           f.minute.delay,
		MemoryBytes:       memoryBytes(),
	}
	if f.st.Phase == phaseNameIncremental {
		streams := f.streams
		m.Streaming = &streams
	}
	if now.Sub(f.looked) < outdated {
		m.SlotWALBytes, m.LagBytes = f.retained, f.lag()
	}
	if f.workers > 0 {
		n := f.workers
		m.Workers = &n
	}
	return m, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.minute.before, f.minute.since, f.minute.delay = is, now, nil
	}, true
}

// lag is the WAL that is not applied yet; the caller holds mu.
func (f *figures) lag() *int64 {
	if f.progress.Applied == 0 || f.walEnd == 0 {
		return nil
	}
	lag := max(int64(f.walEnd)-int64(f.progress.Applied), 0)
	return &lag
}

// addMetric adds what was measured to the current minute.
func (r *runner) addMetric(ctx context.Context, now time.Time) error {
	m, added, due := r.figures.metric(now)
	if !due || r.duty == dutyWait { // which is none of the task's minutes
		return nil
	}
	m.DiskBytes = r.usage.diskBytes(now)
	if err := r.cfg.Catalog.AddMetric(ctx, r.id, m); err != nil {
		return err
	}
	added()
	return nil
}
