package sqlapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/robfig/cron/v3"
)

// Limits of what a user names and describes.
const (
	minTaskName, maxTaskName = 4, 50
	maxComment               = 256
	maxTags                  = 20
	maxTagKey, maxTagValue   = 128, 255
	maxIdentifier            = 63 // bytes; PostgreSQL would truncate
	maxExpression            = 512
	maxFlow                  = 9999
	maxWindows               = 3
	minutesPerDay            = 24 * 60
)

var taskNamePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// checkTaskName says what is wrong with the name of a new task.
func checkTaskName(name string) *Error {
	if n := len(name); n < minTaskName || n > maxTaskName || !taskNamePattern.MatchString(name) {
		return invalid("invalid task name %q", name).
			WithDetail("A task's name starts with a letter and has %d to %d characters: letters A to Z, digits, \"-\" and \"_\".", minTaskName, maxTaskName).
			WithHint("Names with \"-\" or capitals are written in double quotes.")
	}
	return nil
}

// checkComment says what is wrong with the description of a task.
func checkComment(text string) *Error {
	if n := utf8.RuneCountInString(text); n > maxComment {
		return invalid("comment is too long").WithDetail("It has %d characters; %d are possible.", n, maxComment)
	}
	if i := strings.IndexAny(text, "!=<>'&\"\\"); i >= 0 {
		return invalid("comment contains the character %c", text[i]).WithDetail("A comment takes none of ! = < > ' & \" \\.")
	}
	return nil
}

// checkTag says what is wrong with a tag.
func checkTag(t Tag) *Error {
	switch n := utf8.RuneCountInString(t.Key); {
	case n < 1 || n > maxTagKey:
		return invalid("tag key must have 1 to %d characters", maxTagKey)
	case strings.HasPrefix(t.Key, "_sys_"):
		return invalid("tag key %q starts with \"_sys_\"", t.Key).WithDetail("Such keys are reserved.")
	case !taggable(t.Key):
		return invalid("invalid tag key %q", t.Key).WithDetail(tagRule)
	case utf8.RuneCountInString(t.Value) > maxTagValue:
		return invalid("value of tag %q is longer than %d characters", t.Key, maxTagValue)
	case !taggable(t.Value):
		return invalid("invalid value of tag %q", t.Key).WithDetail(tagRule)
	}
	return nil
}

const tagRule = "Keys and values are made of letters, digits, spaces and _ . : = + - @, without a space at either end."

func taggable(s string) bool {
	bad := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" _.:=+-@", r)
	}
	return strings.TrimSpace(s) == s && !strings.ContainsFunc(s, bad)
}

// checkRole says what is wrong with a role beside those given before it.
func checkRole(role string, before []string) *Error {
	switch {
	case slices.Contains(before, role):
		return Errorf(CodeDuplicate, "role %q is given twice", role).WithHint("Name each role once.")
	case strings.HasPrefix(role, "pg_"):
		return invalid("role %q is one of PostgreSQL's own", role).WithDetail("Every server has such roles; they are not synchronized.").
			WithHint("Leave it out.")
	}
	return nil
}

// checkPattern says what is wrong with a psql pattern.
func checkPattern(pattern string) *Error {
	if _, err := schema.ParsePattern(pattern); err != nil {
		return invalid("%s", err).WithDetail("A pattern is one of psql's \\dt: * stands for any characters, ? for one, and a dot parts schema and table.").
			WithHint("The pattern * takes every table of schema public, *.* every table.")
	}
	return nil
}

var lsnPattern = regexp.MustCompile(`^([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})$`)

// parseLSN reads X/Y as pg_lsn does.
func parseLSN(text string) (pglogrepl.LSN, *Error) {
	m := lsnPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, invalid("invalid position %q", text).WithDetail("A position is written as pg_lsn, such as 16/B374D848.")
	}
	high, _ := strconv.ParseUint(m[1], 16, 32)
	low, _ := strconv.ParseUint(m[2], 16, 32)
	return pglogrepl.LSN(high<<32 | low), nil
}

var clockPattern = regexp.MustCompile(`^([0-9]{1,2}):([0-9]{2})$`)

// parseClock reads hh:mm as minutes after midnight; 24:00 is the end of the day.
func parseClock(text string) (int, *Error) {
	if m := clockPattern.FindStringSubmatch(text); m != nil {
		hours, _ := strconv.Atoi(m[1])
		minutes, _ := strconv.Atoi(m[2])
		if at := hours*60 + minutes; minutes < 60 && at <= minutesPerDay {
			return at, nil
		}
	}
	return 0, invalid("invalid time of day %q", text).WithDetail("Times of day are written hh:mm, from 00:00 to 24:00.")
}

// formatClock is the inverse of parseClock.
func formatClock(at int) string { return fmt.Sprintf("%02d:%02d", at/60, at%60) }

