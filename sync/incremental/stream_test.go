package incremental_test

import (
	"testing"

	"pgsyncd/sync/schema"
)

func TestInsertsUpdatesDeletes(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, a text, b numeric); CREATE TABLE "Odd "" Näme" ("select" int PRIMARY KEY, "a.b" int)`)
	r := l.start()
	l.source(`INSERT INTO t SELECT i, 'row ' || i, i / 7.0 FROM generate_series(1, 1000) i`)
	l.source(`UPDATE t SET a = NULL WHERE id % 3 = 0`)
	l.source(`DELETE FROM t WHERE id % 5 = 0`)
	l.source(`INSERT INTO "Odd "" Näme" VALUES (1, 2), (3, NULL); UPDATE "Odd "" Näme" SET "a.b" = 4 WHERE "select" = 3`)
	r.catchUp()
	l.equal()
	if got := l.report.tables["t"]; got != [4]int64{1000, 333, 200, 0} {
		t.Errorf("reported inserts, updates, deletes, truncates: %v", got)
	}
	if n := l.report.progress().Replays; n != 0 {
		t.Errorf("%d batches were replayed", n)
	}
	if n := r.Changes(schema.Name{Schema: "public", Name: "t"}); n != 2*1533 {
		t.Errorf("%d changes counted", n)
	}
}

func TestStopAtDrainsAndConfirms(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	r := l.start()
	l.source(`INSERT INTO t SELECT generate_series(1, 5000)`)
	end := l.end()
	r.StopAt(end)
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	l.equal()
	if l.one(l.s, `SELECT confirmed_flush_lsn >= '`+end.String()+`' AND NOT active FROM pg_replication_slots WHERE slot_name = '`+l.cfg.Slot+`'`) != "t" {
		t.Error("the slot is not confirmed and free")
	}
}

func TestLargeTransactionIsAppliedInPieces(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, a text)`)
	l.cfg.BatchBytes = 64 << 10
	r := l.start()
	l.source(`INSERT INTO t VALUES (0, 'before')`)
	l.source(`INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i`)
	l.source(`UPDATE t SET id = -id; DELETE FROM t WHERE id % 2 = 0`)
	r.catchUp()
	l.equal()
	_ = r.kill()
	l.resume()
	l.equal()
}
