package server

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPsql(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, test := range []struct {
		name, command, want string
		code                int
	}{
		{"plain", "SELECT 1 AS one", " one \n-----\n   1\n(1 row)\n\n", 0},
		{"control", "START SYNC TASK a", "START SYNC TASK\n", 0},
		{"notices", "START SYNC TASK noisy", "NOTICE:  00000: notice 0\nDETAIL:  a detail\nHINT:  a hint\n" +
			"NOTICE:  00000: notice 1\nDETAIL:  a detail\nHINT:  a hint\nNOTICE:  00000: notice 2\nDETAIL:  a detail\nHINT:  a hint\nSTART SYNC TASK\n", 0},
		{"error", "START SYNC TASK missing", "ERROR:  42704: task does not exist\nDETAIL:  There is none.\nHINT:  Create it.\n", 1},
		{
			"mixed", "SELECT 1 AS one; START SYNC TASK a; SELECT 2 AS two",
			" one \n-----\n   1\n(1 row)\n\nSTART SYNC TASK\n two \n-----\n   2\n(1 row)\n\n", 0,
		},
		{
			"error stops the rest", "SELECT 1 AS one; START SYNC TASK missing; SELECT 2 AS two",
			" one \n-----\n   1\n(1 row)\n\nERROR:  42704: task does not exist\nDETAIL:  There is none.\nHINT:  Create it.\n", 1,
		},
		{"position in plain", "START SYNC TASK \"ü\";\n\n  SELECT nothing", "START SYNC TASK\nERROR:  42703: column \"nothing\" does not exist\n" +
			"LINE 3:   SELECT nothing\n                 ^\n", 1},
		{"nothing runs when a part is refused", "SELECT 1 AS one; CREATE TABLE x()", "ERROR:  0A000: CREATE TABLE is not supported by this server\n" +
			"LINE 1: SELECT 1 AS one; CREATE TABLE x()\n                         ^\n" +
			"HINT:  This server keeps synchronization tasks, comparisons and users. SHOW SYNC HELP lists the control statements.\n", 1},
		{"block", "BEGIN; START SYNC TASK a; COMMIT", "BEGIN\nERROR:  25001: START SYNC TASK cannot run inside a transaction block\n", 1},
		{"rows", "SHOW SYNC TASKS", " number |  task  \n--------+--------\n      1 | task 1\n      2 | task 2\n      3 | task 3\n      4 | task 4\n      5 | task 5\n(5 rows)\n\n", 0},
		{"work before rows", "PRECHECK SYNC TASK a", "  item  | result \n--------+--------\n item 0 | passed\n(1 row)\n\n", 0},
		{"comment only", "/* nothing */ -- at all", "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, code := h.psql(t, h.local(), "-c", test.command)
			if diff := cmp.Diff(test.want, got); diff != "" || code != test.code {
				t.Errorf("psql exited with %d and printed (-want +got):\n%s", code, diff)
			}
		})
	}
}

func TestPsqlSession(t *testing.T) {
	t.Parallel()
	h := setup(t)
	got, _ := h.psql(t, h.local(), "-c", "BEGIN", "-c", "START SYNC TASK a", "-c", "START SYNC TASK a", "-c", "SELECT 1", "-c", "ROLLBACK",
		"-c", "START SYNC TASK b", "-c", `\d numbers`)
	for _, want := range []string{"25001", "25P02", "ROLLBACK\nSTART SYNC TASK\n", "filler | text"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if diff := cmp.Diff([]string{"START SYNC TASK b"}, h.control.statements()); diff != "" {
		t.Errorf("statements that ran (-want +got):\n%s", diff)
	}
}
