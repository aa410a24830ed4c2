package sync

import (
	"context"
	"sync"
	"time"

	"pgsyncd/catalog"

	"golang.org/x/time/rate"
)

const (
	// flowUnit is the megabyte of FLOW LIMIT, the same as that of options.
	flowUnit = 1 << 20
	// flowPieces per second is how finely a limited copy is dosed, and so how long a changed limit waits to be noticed at most.
	flowPieces = 4
)

// limitAt is the limit in bytes per second that holds at a time, 0 for none. The windows are read on the clock of the zone: an hour
// that daylight saving repeats is in a window twice, and one that it leaves out is not in it.
func limitAt(f catalog.Flow, zone *time.Location, at time.Time) int {
	limit := f.MBPerSecond * flowUnit
	if len(f.Windows) == 0 {
		return limit
	}
	clock := at.In(zone)
	const day = 24 * 60
	minute := clock.Hour()*60 + clock.Minute()
	for _, w := range f.Windows {
		from, to := w.From%day, w.To
		if from < to && from <= minute && minute < to || from > to && (from <= minute || minute < to) {
			return limit
		}
	}
	return 0
}

// limiter doses what all workers of a task's full phase move together. It implements fullcopy.Limiter. What it lets pass never
// exceeds the limit by more than one piece.
type limiter struct {
	turn chan struct{} // held by the one worker that waits for the bucket; all others wait for the turn

	mu   sync.Mutex
	flow catalog.Flow
	zone *time.Location

	bucket *rate.Limiter // only who has the turn uses it
}

func newLimiter(t catalog.Task) *limiter {
	l := &limiter{turn: make(chan struct{}, 1), bucket: rate.NewLimiter(rate.Inf, 0)}
	l.set(t)
	return l
}

// set makes the task's limit count from the next piece on.
func (l *limiter) set(t catalog.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flow, l.zone = t.Flow, catalog.Zone(t.Options["time_zone"]).Location()
}

func (l *limiter) limit() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return limitAt(l.flow, l.zone, time.Now())
}

// Wait returns when n bytes may be moved, or with the error of ctx.
func (l *limiter) Wait(ctx context.Context, n int) error {
	for n > 0 && l.limit() > 0 {
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		piece, err := l.piece(ctx, n)
		<-l.turn
		if err != nil {
			return err
		}
		n -= piece
	}
	return ctx.Err()
}

// piece waits until some of n bytes may be moved, and returns how many.
func (l *limiter) piece(ctx context.Context, n int) (int, error) {
	limit := l.limit()
	if limit == 0 {
		return n, nil
	}
	if l.bucket.Limit() != rate.Limit(limit) {
		// A fresh bucket would be full, and what was saved up without a limit is not to be spent under one.
		l.bucket = rate.NewLimiter(rate.Limit(limit), limit/flowPieces)
		l.bucket.AllowN(time.Now(), limit/flowPieces)
	}
	n = min(n, limit/flowPieces)
	return n, l.bucket.WaitN(ctx, n)
}
