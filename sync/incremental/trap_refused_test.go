package incremental_test

import (
	"errors"
	"fmt"
	"testing"

	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// Trap 7: a row that the destination refuses, for whatever reason and whatever way it takes, stops the stream before the
// position moves past it, and nothing is missing once the reason is gone.
func TestRefusedRowStopsTheStream(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, destination, sql, mend string }{
		{"check", `ALTER TABLE t ADD CONSTRAINT small CHECK (v < 100)`, `UPDATE t SET v = 100 WHERE id = 7`, `ALTER TABLE t DROP CONSTRAINT small`},
		{"not null", `ALTER TABLE t ALTER s SET NOT NULL`, `UPDATE t SET s = NULL WHERE id = 7`, `ALTER TABLE t ALTER s DROP NOT NULL`},
		{"partition", `DROP TABLE p2`, `INSERT INTO p VALUES (150)`, `CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)`},
		{"exclusion", `ALTER TABLE t ADD CONSTRAINT one EXCLUDE USING btree (s WITH =) WHERE (s <> 's')`, `UPDATE t SET s = 'x' WHERE id IN (7, 8)`, `ALTER TABLE t DROP CONSTRAINT one`},
		{
			"trigger", `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.v = 100 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END$$;
				CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE ALWAYS TRIGGER refuse`,
			`UPDATE t SET v = 100 WHERE id = 7`, `DROP TRIGGER refuse ON t`,
		},
		{
			"at commit", `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.v = 100 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END$$;
				CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
				ALTER TABLE t ENABLE ALWAYS TRIGGER refuse`,
			`UPDATE t SET v = 100 WHERE id = 7`, `DROP TRIGGER refuse ON t`,
		},
	} {
		for _, rows := range []int{1, 2000} { // alone, and among many that go as a set
			t.Run(fmt.Sprint(c.name, " ", rows), func(t *testing.T) {
				t.Parallel()
				l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v int, s text); CREATE TABLE log (n int);
					CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
					CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)`)
				l.destination(c.destination)
				l.source(fmt.Sprintf(`INSERT INTO t SELECT i, 1, 's' FROM generate_series(1, greatest(10, %d)) i`, rows))
				r := l.start()
				r.catchUp()
				l.source(`BEGIN; INSERT INTO log VALUES (1); ` + fmt.Sprintf(`UPDATE t SET v = 2 WHERE id <= %d; `, rows) + c.sql + `; INSERT INTO log VALUES (2); COMMIT`)
				l.source(`INSERT INTO log VALUES (3)`)
				var change *incremental.ChangeError
				var conflict *incremental.ConflictError
				if err := r.stops(); !errors.As(err, &change) && !errors.As(err, &conflict) && c.name != "at commit" {
					t.Errorf("ended with %v", err)
				}
				if n := l.one(l.d, `SELECT count(*) FROM log`); n != "0" {
					t.Errorf("%s rows of the transaction or after it", n)
				}
				l.destination(c.mend)
				l.resume()
				l.equal()
			})
		}
	}
}

// Trap 28: an owner whose connection to the destination was slow wakes up after another took over, and its statements arrive
// then. The stream's own connection to the source has been ended, which it has not heard of either.
func TestOwnerThatWakesUpWritesNothing(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (a int)`)
	directSource, directDestination := l.cfg.Source, l.cfg.Destination
	fromSource, source := l.through(l.src, l.srcDB)
	toDestination, destination := l.through(l.dst, l.dstDB)
	l.cfg.Source, l.cfg.Destination = source, destination
	first := l.start()
	l.source(`INSERT INTO t VALUES (1)`)
	first.catchUp()
	table := schema.Name{Schema: "public", Name: "t"}
	before := first.Changes(table)
	toDestination.Stall(testenv.ToTarget)
	l.source(`INSERT INTO t VALUES (2), (2), (3)`)
	l.eventually("the first has received the changes", func() bool { return first.Changes(table) == before+3 })
	fromSource.Stall(testenv.ToClient)
	l.source(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '` + l.cfg.Slot + `'`)
	l.cfg.Source, l.cfg.Destination = directSource, directDestination
	second := l.start()
	second.catchUp()
	l.equal()
	toDestination.Resume()
	if err := first.wait(); !errors.Is(err, ledger.ErrFenced) {
		t.Errorf("the first ended with %v", err)
	}
	l.source(`INSERT INTO t VALUES (4)`)
	second.catchUp()
	l.equal()
}
