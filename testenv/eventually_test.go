package testenv

import (
	"fmt"
	"strings"
	"testing"
)

// What is told of a wait in vain names the session that is waited for.
func TestSituationNamesTheBlocker(t *testing.T) {
	t.Parallel()
	c := Shared(t)
	db := c.Database(t)
	c.Exec(t, db, "CREATE TABLE t (a int)")
	holder, waiter := c.Connect(t, db), c.Connect(t, db)
	if err := simple(t.Context(), holder, "BEGIN; LOCK TABLE t"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- simple(t.Context(), waiter, "SELECT 'the one'\nFROM t") }()
	var told string
	Eventually(t, "the session waits", func() bool {
		told = situation(t.Context())
		return strings.Contains(told, "| active | Lock relation |")
	})
	for _, part := range []string{
		fmt.Sprintf("PostgreSQL 15 on port %d:", c.Port()),
		fmt.Sprintf("%d | %s | - | idle in transaction |", holder.PgConn().PID(), db),
		"| SELECT 'the one' FROM t\n",
		fmt.Sprintf("%d waits for AccessShareLock of relation, held up by {%d} | relation", waiter.PgConn().PID(), holder.PgConn().PID()),
		"TestSituationNamesTheBlocker.func1",
	} {
		if !strings.Contains(told, part) {
			t.Errorf("%q is missing in:\n%s", part, told)
		}
	}
	if err := simple(t.Context(), holder, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if err := Await(t, "the waiter goes on", done); err != nil {
		t.Error(err)
	}
}
