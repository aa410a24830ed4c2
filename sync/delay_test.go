package sync

import (
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/incremental"
)

// streaming figures of a task that streams and has applied everything up to 100.
func streamingFigures() *figures {
	f := newFigures(catalog.Status{}, nil)
	f.phase(phaseNameIncremental)
	f.streamProgress(incremental.Progress{Applied: 100, Received: 100, CaughtUp: true})
	f.streaming(true)
	return f
}

// delayMs is what is shown at a time, -1 for nothing.
func delayMs(f *figures, now time.Time) int64 {
	st, _ := f.status(now)
	if st.DelayMs == nil {
		return -1
	}
	return *st.DelayMs
}

// A stream that has all is not late, however long nothing was written.
func TestNoDelayWhenIdle(t *testing.T) {
	t.Parallel()
	f, now := streamingFigures(), time.Now()
	for range 10 {
		f.source(now, 100, nil)
		if got := delayMs(f, now); got != 0 {
			t.Errorf("%d ms", got)
		}
		now = now.Add(time.Minute)
	}
}

// While a server is away, everything waits that was committed since the destination had all.
func TestDelayWithoutStream(t *testing.T) {
	t.Parallel()
	f, now := streamingFigures(), time.Now()
	delayMs(f, now)
	f.streaming(false)
	if got := delayMs(f, now.Add(90*time.Second)); got != 90_000 {
		t.Errorf("%d ms after 90 s", got)
	}
	fresh := newFigures(catalog.Status{Phase: phaseNameIncremental}, nil)
	if got := delayMs(fresh, now); got != -1 {
		t.Errorf("%d ms, though nothing is known", got)
	}
	restarted := newFigures(catalog.Status{Phase: phaseNameIncremental, DelayMs: new(int64(5_000)), UpdatedAt: now}, nil)
	if got := delayMs(restarted, now.Add(time.Minute)); got != 65_000 {
		t.Errorf("%d ms a minute after the daemon that saw 5 s", got)
	}
}

// What the source has written and not sent makes late after a while.
func TestDelayOfDecoding(t *testing.T) {
	t.Parallel()
	f, start := streamingFigures(), time.Now()
	f.source(start, 200, nil)
	f.source(start.Add(10*time.Second), 300, nil)
	if got := delayMs(f, start.Add(decodingGrace)); got != 0 {
		t.Errorf("%d ms within the grace", got)
	}
	if got := delayMs(f, start.Add(time.Minute)); got != 60_000 {
		t.Errorf("%d ms after a minute", got)
	}
	f.streamProgress(incremental.Progress{Applied: 300, Received: 300, CaughtUp: true})
	if got := delayMs(f, start.Add(time.Minute)); got != 0 {
		t.Errorf("%d ms when it has all", got)
	}
}

// Of a limit that is passed is spoken once, until the value was well below.
func TestAlarm(t *testing.T) {
	t.Parallel()
	var a alarm
	for i, step := range []struct {
		value           int64
		raised, cleared bool
	}{{999, false, false}, {1000, false, false}, {1001, true, false}, {5000, false, false}, {751, false, false}, {1200, false, false}, {750, false, true}, {1000, false, false}, {1001, true, false}} {
		if raised, cleared := a.judge(step.value, 1000); raised != step.raised || cleared != step.cleared {
			t.Errorf("step %d: %v, %v", i, raised, cleared)
		}
	}
}
