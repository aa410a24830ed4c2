package sync

import (
	"context"
	"fmt"
	"time"

	"pgsyncd/catalog"

	"github.com/jackc/pglogrepl"
)

const (
	// delayShown is how long a delay is shown after the transaction it was measured of.
	delayShown = 2 * time.Second
	// decodingGrace is how long the source may take to tell that nothing of interest was written. It is asked every 10 s.
	decodingGrace = 15 * time.Second
)

// lateness is what the delay of a stream is derived from.
type lateness struct {
	mark     pglogrepl.LSN // the source's WAL ended here
	marked   time.Time     // at that time
	measured time.Duration // the greatest of late
	at       time.Time     // when that was
	whole    time.Time     // the destination had all that the source committed before this
}

// source takes what was seen of the source's WAL.
func (f *figures) source(now time.Time, end pglogrepl.LSN, retained *int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walEnd, f.retained, f.looked = end, retained, now
	if f.late.mark <= f.progress.Applied {
		f.late.mark, f.late.marked = end, now
	}
	f.changed = true
}

// delay is the time that commits of the source take to the destination, nil when it is not known; the caller holds mu. While a stream
// runs it is measured of transactions, waiting ones included, or, where the source has not sent what it wrote, since it did. Without a
// stream everything waits that was committed since the destination had all.
func (f *figures) delay(now time.Time) *time.Duration {
	if !f.streams {
		if f.late.whole.IsZero() {
			return nil
		}
		d := now.Sub(f.late.whole)
		return &d
	}
	d := f.meter.Delay(f.progress.Applied)
	if d >= f.late.measured || now.Sub(f.late.at) > delayShown {
		f.late.measured, f.late.at = d, now
	}
	d = f.late.measured
	if f.late.mark > f.progress.Applied {
		if behind := now.Sub(f.late.marked); behind > decodingGrace {
			d = max(d, behind)
		}
	}
	if whole := now.Add(-d); whole.After(f.late.whole) {
		f.late.whole = whole
	}
	return &d
}

// alarm tells when a value passes a limit, once, until it has been well below.
type alarm struct{ raised bool }

// rearm is the part of the limit, in percent, that a value must fall to before passing the limit counts again.
const rearm = 75

// judge reports whether the alarm was raised or cleared by a value.
func (a *alarm) judge(value, limit int64) (raised, cleared bool) {
	switch {
	case !a.raised && value > limit:
		a.raised = true
		return true, false
	case a.raised && value <= limit/100*rearm+limit%100*rearm/100:
		a.raised = false
		return false, true
	}
	return false, false
}

// watchDelay says in the task's log when the delay passes delay_threshold, and when it is back.
func (r *runner) watchDelay(ctx context.Context, st catalog.Status) {
	o, err := catalog.ParseTaskOptions(r.inUse.Load().Options)
	if err != nil || st.DelayMs == nil {
		return // an option that cannot be read fails the task elsewhere
	}
	limit := o.DelayThreshold.Milliseconds()
	if before := r.figures.delayBefore; before != nil { // what an earlier runner has said
		r.figures.delayAlarm.judge(*before, limit)
		r.figures.delayBefore = nil
	}
	raised, cleared := r.figures.delayAlarm.judge(*st.DelayMs, limit)
	delay := time.Duration(*st.DelayMs) * time.Millisecond
	switch {
	case raised:
		r.tell(ctx, *r.inUse.Load(), "warning", "delay exceeded", fmt.Sprintf("the destination is %s behind the source, more than delay_threshold (%s)",
			catalog.FormatDuration(delay.Round(time.Second)), catalog.FormatDuration(o.DelayThreshold)), "")
	case cleared:
		r.tell(ctx, *r.inUse.Load(), "info", "delay normal", "the destination is no longer behind the source for more than delay_threshold", "")
	}
}
