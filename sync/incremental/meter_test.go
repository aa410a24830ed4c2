package incremental

import (
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
)

// arriving lets a transaction arrive that was committed some time ago, by the source's clock, and ended at a position.
func arriving(m *Meter, end pglogrepl.LSN, ago time.Duration, now time.Time) {
	m.arriveCommit(&transaction{end: end, time: now.Add(-ago)}, now)
}

// about allows for the time a test takes.
func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if got < want || got > want+time.Minute {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// What waits counts from its commit until now, what was applied until it was; the clocks of both machines play no role.
func TestMeterDelay(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour} {
		var m Meter
		now := time.Now()
		m.Clock(now, now.Add(skew), now)
		if got := m.Delay(0); got != 0 {
			t.Errorf("at first: %s", got)
		}
		later := now.Add(skew)
		arrive := func(end pglogrepl.LSN, ago time.Duration, received time.Time) {
			m.arriveCommit(&transaction{end: end, time: later.Add(-ago)}, received)
		}
		arrive(10, 3*time.Hour, now)
		arrive(20, 2*time.Hour, now) // comes within the moment: not listed for itself
		arrive(30, time.Hour, now.Add(time.Second))
		if f := m.Figures(); f.ReceivedCommits != 3 {
			t.Errorf("%d commits", f.ReceivedCommits)
		} else {
			about(t, "latency", f.Latency, 6*time.Hour)
		}
		about(t, "all wait", m.Delay(5), 3*time.Hour)
		about(t, "the last waits", m.Delay(20), time.Hour)
		m.commit(now, 7, 30)
		about(t, "committed", m.Delay(30), time.Hour)
		if got := m.Delay(30); got != 0 {
			t.Errorf("nothing waits: %s", got)
		}
		// A transaction without changes is passed, not committed: it was never late.
		arrive(40, 5*time.Hour, now.Add(2*time.Second))
		if got := m.Delay(40); got != 0 {
			t.Errorf("an empty one: %s", got)
		}
		m.commit(now, 7, 40)
		if got := m.Delay(40); got != 0 {
			t.Errorf("one that was counted before: %s", got)
		}
		arrive(50, 4*time.Hour, now.Add(3*time.Second))
		arrive(60, 2*time.Hour, now.Add(3*time.Second))
		m.Delay(50)
		about(t, "the one that is not listed waits", m.Delay(50), 2*time.Hour)
		m.commit(now, 7, 60)
		about(t, "the one that is not listed", m.Delay(60), 2*time.Hour)
	}
}

// However many wait, the oldest is known, and memory is bounded.
func TestMeterIsBounded(t *testing.T) {
	t.Parallel()
	var m Meter
	now := time.Now()
	for i := range pglogrepl.LSN(3 * maxArrivals) {
		arriving(&m, i+1, time.Hour, now.Add(time.Duration(i)*arrivalSpacing))
	}
	if len(m.waiting) > maxArrivals {
		t.Errorf("%d are listed", len(m.waiting))
	}
	if m.waiting[0].end != 1 {
		t.Errorf("the oldest is %s", m.waiting[0].end)
	}
}

// The quickest answer tells most about a clock, but not for ever.
func TestMeterClock(t *testing.T) {
	t.Parallel()
	var m Meter
	start := time.Now()
	for _, step := range []struct {
		asked, trip, ahead, want time.Duration
	}{
		{0, time.Second, 5 * time.Second, 4500 * time.Millisecond},
		{time.Second, 2 * time.Second, 9 * time.Second, 4500 * time.Millisecond},
		{2 * time.Second, 10 * time.Millisecond, 4 * time.Second, 3995 * time.Millisecond},
		{2 * clockAge, 2 * time.Second, 3 * time.Second, 2 * time.Second},
	} {
		asked := start.Add(step.asked)
		m.Clock(asked, asked.Add(step.ahead), asked.Add(step.trip))
		if got := m.Skew(); got != step.want {
			t.Errorf("after %s: %s, want %s", step.asked, got, step.want)
		}
	}
}
