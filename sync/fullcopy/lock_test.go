package fullcopy_test

import (
	"bytes"
	"testing"

	"pgsyncd/testenv"
)

// Somebody who has locked a table and waits for its sequence is waited for by pg_dump; so nobody may hold the sequence until
// pg_dump is done.
func TestSequencesAreNotHeld(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE a (id serial PRIMARY KEY, t text); INSERT INTO a (t) SELECT 'x' FROM generate_series(1, 10)")
	source, _ := w.through(t)
	dumping := source.StallAfter(func(_ testenv.Direction, kind byte, body []byte) bool {
		return kind == 0 && bytes.Contains(body, []byte("pg_dump"))
	})
	wait := w.background(t.Context())
	<-dumping
	exec(t, w.src, "SET lock_timeout = '20s'")
	exec(t, w.src, "TRUNCATE a RESTART IDENTITY; INSERT INTO a (t) VALUES ('new')")
	source.Resume()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	testenv.MustEqual(t, w.src, w.dst)
}
