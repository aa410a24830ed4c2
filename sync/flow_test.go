package sync

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgsyncd/catalog"

	"golang.org/x/sync/errgroup"
)

// TestLimitAt: which limit holds when, by the clock of the task's time zone.
func TestLimitAt(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	day, night := catalog.Window{From: 8 * 60, To: 12 * 60}, catalog.Window{From: 22 * 60, To: 6 * 60}
	early := catalog.Window{From: 2 * 60, To: 3 * 60}
	for name, c := range map[string]struct {
		windows []catalog.Window
		zone    *time.Location
		at      string // UTC
		limited bool
	}{
		"all day":                                {nil, time.UTC, "2030-01-31T03:00:00Z", true},
		"before":                                 {[]catalog.Window{day}, time.UTC, "2030-01-31T07:59:59Z", false},
		"begin":                                  {[]catalog.Window{day}, time.UTC, "2030-01-31T08:00:00Z", true},
		"last moment":                            {[]catalog.Window{day}, time.UTC, "2030-01-31T11:59:59Z", true},
		"end":                                    {[]catalog.Window{day}, time.UTC, "2030-01-31T12:00:00Z", false},
		"past midnight":                          {[]catalog.Window{night}, time.UTC, "2030-01-31T00:30:00Z", true},
		"before midnight":                        {[]catalog.Window{night}, time.UTC, "2030-01-31T23:30:00Z", true},
		"after the night":                        {[]catalog.Window{night}, time.UTC, "2030-01-31T06:00:00Z", false},
		"second of two":                          {[]catalog.Window{day, night}, time.UTC, "2030-01-31T22:00:00Z", true},
		"between two":                            {[]catalog.Window{day, night}, time.UTC, "2030-01-31T13:00:00Z", false},
		"whole day":                              {[]catalog.Window{{To: 1440}}, time.UTC, "2030-01-31T23:59:59Z", true},
		"from 24:00":                             {[]catalog.Window{{From: 1440, To: 60}}, time.UTC, "2030-01-31T00:10:00Z", true},
		"winter, in":                             {[]catalog.Window{day}, berlin, "2030-01-31T07:00:00Z", true},
		"winter, out":                            {[]catalog.Window{day}, berlin, "2030-01-31T11:00:00Z", false},
		"summer, in":                             {[]catalog.Window{day}, berlin, "2030-07-31T06:00:00Z", true},
		"summer, out":                            {[]catalog.Window{day}, berlin, "2030-07-31T10:00:00Z", false},
		"02:30 of the day that has it twice":     {[]catalog.Window{early}, berlin, "2030-10-27T00:30:00Z", true},
		"and once more":                          {[]catalog.Window{early}, berlin, "2030-10-27T01:30:00Z", true},
		"03:30 of that day":                      {[]catalog.Window{early}, berlin, "2030-10-27T02:30:00Z", false},
		"the day without 02:30, before the jump": {[]catalog.Window{early}, berlin, "2030-03-31T00:59:59Z", false},
		"after it":                               {[]catalog.Window{early}, berlin, "2030-03-31T01:00:00Z", false},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if c.limited {
			want = 7 << 20
		}
		if got := limitAt(catalog.Flow{MBPerSecond: 7, Windows: c.windows}, c.zone, at); got != want {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := limitAt(catalog.Flow{}, time.UTC, time.Now()); got != 0 {
		t.Errorf("unlimited: %d", got)
	}
}

// workload moves bytes through a limiter with several workers until the context ends, as fast as it lets them.
func workload(ctx context.Context, l *limiter, workers, chunk int) (moved int) {
	var g errgroup.Group
	counts := make([]int, workers)
	for i := range workers {
		g.Go(func() error {
			for l.Wait(ctx, chunk) == nil {
				counts[i] += chunk
				if l.limit() == 0 { // else time would not pass
					select {
					case <-ctx.Done():
					case <-time.After(time.Millisecond):
					}
				}
			}
			return nil
		})
	}
	_ = g.Wait()
	for _, n := range counts {
		moved += n
	}
	return moved
}

// TestLimiterIsExact measures ten seconds of a clock that only the test moves.
func TestLimiterIsExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mb, workers, chunk int }{{1, 1, 8 << 10}, {1, 8, 256 << 10}, {50, 8, 256 << 10}, {9999, 16, 16 << 20}, {3, 5, 777}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			moved := workload(ctx, newLimiter(catalog.Task{Flow: catalog.Flow{MBPerSecond: c.mb}}), c.workers, c.chunk)
			if share := float64(moved) / float64(10*c.mb<<20); share < 0.95 || share > 1.05 {
				t.Errorf("%+v: %.3f of the limit", c, share)
			}
		})
	}
}

// TestLimiterFollowsTheTask: another limit, none, and the end of a window count at once, for workers that wait already too.
func TestLimiterFollowsTheTask(t *testing.T) {
	t.Parallel()
	const second = 1 << 20
	limited := catalog.Task{Flow: catalog.Flow{MBPerSecond: 1}}
	for name, c := range map[string]struct {
		before, after catalog.Task
		most, least   int // bytes of two seconds, the task being changed after the first
	}{
		"faster":  {limited, catalog.Task{Flow: catalog.Flow{MBPerSecond: 10}}, 11 * second, 8 * second},
		"slower":  {catalog.Task{Flow: catalog.Flow{MBPerSecond: 10}}, limited, 12 * second, 10 * second},
		"off":     {limited, catalog.Task{}, 1 << 40, 100 * second},
		"on":      {catalog.Task{}, limited, 1100 * second, 900 * second},
		"windows": {limited, catalog.Task{Flow: catalog.Flow{MBPerSecond: 1, Windows: []catalog.Window{{From: 60, To: 61}}}}, 1 << 40, 100 * second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			l := newLimiter(c.before)
			timer := time.AfterFunc(time.Second, func() { l.set(c.after) })
			defer timer.Stop()
			if moved := workload(ctx, l, 4, 256<<10); moved < c.least || moved > c.most {
				t.Errorf("%s: %d bytes", name, moved)
			}
		})
	}
}

// TestLimiterEndsWithTheContext: nobody waits on after the end.
func TestLimiterEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l := newLimiter(catalog.Task{Flow: catalog.Flow{MBPerSecond: 1}})
	var g errgroup.Group
	for range 3 {
		g.Go(func() error { return l.Wait(ctx, 1<<40) })
	}
	cancel()
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
