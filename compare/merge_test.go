package compare

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgsyncd/catalog"

	"pgregory.net/rapid"
)

// TestMerge compares merge with counting, over few keys and images so that all of them repeat.
func TestMerge(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keyed := rapid.Bool().Draw(t, "keyed")
		side := func(name string) []entry {
			list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) entry {
				e := entry{key: rapid.Int64Range(-2, 2).Draw(t, "key"), image: rapid.Int64Range(-2, 2).Draw(t, "image")}
				if !keyed {
					e.key = e.image
				}
				return e
			}), 0, 30).Draw(t, name)
			slices.SortFunc(list, func(x, y entry) int { return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.image, y.image)) })
			return list
		}
		source, destination := side("source"), side("destination")
		f := &findings{keyed: keyed, limit: rapid.IntRange(0, 5).Draw(t, "limit")}
		batches := func(list []entry) *stream {
			all := make(chan []entry, len(list)+1)
			for some := range slices.Chunk(list, 3) {
				all <- some
			}
			all <- nil
			close(all)
			return &stream{batches: all}
		}
		f.merge(batches(source), batches(destination))
		left := map[entry]int{}
		for _, e := range source {
			left[e]++
		}
		for _, e := range destination {
			left[e]--
		}
		surplus := map[int64][2]int64{} // of a key, rows that only the source has and only the destination
		for e, n := range left {
			s := surplus[e.key]
			s[0], s[1] = s[0]+int64(max(n, 0)), s[1]+int64(max(-n, 0))
			surplus[e.key] = s
		}
		var missing, extra, different int64
		for _, s := range surplus {
			pairs := min(s[0], s[1])
			missing, extra, different = missing+s[0]-pairs, extra+s[1]-pairs, different+pairs
		}
		if f.missing != missing || f.extra != extra || f.different != different {
			t.Fatalf("%d missing, %d extra, %d different; want %d, %d, %d", f.missing, f.extra, f.different, missing, extra, different)
		}
		if int64(len(f.list)) != min(missing+extra+different, int64(f.limit)) {
			t.Fatalf("%d rows are listed of %d", len(f.list), missing+extra+different)
		}
		for _, x := range f.list {
			inSource, inDestination := slices.Contains(source, x.source), slices.Contains(destination, x.destination)
			if x.kind != catalog.RowExtra && !inSource || x.kind != catalog.RowMissing && !inDestination ||
				x.kind == catalog.RowDifferent && (x.source.key != x.destination.key || x.source.image == x.destination.image) {
				t.Fatalf("%+v", x)
			}
		}
	})
}

// TestMeter reads in portions that take some time each, and is as fast as allowed.
func TestMeter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate    float64
		portion int64
		read    time.Duration // how long a portion takes
	}{
		{1000, 50, time.Millisecond}, {1000, 50, 49 * time.Millisecond}, {7, 1, 0}, {1e6, 10_000, 3 * time.Millisecond}, {100, 5, 200 * time.Millisecond},
	} {
		m := meter{rate: c.rate}
		begun := time.Unix(1e9, 0)
		now, rows := begun, int64(0)
		for now.Sub(begun) < time.Minute {
			now = now.Add(c.read)
			rows += c.portion
			now = now.Add(max(0, m.count(now, c.portion)))
		}
		possible := c.rate
		if c.read > 0 {
			possible = min(possible, float64(c.portion)/c.read.Seconds())
		}
		if got := float64(rows) / now.Sub(begun).Seconds(); got < possible*0.98 || got > possible*1.02 {
			t.Errorf("%+v: %.1f a second", c, got)
		}
	}
	// What was not read in a while is not made up for.
	m := meter{rate: 100}
	now := time.Unix(1e9, 0)
	m.count(now, 1)
	if wait := m.count(now.Add(time.Hour), 1000); wait < 9*time.Second {
		t.Errorf("a thousand rows after %v", wait)
	}
}

// TestPickUnequal takes as many buckets as there is room for, but one at least.
func TestPickUnequal(t *testing.T) {
	t.Parallel()
	a := []figure{{1, 1}, {5, 2}, {5, 3}, {0, 0}, {4, 9}, {1, 1}, {1, 1}, {1, 1}}
	b := []figure{{1, 1}, {5, 3}, {6, 3}, {0, 0}, {5, 9}, {1, 1}, {1, 1}, {1, 1}}
	for room, want := range map[int64]struct {
		set     bitmap
		partial bool
	}{
		1000: {bitmap{0b10110}, false}, 30: {bitmap{0b10110}, false}, 29: {bitmap{0b00110}, true}, 12: {bitmap{0b00010}, true}, 1: {bitmap{0b00010}, true},
	} {
		if set, partial := pickUnequal(a, b, room); !slices.Equal(set, want.set) || partial != want.partial {
			t.Errorf("room for %d rows: %b, %v", room, set, partial)
		}
	}
	if set, partial := pickUnequal(a, a, 0); set.len() != 0 || partial {
		t.Errorf("equal: %b, %v", set, partial)
	}
}