// checkWindows says what is wrong with the ranges of a flow limit.
func checkWindows(windows []Window) *Error {
	if len(windows) > maxWindows {
		return invalid("more than %d time ranges", maxWindows)
	}
	var busy [minutesPerDay]bool
	for _, w := range windows {
		if w.From%minutesPerDay == w.To%minutesPerDay && w.To-w.From != minutesPerDay {
			return invalid("the time range from %s to %s is empty", formatClock(w.From), formatClock(w.To))
		}
		for at := w.From % minutesPerDay; ; {
			if busy[at] {
				return invalid("time ranges overlap at %s", formatClock(at))
			}
			busy[at] = true
			if at = (at + 1) % minutesPerDay; at == w.To%minutesPerDay {
				break
			}
		}
	}
	return nil
}

var (
	timestampPattern = regexp.MustCompile(`^(\d{4,5}-\d{2}-\d{2}|(?i:today|tomorrow))(?:[ T]+(\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?))?(?: *(Z|z|[+-]\d{1,2}(?::?\d{2})?)| +([A-Za-z][A-Za-z0-9_/+-]*))?$`)
	offsetPattern    = regexp.MustCompile(`^([+-])(\d{1,2}):?(\d{2})?$`)
)

// ParseTimestamp reads a point in time: a date or today or tomorrow, a time of day (midnight when it is missing), and an offset
// or the name of a time zone (zone when it is missing). now gives the day and, for the text 'now', the time. Errors are
// of type [*Error].
func ParseTimestamp(text string, zone *time.Location, now time.Time) (time.Time, error) {
	bad := invalid("invalid point in time %q", text).
		WithDetail("It is written as 2030-01-31 23:00, with an offset such as +02 or a time zone such as Europe/Berlin if not in the task's own.")
	if strings.EqualFold(strings.TrimSpace(text), "now") {
		return now, nil
	}
	m := timestampPattern.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return time.Time{}, bad
	}
	day, clock, offset, name := strings.ToLower(m[1]), m[2], m[3], m[4]
	switch {
	case name != "":
		if catalog.CheckTimeZone(name) != nil {
			return time.Time{}, invalid("time zone %q not recognized", name)
		}
		zone, _ = time.LoadLocation(name)
	case strings.EqualFold(offset, "Z"):
		zone = time.UTC
	case offset != "":
		o := offsetPattern.FindStringSubmatch(offset)
		hours, _ := strconv.Atoi(o[2])
		minutes, _ := strconv.Atoi("0" + o[3])
		if hours > 15 || minutes > 59 {
			return time.Time{}, bad
		}
		seconds := (hours*60 + minutes) * 60
		if o[1] == "-" {
			seconds = -seconds
		}
		zone = time.FixedZone("", seconds)
	}
	switch day {
	case "today":
		day = now.In(zone).Format(time.DateOnly)
	case "tomorrow":
		day = now.In(zone).AddDate(0, 0, 1).Format(time.DateOnly)
	}
	for _, layout := range []string{"2006-01-02 ", "2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if at, err := time.ParseInLocation(layout, day+" "+clock, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, bad
}

// ParseSchedule reads a cron expression of five fields, or a descriptor such as @daily or @every 6h, in a time zone ("" for UTC).
// Errors are of type [*Error].
func ParseSchedule(expression, zone string) (cron.Schedule, error) {
	bad := func(err error) error {
		return invalid("invalid cron expression %q", expression).
			WithDetail("%s.", sentence(err.Error())).
			WithHint("The fields are minute, hour, day of month, month and day of week, such as '0 3 * * 1-5'; or @hourly, @daily, @weekly, @monthly, @every 6h.")
	}
	expression = strings.TrimSpace(expression)
	if strings.Contains(expression, "TZ=") {
		return nil, bad(errors.New("the time zone is given with TIME ZONE"))
	}
	if every, ok := strings.CutPrefix(expression, "@every "); ok {
		if d, err := time.ParseDuration(every); err != nil || d < time.Minute {
			return nil, bad(errors.New("the interval must be a minute or more"))
		}
	}
	spec := expression
	if zone != "" {
		if catalog.CheckTimeZone(zone) != nil {
			return nil, invalid("time zone %q not recognized", zone)
		}
		spec = "CRON_TZ=" + zone + " " + spec
	}
	schedule, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, bad(err)
	}
	if schedule.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, bad(errors.New("there is no such day"))
	}
	return schedule, nil
}

// sentence turns an error's text into the start of a sentence.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// optionError is the 22023 of a catalog option error. It does not show the value, which may be a certificate.
func optionError(err error) *Error {
	o, ok := errors.AsType[*catalog.OptionError](err)
	if !ok {
		return AsError(err)
	}
	e := invalid("%s", o.Error())
	if o.Nearest != "" {
		e.WithHint("Perhaps you meant the option %q.", o.Nearest)
	}
	return e
}

// checkState says whether text is the name of a task state.
func checkState(text string) *Error {
	if slices.Contains(catalog.States, catalog.State(text)) {
		return nil
	}
	names := make([]string, len(catalog.States))
	for i, s := range catalog.States {
		names[i] = string(s)
	}
	e := invalid("task state %q does not exist", text).WithDetail("The states are: %s.", strings.Join(names, ", "))
	if near := catalog.Nearest(text, names); near != "" {
		e.WithHint("Perhaps you meant '%s'.", near)
	}
	return e
}
