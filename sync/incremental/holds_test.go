package incremental

import "testing"

func TestHolds(t *testing.T) {
	t.Parallel()
	numeric := func(precision, scale int32) int32 { return (precision<<16 | scale&0x7ff) + 4 }
	const citext = 16400 // of a user
	cases := []struct {
		from         uint32
		fromModifier int32
		to           uint32
		toModifier   int32
		want         bool
	}{
		{oidInt4, -1, oidInt4, -1, true},
		{oidInt4, -1, oidInt8, -1, true},
		{oidInt8, -1, oidFloat8, -1, false},
		{oidFloat8, -1, oidFloat4, -1, false},
		{oidNumeric, -1, oidFloat8, -1, false},
		{oidNumeric, -1, oidNumeric, -1, true},
		{oidNumeric, -1, oidNumeric, numeric(10, 2), false},
		{oidNumeric, numeric(10, 2), oidNumeric, -1, true},
		{oidNumeric, numeric(10, 2), oidNumeric, numeric(8, 2), true}, // what is too large is refused
		{oidNumeric, numeric(10, 2), oidNumeric, numeric(10, 0), false},
		{oidNumeric, numeric(10, 0), oidNumeric, numeric(10, -2), false},
		{oidNumeric, numeric(10, -2), oidNumeric, numeric(10, -1), true},
		{oidVarchar, 10 + 4, oidVarchar, 20 + 4, true},
		{oidVarchar, 20 + 4, oidVarchar, 10 + 4, false}, // blanks at the end are cut off
		{oidVarchar, -1, oidVarchar, 10 + 4, false},
		{oidText, -1, oidVarchar, 10 + 4, false},
		{oidText, -1, oidVarchar, -1, true},
		{oidVarchar, 10 + 4, oidBpchar, 10 + 4, false},
		{oidBpchar, 3 + 4, oidText, -1, true},
		{oidTime, -1, oidTime, 6, true},
		{oidTime, -1, oidTime, 3, false},
		{oidTime, 0, oidTime, 3, true},
		{oidTime, -1, oidDate, -1, false},
		{oidTimeTZ, -1, oidTime, -1, false},
		{oidJSON, -1, oidJSONB, -1, false},
		{oidJSONB, -1, oidText, -1, true},
		{oidText, -1, citext, -1, true},
		{citext, -1, oidInt4, -1, true}, // what is no number is refused
	}
	for _, c := range cases {
		if got := holds(c.from, c.to, c.fromModifier, c.toModifier); got != c.want {
			t.Errorf("%d(%d) to %d(%d): %t", c.from, c.fromModifier, c.to, c.toModifier, got)
		}
	}
}
