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
			c.seq.Name = name
			if got := setvalSQL(c.seq, 10000); got != call+c.want {
				t.Errorf("got %s, want %s%s", got, call, c.want)
			}
		})
	}
}
