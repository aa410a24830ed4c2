package catalog

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types of option fields. The type of a field decides how its text is read and written.
type (
	// Size is a number of bytes; 0 stands for no limit.
	Size int64
	// Count is a number of workers; 0 stands for a choice by the number of cores.
	Count int
	// Zone is the name of a time zone; empty stands for the daemon's.
	Zone string
	// Certificates are PEM texts.
	Certificates string
)

// Location is the zone itself. A name that was accepted once and is unknown now, after the tz database changed, counts as UTC.
func (z Zone) Location() *time.Location {
	if z == "" {
		return time.Local
	}
	location, err := time.LoadLocation(string(z))
	if err != nil {
		return time.UTC
	}
	return location
}

// zoneFile is where the operating system keeps its time zone: a link into the tz database.
const zoneFile = "/etc/localtime"

// Name is the zone's name in the tz database, which means the same to every daemon and after every change of the operating system's
// zone; empty when the daemon's own zone has none that can be found out.
func (z Zone) Name() string {
	if z != "" {
		return z.Location().String()
	}
	name := time.Local.String() // a name if the daemon was started with one in its environment
	if CheckTimeZone(name) == nil {
		return name
	}
	file, err := os.Readlink(zoneFile)
	if err != nil {
		return ""
	}
	if _, name, _ = strings.Cut(file, "/zoneinfo/"); CheckTimeZone(name) != nil {
		return ""
	}
	return name
}

// byCores is the default of a Count for which the value is chosen later.
const byCores = "by cores"

var errBoolean = errors.New("must be true or false")

// setValue reads text into a field of an options struct and returns the normalized text.
func setValue(field any, text string, o *Option) (string, error) {
	text = strings.TrimSpace(text)
	if text == "none" && o.Default == "none" {
		return text, nil // the zero value
	}
	switch f := field.(type) {
	case *bool:
		v, err := parseBool(text)
		*f = v
		return strconv.FormatBool(v), err
	case *string:
		*f = strings.ToLower(text)
		if !slices.Contains(o.Values, *f) {
			return "", fmt.Errorf("must be one of %s", strings.Join(o.Values, ", "))
		}
		return *f, nil
	case *int64:
		v, err := parseInteger(text, o.Min, o.Max)
		*f = v
		return strconv.FormatInt(v, 10), err
	case *Count:
		if text == byCores && o.Default == byCores {
			return text, nil
		}
		v, err := parseInteger(text, 1, 256)
		*f = Count(v)
		return strconv.FormatInt(v, 10), err
	case *Size:
		v, normal, err := parseSize(text)
		*f = v
		return normal, err
	case *time.Duration:
		v, normal, err := parseDuration(text)
		if err == nil && (v < time.Duration(o.Min)*time.Second || o.Max > 0 && v > time.Duration(o.Max)*time.Second) {
			err = fmt.Errorf("must be between %s and %s", FormatDuration(time.Duration(o.Min)*time.Second), FormatDuration(time.Duration(o.Max)*time.Second))
		}
		*f = v
		return normal, err
	case *Zone:
		*f = Zone(text)
		return text, CheckTimeZone(text)
	case *Certificates:
		v, err := parseCertificates(text)
		*f = v
		return string(v), err
	}
	panic(fmt.Sprintf("option %s has a field of type %T", o.Name, field))
}

// parseBool takes what PostgreSQL takes for a boolean parameter.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "1", "t", "y":
		return true, nil
	case "false", "off", "no", "0", "f", "n":
		return false, nil
	}
	return false, errBoolean
}

func parseInteger(text string, lowest, highest int64) (int64, error) {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < lowest || v > highest {
		return 0, fmt.Errorf("must be an integer between %d and %d", lowest, highest)
	}
	return v, nil
}

var (
	sizePattern     = regexp.MustCompile(`^([0-9]+) *([a-zA-Z]*)$`)
	durationPattern = regexp.MustCompile(`^([0-9]+) *([a-zA-Z]*)`)
	clockPattern    = regexp.MustCompile(`^([0-9]{1,9}):([0-5][0-9])(?::([0-5][0-9]))?$`)
)

// sizeUnits are PostgreSQL's units of memory, whose kB is 1024 bytes.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"B", 1}, {"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", 1 << 40}}

// parseSize reads a size with its unit and returns it with its normalized text; a bare number counts bytes.
func parseSize(text string) (Size, string, error) {
	err := errors.New("must be a size such as 256 MB; the units are B, kB, MB, GB and TB")
	m := sizePattern.FindStringSubmatch(text)
	if m == nil {
		return 0, "", err
	}
	n, parseErr := strconv.ParseInt(m[1], 10, 64)
	for _, u := range sizeUnits {
		if strings.EqualFold(m[2], u.name) || m[2] == "" && u.bytes == 1 {
			if parseErr != nil || n > math.MaxInt64/u.bytes {
				return 0, "", errors.New("is out of range")
			}
			return Size(n * u.bytes), fmt.Sprintf("%d %s", n, u.name), nil
		}
	}
	return 0, "", err
}

