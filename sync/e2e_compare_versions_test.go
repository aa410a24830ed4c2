//go:build versions

package sync_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgsyncd/testenv"
	"pgsyncd/testenv/everything"
)

// What servers of other versions spell differently is the same, in a copy under the same names and under others.
func TestVersionsCompared(t *testing.T) {
	path := os.Getenv("PATH")
	for _, v := range []string{"17", "18"} {
		bin, err := testenv.ClientBin(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		path = bin + ":" + path
	}
	t.Setenv("PATH", path)
	const every, old, rich, mapped, newer = "", "old.sql", "rich.sql", "mapped.sql", "newer.sql"
	for _, test := range []struct{ from, to, sql, clauses string }{
		{"15", "18", every, "ACCOUNTS ALL"},
		{"15", "16", every, "ACCOUNTS ALL"},
		{"10", "15", old, "ACCOUNTS ALL"},
		{"13", "18", old, "ACCOUNTS ALL"},
		{"9.6", "17", old, ""},
		{"14", "18", rich, ""},
		{"16", "18", mapped, ""},
		{"18", "18", newer, ""},
		{"13", "18", old, "FOR ALL MAP (SCHEMA shop AS other, SCHEMA public AS main)"},
		{"14", "17", rich, "FOR ALL MAP (SCHEMA public AS main)"},
	} {
		t.Run(strings.TrimSpace(test.from+" to "+test.to+" "+test.sql+" "+test.clauses), func(t *testing.T) {
			src, dst := testenv.Start(t, testenv.Config{Version: test.from}), testenv.Start(t, testenv.Config{Version: test.to})
			ddl := ""
			if test.sql != every {
				text, err := os.ReadFile(filepath.Join("schema", "testdata", test.sql))
				if err != nil {
					t.Fatal(err)
				}
				ddl = string(text)
			}
			l := setupOn(t, nil, src, dst, ddl)
			l.daemon = testenv.StartDaemon(t, testenv.DaemonConfig{})
			if test.sql == every {
				if err := everything.CreateRoles(t.Context(), l.s); err != nil {
					t.Fatal(err)
				}
				if err := everything.Create(t.Context(), l.s); err != nil {
					t.Fatal(err)
				}
				l.source("ALTER TABLE tab.pointing DROP CONSTRAINT f_text") // 18 wants one collation on both sides
			}
			l.create(test.clauses + " MODE FULL START NOW CONFIRM ALL")
			l.reach("completed")
			l.objectsEqual()
			if strings.Contains(test.clauses, "ACCOUNTS") {
				l.accountsEqual()
			}
		})
	}
}
