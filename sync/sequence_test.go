package sync

import (
	"math"
	"testing"

	"pgsyncd/sync/schema"
)

func TestSetvalKeepsWithinBounds(t *testing.T) {
	t.Parallel()
	name := schema.Name{Schema: "s", Name: `a"'b`}
	const call = `SELECT pg_catalog.setval('"s"."a""''b"'::pg_catalog.regclass, `
	for _, c := range []struct {
		title string
		seq   schema.Sequence
		want  string
	}{
		{"increasing", schema.Sequence{LastValue: 5, IsCalled: true, Increment: 1, Min: 1, Max: math.MaxInt64}, "10005, true)"},
		{"never called", schema.Sequence{LastValue: 1, Increment: 1, Min: 1, Max: math.MaxInt64}, "10001, false)"},
		{"near its maximum", schema.Sequence{LastValue: 32000, IsCalled: true, Increment: 1, Min: 1, Max: 32767}, "32767, true)"},
		{"at the end of bigint", schema.Sequence{LastValue: math.MaxInt64, IsCalled: true, Increment: 1, Min: 1, Max: math.MaxInt64}, "9223372036854775807, true)"},
		{"decreasing", schema.Sequence{LastValue: -5, IsCalled: true, Increment: -2, Min: math.MinInt64, Max: -1}, "-10005, true)"},
		{"near its minimum", schema.Sequence{LastValue: -999, IsCalled: true, Increment: -1, Min: -1000, Max: -1}, "-1000, true)"},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			c.seq.Name, c.seq.Target = schema.Name{Schema: "other", Name: "b"}, name
			if got := setvalSQL(c.seq, 10000, false); got != call+c.want {
				t.Errorf("got %s, want %s%s", got, call, c.want)
			}
		})
	}
}

// A sequence that other tasks or sequences move as well only goes on.
func TestSetvalOfSharedSequences(t *testing.T) {
	t.Parallel()
	up := schema.Sequence{Target: schema.Name{Schema: "s", Name: "q"}, LastValue: 5, IsCalled: true, Increment: 1, Min: 1, Max: math.MaxInt64}
	down := up
	down.LastValue, down.Increment, down.Min, down.Max = -5, -1, math.MinInt64, -1
	for want, seq := range map[string]schema.Sequence{"greatest(last_value, 10005)": up, "least(last_value, -10005)": down} {
		if got := setvalSQL(seq, 10000, true); got != `SELECT pg_catalog.setval('"s"."q"'::pg_catalog.regclass, `+want+`, is_called OR true) FROM "s"."q"` {
			t.Error(got)
		}
	}
	other := up
	other.Target.Name = "r"
	if shared := sharedSequences([]schema.Sequence{up, other, down, up}); !shared[up.Target] || shared[other.Target] {
		t.Error(shared)
	}
}
