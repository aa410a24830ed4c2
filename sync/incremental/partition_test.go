package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

func TestPartitionsOfAnotherLayout(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE gate ()`)
	l.source(`CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
		CREATE TABLE p2a (v text, id int PRIMARY KEY); ALTER TABLE p2 ATTACH PARTITION p2a FOR VALUES FROM (100) TO (200)`)
	l.destination(`CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (50); CREATE TABLE q PARTITION OF p FOR VALUES FROM (50) TO (1000);
		ALTER TABLE p1 RENAME TO other`)
	r := l.start()
	work := func() {
		l.source(`INSERT INTO p SELECT i, 'v' || i FROM generate_series(0, 199) i`)
		l.source(`UPDATE p SET v = 'new' WHERE id % 3 = 0; DELETE FROM p WHERE id % 10 = 0; UPDATE p SET id = 110 WHERE id = 11; UPDATE p SET id = 20 WHERE id = 122`)
		l.source(`CREATE TABLE IF NOT EXISTS p3 PARTITION OF p FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (250, 'later'); UPDATE p SET id = 10 WHERE id = 250`)
	}
	work()
	r.catchUp()
	l.equal("public.p")
	l.source(`TRUNCATE p`)
	r.catchUp()
	l.inOneBatch("p", r, work)
	l.equal("public.p")
	l.source(`TRUNCATE p1; INSERT INTO p VALUES (3)`)
	r.catchUp()
	l.equal("public.p")
}

// The rows that a TRUNCATE meant cannot be found by bounds that the partition got afterwards.
func TestTruncateOfPartitionThatWasAttachedAnew(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)`)
	l.source(`CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)`)
	l.destination(`CREATE TABLE q PARTITION OF p DEFAULT`)
	l.source(`INSERT INTO p VALUES (1), (101)`)
	r := l.start()
	r.catchUp()
	_ = r.kill()
	l.source(`TRUNCATE p2; ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p DETACH PARTITION p2`)
	l.source(`ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (0) TO (100)`)
	if err := l.start().wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), "no telling which rows") {
		t.Errorf("ended with %v", err)
	}
	if n := l.one(l.d, `SELECT count(*) FROM p`); n != "2" {
		t.Errorf("%s rows", n)
	}
}

// A copy shows the commits whose record starts before its snapshot's position, and no others.
func TestCommitsBeforeACopyAreSkippedForItsTable(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (v int); CREATE TABLE b (v int)`)
	l.source(`BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); COMMIT`)
	at := l.end()
	// As if table a had been copied now.
	l.destination(`INSERT INTO a VALUES (1)`)
	for table, lsn := range map[string]pglogrepl.LSN{"a": at, "b": 0} {
		if err := ledger.MarkCopied(t.Context(), l.d, l.cfg.Task, schema.Name{Schema: "public", Name: table}.String(), lsn); err != nil {
			t.Fatal(err)
		}
	}
	l.source(`BEGIN; INSERT INTO a VALUES (2); INSERT INTO b VALUES (2); COMMIT; TRUNCATE b; INSERT INTO b VALUES (3)`)
	l.start().catchUp()
	l.equal()
}

func TestPublishedTableThatNobodySelected(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE stranger (id int PRIMARY KEY)`)
	l.cfg.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "t"}}}
	r := l.start()
	l.source(`INSERT INTO t VALUES (1)`)
	r.catchUp()
	before := r.Applied()
	l.source(`INSERT INTO stranger VALUES (1)`)
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "stranger") {
		t.Errorf("ended with %v", err)
	}
	if r.Applied() < before {
		t.Error("the position moved backwards")
	}
}
