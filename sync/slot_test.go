package sync

import (
	"testing"
	"time"

	"pgsyncd/catalog"

	"github.com/google/go-cmp/cmp"
)

// A forecast needs a while, follows what grows in the long run, and does not take the leaps of a slot that moves on for growth.
func TestTrend(t *testing.T) {
	t.Parallel()
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	const mb = 1 << 20
	for name, c := range map[string]struct {
		seconds   int
		bytes     func(second int) int64
		low, high float64 // in MB per second
	}{
		"too short":                  {50, func(s int) int64 { return int64(s) * mb }, 0, 0},
		"steady":                     {120, func(s int) int64 { return 7000*mb + int64(s)*mb }, 0.99, 1.01},
		"still":                      {600, func(int) int64 { return 5 * mb }, 0, 0},
		"shrinking":                  {600, func(s int) int64 { return int64(1000-s) * mb }, -1.01, -0.99},
		"leaps":                      {600, func(s int) int64 { return int64(s%16) * mb }, -0.02, 0.02},
		"leaps that do not catch up": {600, func(s int) int64 { return int64(s%16+s/2) * mb }, 0.48, 0.52},
		"only of late":               {900, func(s int) int64 { return int64(max(s-500, 0)) * mb }, 0.99, 1.01},
	} {
		var tr trend
		for s := 0; s <= c.seconds; s += 2 {
			tr.add(start.Add(time.Duration(s)*time.Second), c.bytes(s))
		}
		if got := tr.slope() / mb; got < c.low || got > c.high {
			t.Errorf("%s: %f", name, got)
		}
		if n := len(tr.points); n > int(trendWindow/trendStep)+2 {
			t.Errorf("%s: %d points", name, n)
		}
	}
}

func TestSlotForecast(t *testing.T) {
	t.Parallel()
	const unknown = -1
	number := func(n int64) *int64 {
		if n == unknown {
			return nil
		}
		return &n
	}
	for name, c := range map[string]struct {
		retained, safe, keep, most int64
		rate                       float64
		limit, eta                 int64
	}{
		"no limit":            {100, unknown, unknown, 0, 1, unknown, unknown},
		"no slot":             {unknown, unknown, 1000, 1000, 1, unknown, unknown},
		"the option":          {100, unknown, unknown, 1100, 10, 1100, 100},
		"the server's":        {100, 900, 1000, 0, 10, 1000, 90},
		"the option is less":  {100, 900, 1000, 500, 10, 500, 40},
		"the server's is":     {100, 900, 1000, 5000, 10, 1000, 90},
		"no growth":           {100, unknown, unknown, 1100, 0, 1100, unknown},
		"shrinking":           {100, unknown, unknown, 1100, -5, 1100, unknown},
		"far away":            {100, unknown, unknown, 1 << 40, 1, 1 << 40, unknown},
		"beyond":              {1200, unknown, unknown, 1100, 0, 1100, 0},
		"the server is at it": {1200, -5, 1000, 0, 0, 1000, 0},
	} {
		s := slotState{retained: number(c.retained), safe: number(c.safe), keep: number(c.keep)}
		limit, left := s.limits(c.most)
		if diff := cmp.Diff(number(c.limit), limit); diff != "" {
			t.Errorf("%s: limit %s", name, diff)
		}
		if diff := cmp.Diff(number(c.eta), forecast(left, c.rate)); diff != "" {
			t.Errorf("%s: eta %s", name, diff)
		}
	}
}

// What passes a limit is said once, until it has been well below.
func TestSlotAlarms(t *testing.T) {
	t.Parallel()
	minutes := func(n int64) *int64 { n *= 60; return &n }
	before := catalog.AlarmNone
	for i, step := range []struct {
		retained int64
		eta      *int64
		want     string
	}{
		{500, nil, catalog.AlarmNone},
		{600, minutes(90), catalog.AlarmNone},
		{700, minutes(60), catalog.AlarmSoon},
		{700, minutes(90), catalog.AlarmSoon},
		{700, minutes(121), catalog.AlarmNone},
		{1000, minutes(1), catalog.AlarmSoon},
		{1001, new(int64), catalog.AlarmExceeded},
		{999, minutes(1), catalog.AlarmExceeded},
		{1002, new(int64), catalog.AlarmExceeded},
		{751, nil, catalog.AlarmExceeded},
		{750, nil, catalog.AlarmNone},
		{900, nil, catalog.AlarmNone},
	} {
		got := nextAlarm(before, step.retained, 1000, step.eta)
		if got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
		before = got
	}
	if got := nextAlarm(catalog.AlarmExceeded, 5000, 0, nil); got != catalog.AlarmNone {
		t.Errorf("without a limit any more: %q", got)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 kB", 1536: "1.5 kB", 64 << 20: "64 MB", 1234567890: "1.15 GB", 1 << 40: "1 TB", 1 << 52: "4096 TB",
	} {
		if got := size(bytes); got != want {
			t.Errorf("%d: %s, want %s", bytes, got, want)
		}
	}
}
