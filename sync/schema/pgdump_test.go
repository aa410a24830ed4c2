package schema

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChoosePgDump(t *testing.T) {
	t.Parallel()
	const v96, v13, v14, v15, v16, v17, v18 = 90624, 130020, 140012, 150008, 160004, 170002, 180000
	for _, test := range []struct {
		name                string
		installed           []int
		source, destination int
		want                int
	}{
		{"the destination's", []int{v13, v15, v17}, v13, v15, v15},
		{"the next newer", []int{v18, v17, v14}, v14, v16, v17},
		{"the newest older", []int{v13, v14, v15}, v13, v17, v15},
		{"none older than the source", []int{v13, v14, v18}, v15, v16, v18},
		{"all too old", []int{v13, v14}, v15, v16, 0},
		{"nothing installed", nil, v15, v16, 0},
		{"the newest minor version", []int{150003, 150011, 150008}, v15, v15, 150011},
		{"a source newer by its minor version", []int{150003}, 150011, v16, 150003},
		{"three-part versions", []int{90524, v96}, 90601, 90602, v96},
		{"9.6 is older than 10", []int{v96}, 100001, 100001, 0},
	} {
		var installed []pgDump
		for _, v := range test.installed {
			installed = append(installed, pgDump{version: v})
		}
		got, ok := choosePgDump(installed, test.source, test.destination)
		if got.version != test.want || ok != (test.want != 0) {
			t.Errorf("%s: %d, %v, want %d", test.name, got.version, ok, test.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n": 150008, "pg_dump (PostgreSQL) 9.6.24": 90624,
		"pg_dump (PostgreSQL) 18beta1": 180000, "pg_dump (PostgreSQL) 19devel": 190000, "pg_dump (PostgreSQL) 9.4.1": 90401,
	} {
		if got, err := parseVersion(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "pg_dump 15", "(PostgreSQL) x", "(PostgreSQL) 99999999999999999999"} {
		if got, err := parseVersion(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
	for version, want := range map[int]string{150008: "15.8", 90624: "9.6.24", 100000: "10.0"} {
		if got := versionText(version); got != want {
			t.Errorf("%d: %s", version, got)
		}
	}
}

// A program put into PATH is found, asked for its version, and taken by the rule.
func TestFindPgDump(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pg_dump")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho 'pg_dump (PostgreSQL) 99.3'\n"), 0o700); err != nil { // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	got, version, err := FindPgDump(t.Context(), 990001, 990002)
	if err != nil || got != path || version != 990003 {
		t.Errorf("found %s %d, %v", got, version, err)
	}
	// An answer is remembered only of the same program.
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho 'pg_dump (PostgreSQL) 99.12'\n"), 0o700); err != nil { // a program
		t.Fatal(err)
	}
	if _, version, err = FindPgDump(t.Context(), 990001, 990002); err != nil || version != 990012 {
		t.Errorf("found %d in place of the program that was there, %v", version, err)
	}
	// The real one is next to it, behind Debian's wrapper or not.
	got, version, err = FindPgDump(t.Context(), 90600, 150000)
	if err != nil || got == path || strings.HasSuffix(got, "pg_wrapper") || version/10000 != 15 {
		t.Errorf("found %s %d, %v", got, version, err)
	}
	_, _, err = FindPgDump(t.Context(), 1000000, 1010000)
	var missing *PgDumpMissingError
	if !errors.As(err, &missing) || missing.Wanted != "101" || !strings.Contains(err.Error(), path+" (99.12)") ||
		!strings.Contains(err.Error(), "postgresql-client-101") {
		t.Errorf("error %v", err)
	}
}
