package fullcopy_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgsyncd/testenv"
)

// A table that somebody empties whenever the structure is read is copied all the same: from the third round on it is read before the
// snapshot. It is read under the snapshot again when something else was done to a table meanwhile.
func TestTableThatIsEmptiedInEveryRound(t *testing.T) {
	t.Parallel()
	const rounds = 8 // of that at most
	for name, c := range map[string]struct {
		sql  string // besides, up to the third round
		want int    // times that pg_dump is started
	}{
		"emptied": {"", 4},
		"altered": {"ALTER TABLE b ADD COLUMN x%[1]d int DEFAULT %[1]d;", 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a VALUES (0, 'old'); CREATE TABLE b (id int PRIMARY KEY); CREATE MATERIALIZED VIEW m AS SELECT 1")
			w.incremental()
			source, _ := w.through(t)
			started := func(_ testenv.Direction, kind byte, body []byte) bool {
				return kind == 0 && bytes.Contains(body, []byte("pg_dump"))
			}
			dumping := source.StallAfter(started)
			done := make(chan error, 1)
			wait := w.background(t.Context())
			go func() { done <- wait() }()
			dumps := 0
			for running := true; running; {
				select {
				case <-dumping:
					if dumps++; dumps <= rounds {
						exec(t, w.src, "TRUNCATE a")
						exec(t, w.src, fmt.Sprintf("INSERT INTO a SELECT i, 'round %d' FROM generate_series(1, 10) i", dumps))
						if c.sql != "" && dumps <= hurried {
							exec(t, w.src, fmt.Sprintf(c.sql, dumps))
						}
					}
					dumping = source.StallAfter(started)
					source.Resume()
				case err := <-done:
					if err != nil {
						t.Fatal(err)
					}
					running = false
				}
			}
			equal(t, "times that pg_dump was started", dumps, c.want)
			testenv.MustEqual(t, w.src, w.dst)
		})
	}
}

// hurried is the first time that the structure is read before the snapshot; the publication needs it too.
const hurried = 4

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