// durationUnits are spelled as an interval's, the first spelling being the normal one. Months and years have no fixed length.
var durationUnits = []struct {
	spellings []string
	length    time.Duration
}{
	{[]string{"ms", "msec", "msecs", "millisecond", "milliseconds"}, time.Millisecond},
	{[]string{"s", "sec", "secs", "second", "seconds"}, time.Second},
	{[]string{"min", "m", "mins", "minute", "minutes"}, time.Minute},
	{[]string{"h", "hr", "hrs", "hour", "hours"}, time.Hour},
	{[]string{"days", "day", "d"}, 24 * time.Hour},
	{[]string{"weeks", "week", "w"}, 7 * 24 * time.Hour},
}

var errDuration = errors.New("must be an interval such as 10s, 5 min, 1 day 12 hours or 01:30:00")

// ParseDuration reads an interval of fixed length: numbers with units (ms, s, min, h, days, weeks and their longer names) or
// hh:mm[:ss]; a bare number counts seconds.
func ParseDuration(text string) (time.Duration, error) {
	d, _, err := parseDuration(strings.TrimSpace(text))
	return d, err
}

// parseDuration returns the interval and its normalized text: in the unit it was given in when that is one, else in the largest
// that fits.
func parseDuration(text string) (time.Duration, string, error) {
	var total time.Duration
	var last string
	terms := 0
	for rest := text; rest != ""; rest = strings.TrimLeft(rest, " ") {
		if m := clockPattern.FindStringSubmatch(rest); m != nil {
			hours, _ := strconv.ParseInt(m[1], 10, 64)
			minutes, _ := strconv.ParseInt(m[2], 10, 64)
			seconds, _ := strconv.ParseInt("0"+m[3], 10, 64)
			if !addTerm(&total, hours, time.Hour) || !addTerm(&total, minutes*60+seconds, time.Second) {
				return 0, "", errors.New("is out of range")
			}
			terms += 2
			break
		}
		m := durationPattern.FindStringSubmatch(rest)
		if m == nil {
			return 0, "", errDuration
		}
		length, unit := durationUnit(m[2])
		n, err := strconv.ParseInt(m[1], 10, 64)
		switch {
		case length == 0, m[2] == "" && len(m[0]) < len(text):
			return 0, "", errDuration
		case err != nil, !addTerm(&total, n, length):
			return 0, "", errors.New("is out of range")
		}
		last = formatTerm(n, unit)
		terms++
		rest = rest[len(m[0]):]
	}
	switch terms {
	case 0:
		return 0, "", errDuration
	case 1:
		return total, last, nil
	}
	return total, FormatDuration(total), nil
}

// addTerm adds n units to total, unless that overflows.
func addTerm(total *time.Duration, n int64, unit time.Duration) bool {
	if n > int64((math.MaxInt64-*total)/unit) {
		return false
	}
	*total += time.Duration(n) * unit
	return true
}

// durationUnit returns the length and the normal spelling of a unit, seconds for none; 0 for an unknown one.
func durationUnit(name string) (time.Duration, string) {
	if name == "" {
		return time.Second, "s"
	}
	for _, u := range durationUnits {
		if slices.Contains(u.spellings, strings.ToLower(name)) {
			return u.length, u.spellings[0]
		}
	}
	return 0, ""
}

func formatTerm(n int64, unit string) string {
	if len(unit) < 4 {
		return fmt.Sprintf("%d%s", n, unit)
	}
	if n == 1 {
		unit = strings.TrimSuffix(unit, "s")
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// FormatDuration writes d, a whole number of milliseconds, in the largest unit up to days that needs no fraction. ParseDuration
// reads it back.
func FormatDuration(d time.Duration) string {
	for i := len(durationUnits) - 2; i >= 0; i-- {
		if u := durationUnits[i]; d%u.length == 0 && (d > 0 || u.length == time.Second) {
			return formatTerm(int64(d/u.length), u.spellings[0])
		}
	}
	return formatTerm(d.Milliseconds(), "ms")
}

// CheckTimeZone accepts the names of the IANA database.
func CheckTimeZone(name string) error {
	if _, err := time.LoadLocation(name); err != nil || name == "" || name == "Local" {
		return errors.New("must be a time zone such as UTC or Europe/Berlin")
	}
	return nil
}

// maxCertificates is the largest CA file accepted.
const maxCertificates = 500 << 10

func parseCertificates(text string) (Certificates, error) {
	if len(text) > maxCertificates {
		return "", errors.New("must not be larger than 500 kB")
	}
	found := 0
	for rest := []byte(text); ; found++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", fmt.Errorf("must hold certificates only, not a %s", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "", fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
	}
	if found == 0 {
		return "", errors.New("must hold a certificate in PEM form")
	}
	return Certificates(text), nil
}

// Nearest returns the candidate that differs least from name, else the first that begins with it, or "" when none is similar.
func Nearest(name string, candidates []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := editDistance(name, c); d < distance {
			best, distance = c, d
		}
	}
	if i := slices.IndexFunc(candidates, func(c string) bool { return strings.HasPrefix(c, name) }); best == "" && i >= 0 && len(name) > 2 {
		best = candidates[i]
	}
	return best
}

// editDistance is Levenshtein's, with a swap of neighbours counting once.
func editDistance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
