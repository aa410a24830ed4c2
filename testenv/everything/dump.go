package everything

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pgsyncd/testenv"
)

// Dump is what pg_dump says of a database's structure, entry by entry. The key is the comment that pg_dump writes above an entry,
// the value its statements.
type Dump map[string]string

// header is the comment above an entry: "-- Name: t; Type: TABLE; Schema: s; Owner: o".
var header = regexp.MustCompile(`(?m)^--\n-- (Name: .*)\n--\n`)

// ReadDump runs pg_dump --schema-only on a database.
func ReadDump(ctx context.Context, c *testenv.Cluster, database string, args ...string) (Dump, error) {
	bin, err := testenv.ClientBin(ctx, testenv.DefaultVersion)
	if err != nil {
		return nil, err
	}
	args = append([]string{"--schema-only", "-d", c.SocketString(database)}, args...)
	var problems strings.Builder
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pg_dump"), args...)
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("pg_dump %s: %w: %s", database, err, problems.String())
	}
	return parse(string(out)), nil
}

// parse cuts a dump into entries. Several may have one header: overloaded operators, for one.
func parse(text string) Dump {
	text, _, _ = strings.Cut(text, "\n--\n-- PostgreSQL database dump complete")
	d := Dump{}
	found := header.FindAllStringSubmatchIndex(text, -1)
	for i, at := range found {
		end := len(text)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		key := text[at[2]:at[3]]
		d[key] = strings.TrimSpace(d[key] + "\n" + settings.ReplaceAllString(text[at[1]:end], ""))
	}
	return d
}

// settings are statements between entries whose place depends on the order of the entries.
var settings = regexp.MustCompile(`(?m)^SET default_table(space|_access_method) = .*\n`)

// Change returns the dump with every header and statement changed.
func (d Dump) Change(change func(string) string) Dump {
	changed := Dump{}
	for key, text := range d {
		key = change(key)
		changed[key] = strings.TrimSpace(changed[key] + "\n" + change(text))
	}
	return changed
}

// Diff tells how b differs from a: entries that only one has, marked - and +, and of entries that both have the lines that
// only one has. It is empty where nothing differs.
func Diff(a, b Dump) string {
	var out strings.Builder
	for _, key := range sortedKeys(a, b) {
		textA, inA := a[key]
		textB, inB := b[key]
		switch {
		case !inB:
			fmt.Fprintf(&out, "- %s\n", key)
		case !inA:
			fmt.Fprintf(&out, "+ %s\n", key)
		case textA != textB:
			fmt.Fprintf(&out, "~ %s\n", key)
			for _, line := range missing(textA, textB) {
				fmt.Fprintf(&out, "    - %s\n", line)
			}
			for _, line := range missing(textB, textA) {
				fmt.Fprintf(&out, "    + %s\n", line)
			}
		}
	}
	return out.String()
}

func sortedKeys(dumps ...Dump) []string {
	var keys []string
	for _, d := range dumps {
		for key := range d {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// missing are the lines of a that b lacks. Where all are there the two differ in order, and it is all of them.
func missing(a, b string) []string {
	left := strings.Split(b, "\n")
	var lines []string
	for line := range strings.Lines(a) {
		line = strings.TrimSuffix(line, "\n")
		if i := slices.Index(left, line); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 && len(left) == 0 {
		return strings.Split(a, "\n")
	}
	return lines
}
