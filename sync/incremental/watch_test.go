package incremental_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
)

// after leaves the lab as a full copy leaves it: the publication names its tables, and the ledger what was copied.
func (l *lab) after(copied ...string) {
	l.Helper()
	l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `')`)
	l.source(`DROP PUBLICATION IF EXISTS pub; CREATE PUBLICATION pub FOR TABLE ONLY ` + strings.Join(copied, ", ONLY "))
	l.createSlot()
	l.copied(copied...)
}

func (l *lab) copied(tables ...string) {
	l.Helper()
	for _, table := range tables {
		unit := schema.Name{Schema: "public", Name: table}.String()
		if err := ledger.MarkCopied(l.Context(), l.d, l.cfg.Task, unit, l.end()); err != nil {
			l.Fatal(err)
		}
	}
}

// endsFor waits for the stream's end, which must have this cause and be final.
func (r *running) endsFor(want error) {
	r.l.Helper()
	if err := r.wait(); !errors.Is(err, want) || endpoint.Retryable(err) {
		r.l.Errorf("ended with %v", err)
	}
}

// What somebody does to the publication or to published tables does not show in the stream, but changes are missing from
// then on. The stream ends over it, whether it was running at the time or not.
func TestChangesThatAreNotPublishedStopTheStream(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, harm string
		asleep     bool // likewise with a stream that begins later
	}{
		{"publication dropped", `DROP PUBLICATION pub`, true},
		{"publication created anew", `DROP PUBLICATION IF EXISTS pub; CREATE PUBLICATION pub FOR TABLE ONLY a, p`, false},
		{"table taken out", `ALTER PUBLICATION pub DROP TABLE a; INSERT INTO a VALUES (2)`, true},
		{"table taken out and put back", `ALTER PUBLICATION pub DROP TABLE a; INSERT INTO a VALUES (2); ALTER PUBLICATION pub ADD TABLE a`, false},
		{"inserts left out", `ALTER PUBLICATION pub SET (publish = 'update, delete, truncate'); INSERT INTO a VALUES (2)`, false},
		{"partitions as their root", `ALTER PUBLICATION pub SET (publish_via_partition_root = true)`, false},
		{"rows left out", `ALTER PUBLICATION pub SET TABLE a WHERE (id > 5), p`, false},
		{"columns left out", `ALTER PUBLICATION pub SET TABLE a (id), p`, false},
		{"table replaced", `ALTER TABLE a RENAME TO a_old; CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (7)`, true},
		{"tables swapped", `ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b`, false},
		{"table dropped and created", `DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a VALUES (7)`, false},
		{"table never copied", `CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1); ALTER PUBLICATION pub ADD TABLE d`, false},
		{"partition detached", `ALTER TABLE p DETACH PARTITION p1; INSERT INTO p1 VALUES (2)`, false},
		{"partition detached and attached", `ALTER TABLE p DETACH PARTITION p1; INSERT INTO p1 VALUES (2);
			ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (100)`, false},
		{"partition unlogged", `ALTER TABLE p1 SET UNLOGGED; INSERT INTO p VALUES (2)`, false},
		{"partition attached with rows", `CREATE TABLE p2 (id int PRIMARY KEY); INSERT INTO p2 VALUES (200);
			ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (300)`, true},
		{"partition filled and attached at once", `BEGIN; CREATE TABLE p2 (id int PRIMARY KEY); INSERT INTO p2 VALUES (200);
			ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (300); COMMIT`, false},
		{"tree attached with rows", `CREATE TABLE p2 (id int PRIMARY KEY) PARTITION BY RANGE (id);
			CREATE TABLE p2a PARTITION OF p2 DEFAULT; INSERT INTO p2 VALUES (200);
			ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (300)`, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, asleep := range []bool{false, true} {
				if asleep && !c.asleep {
					continue
				}
				l := setup(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);
					CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)`)
				l.after("a", "b", "p")
				l.copied("p1")
				r := l.start()
				l.source(`INSERT INTO a VALUES (1); INSERT INTO p VALUES (1)`)
				r.catchUp()
				if asleep {
					_ = r.kill()
				}
				l.source(c.harm)
				if asleep {
					r = l.start()
				}
				r.endsFor(incremental.ErrPublication)
			}
		})
	}
}

// Partitions that come in the ordinary ways are part of their tree.
func TestPartitionsThatAreNewJoinTheStream(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)`)
	l.destination(`CREATE TABLE rest PARTITION OF p DEFAULT`)
	l.after("p")
	l.copied("p1")
	r := l.start()
	l.source(`CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p SELECT generate_series(90, 110)`)
	l.source(`CREATE TABLE p3 (id int PRIMARY KEY); ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (250)`)
	l.source(`BEGIN; CREATE TABLE p4 (id int PRIMARY KEY); ALTER TABLE p ATTACH PARTITION p4 FOR VALUES FROM (300) TO (400);
		INSERT INTO p VALUES (350); COMMIT`)
	l.source(`BEGIN; CREATE TABLE p5 PARTITION OF p FOR VALUES FROM (400) TO (500); INSERT INTO p VALUES (450); COMMIT`)
	// Transactions that are older than a partition may write to it as well.
	old := l.src.Connect(t, l.srcDB)
	l.exec(old, `BEGIN; SELECT txid_current()`)
	l.source(`CREATE TABLE p6 PARTITION OF p FOR VALUES FROM (500) TO (600)`)
	l.source(`CREATE TABLE p7 (id int PRIMARY KEY); ALTER TABLE p ATTACH PARTITION p7 FOR VALUES FROM (600) TO (700)`)
	l.exec(old, `INSERT INTO p VALUES (550), (650); COMMIT`)
	r.catchUp()
	l.equal("public.p")
	_ = r.kill()
	r = l.start()
	l.source(`DELETE FROM p WHERE id > 200`)
	r.catchUp()
	l.equal("public.p")
}

