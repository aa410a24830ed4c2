package sqlapi

import (
	"strings"
	"testing"
	"time"
)

func TestParseTimestamp(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2030, 3, 30, 23, 30, 0, 0, time.UTC) // already the 31st in Berlin, the day the clocks go forward
	for text, want := range map[string]string{
		"2030-01-31 23:00":                  "2030-01-31T22:00:00Z",
		"2030-01-31":                        "2030-01-30T23:00:00Z",
		"2030-07-01 12:00:30.25":            "2030-07-01T10:00:30.25Z",
		"2030-01-31T23:00Z":                 "2030-01-31T23:00:00Z",
		"2030-01-31 23:00+02":               "2030-01-31T21:00:00Z",
		"2030-01-31 23:00 -0530":            "2030-02-01T04:30:00Z",
		"2030-01-31 23:00+05:45":            "2030-01-31T17:15:00Z",
		"2030-01-31 23:00 America/New_York": "2030-02-01T04:00:00Z",
		" now ":                             "2030-03-30T23:30:00Z",
		"Today 12:00":                       "2030-03-31T10:00:00Z",
		"tomorrow":                          "2030-03-31T22:00:00Z",
		"tomorrow 03:00 UTC":                "2030-03-31T03:00:00Z",
	} {
		got, err := ParseTimestamp(text, berlin, now)
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q: got %v, %v; want %s", text, got.UTC(), err, want)
		}
	}
	for _, text := range []string{"", "soon", "2030-02-30", "2030-01-31 25:00", "2030-01-31 23:00+99", "2030-01-31 23:00 Mars", "2030-01-31 23:00 Local", "31.1.2030", "2030-01-31 23"} {
		if got, err := ParseTimestamp(text, berlin, now); err == nil || AsError(err).Code != CodeInvalidValue {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestParseSchedule(t *testing.T) {
	t.Parallel()
	from := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ expression, zone, want string }{
		{"0 3 * * *", "", "2030-01-02T03:00:00Z"},
		{"0 3 * * *", "Asia/Tokyo", "2030-01-01T18:00:00Z"},
		{"0 0 29 2 *", "UTC", "2032-02-29T00:00:00Z"},
		{"@every 90m", "UTC", "2030-01-01T13:30:00Z"},
		{"@weekly", "", "2030-01-06T00:00:00Z"},
	} {
		s, err := ParseSchedule(c.expression, c.zone)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		if got := s.Next(from).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s %s: next %s, want %s", c.expression, c.zone, got, c.want)
		}
	}
}

func TestPrivilegesIncludeLesserOnes(t *testing.T) {
	t.Parallel()
	order := []Privilege{Monitor, Operator, Admin}
	for i, has := range order {
		for j, needs := range order {
			if has.Allows(needs) != (i >= j) {
				t.Errorf("%s allows %s: %t", has, needs, has.Allows(needs))
			}
		}
		if has.Allows("") != true || Privilege("").Allows(has) || Privilege("root").Allows(has) {
			t.Errorf("unknown privileges and %s", has)
		}
	}
}

// TestSynopsesBeginWithTheirTag keeps help, hints and command tags in step.
func TestSynopsesBeginWithTheirTag(t *testing.T) {
	t.Parallel()
	for _, f := range forms {
		if !strings.HasPrefix(f.Synopsis, f.Tag) || !strings.HasPrefix(f.short(), strings.Fields(f.Tag)[0]) && f != formExplainCreate {
			t.Errorf("%s: %s", f.Tag, f.Synopsis)
		}
		if !strings.HasSuffix(f.Description, ".") || f.Privilege == "" {
			t.Errorf("%s: %q, privilege %q", f.Tag, f.Description, f.Privilege)
		}
		if got := Help(f.Tag); len(got) == 0 {
			t.Errorf("no help for %s", f.Tag)
		}
	}
	if got := Help("start"); len(got) != 1 || got[0] != formStart {
		t.Errorf("help for start: %v", got)
	}
	if got := Help(""); len(got) != len(forms) {
		t.Errorf("help for everything: %d of %d", len(got), len(forms))
	}
}
