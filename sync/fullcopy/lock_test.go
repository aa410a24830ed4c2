package fullcopy_test

import (
	"testing"

	"pgsyncd/testenv"
)

// Somebody who has locked a table and waits for its sequence is waited for by pg_dump; so nobody may hold the sequence until
// pg_dump is done.
func TestSequencesAreNotHeld(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE a (id serial PRIMARY KEY, t text); INSERT INTO a (t) SELECT 'x' FROM generate_series(1, 10)")
	exec(t, w.src, "BEGIN; LOCK TABLE a")
	wait := w.background(t.Context())
	w.untilSource(t, lockWait)
	exec(t, w.src, "TRUNCATE a RESTART IDENTITY; INSERT INTO a (t) VALUES ('new'); COMMIT")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	testenv.MustEqual(t, w.src, w.dst)
}