// A look does not wait for locks on the tables, which may be held for hours.
func TestLookDoesNotWaitForLocks(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)`)
	l.after("a", "b")
	l.source(`BEGIN; LOCK TABLE a`)
	r := l.start()
	l.exec(l.src.Connect(t, l.srcDB), `INSERT INTO b VALUES (1)`)
	r.catchUp()
	l.source(`COMMIT; ALTER PUBLICATION pub DROP TABLE b`)
	r.endsFor(incremental.ErrPublication)
}

// A table without a copy of its own stops the stream even when its changes come before the next look at the publication.
func TestTableWithoutCopyIsNotApplied(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY)`)
	l.after("a")
	l.source(`INSERT INTO d VALUES (1)`)
	r := l.start()
	l.source(`INSERT INTO a VALUES (1)`)
	r.catchUp()
	l.source(`ALTER PUBLICATION pub ADD TABLE d`)
	l.source(`INSERT INTO d VALUES (2)`)
	if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), `d`) {
		t.Errorf("ended with %v", err)
	}
	if n := l.one(l.d, `SELECT count(*) FROM d`); n != "0" {
		t.Errorf("%s rows", n)
	}
}

// A table that was copied by itself and attached to a partitioned table that was copied later, or the reverse: what its copy
// shows is judged by its own position.
func TestTableAttachedOrDetachedAfterItsCopy(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE early (id int); CREATE TABLE late (id int)`)
	l.source(`INSERT INTO early VALUES (1); INSERT INTO late VALUES (101)`)
	l.destination(`INSERT INTO early VALUES (1)`)
	l.copied("early")
	for _, table := range []string{"early", "late", "p"} {
		if err := ledger.MarkObject(t.Context(), l.d, l.cfg.Task, ledger.ClaimPrefix+schema.Name{Schema: "public", Name: table}.String()); err != nil {
			t.Fatal(err)
		}
	}
	l.source(`INSERT INTO early VALUES (2); INSERT INTO late VALUES (102)`)
	l.destination(`INSERT INTO late VALUES (101), (102)`)
	l.copied("p", "late")
	l.source(`ALTER TABLE p ATTACH PARTITION early FOR VALUES FROM (0) TO (100)`)
	l.source(`INSERT INTO early VALUES (3); INSERT INTO late VALUES (103)`)
	l.start().catchUp()
	l.equal("public.early", "public.late")
}

// The source was put back to an earlier state of its files: what it writes next comes at positions that are taken for
// applied.
func TestSourceThatIsBehindIsNoticed(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	l.destination(`UPDATE pgsyncd.progress SET lsn = lsn + (1 << 30)`)
	l.source(`INSERT INTO t VALUES (1)`)
	l.start().endsFor(incremental.ErrBehind)
}

// TestPublicationChangedWhileNoStreamRuns: it is as it was made, but what was committed meanwhile is not sent, and PostgreSQL 18 says no more
// than a warning even where there was no publication at all.
func TestPublicationChangedWhileNoStreamRuns(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"made anew":              `BEGIN; DROP PUBLICATION pub; CREATE PUBLICATION pub FOR TABLE a; COMMIT`,
		"taken out and put back": `ALTER PUBLICATION pub DROP TABLE a; INSERT INTO a VALUES (7); ALTER PUBLICATION pub ADD TABLE a`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := setup(t, `CREATE TABLE a (id int PRIMARY KEY)`)
			l.after("a")
			number := func(sql string) uint32 {
				oid, err := strconv.ParseUint(l.one(l.s, sql), 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				return uint32(oid)
			}
			keys := ledger.PublicationKeys(number(`SELECT oid FROM pg_publication WHERE pubname = 'pub'`),
				map[uint32]uint32{number(`SELECT 'a'::regclass::oid`): number(`SELECT oid FROM pg_publication_rel`)})
			if err := ledger.MarkObject(t.Context(), l.d, l.cfg.Task, keys...); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				r := l.start()
				l.source(`INSERT INTO a SELECT count(*) FROM a`)
				r.catchUp()
				l.equal()
				_ = r.kill()
			}
			l.source(change)
			l.start().endsFor(incremental.ErrPublication)
		})
	}
}
