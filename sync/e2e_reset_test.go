package sync_test

import (
	"testing"

	"pgsyncd/testenv"
)

// A paused task begins anew: the tables stay, with what depends on them, and have the source's rows again.
func TestReset(t *testing.T) {
	t.Parallel()
	for _, decoder := range []string{"pgoutput", "test_decoding"} {
		t.Run(decoder, func(t *testing.T) {
			t.Parallel()
			l := setup(t, items+`CREATE TABLE keyless (a int); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1), (1);
				CREATE TABLE child (id int PRIMARY KEY, item int REFERENCES item); INSERT INTO child SELECT i, i FROM generate_series(1, 50) i;
				CREATE SEQUENCE q; CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM item`)
			l.start("WITH (decoder = " + decoder + ")")
			oid := l.one(l.d, "SELECT 'item'::regclass::oid")
			l.destination("CREATE VIEW mine AS SELECT * FROM item")
			l.source("INSERT INTO keyless VALUES (2); DELETE FROM child WHERE id > 40; UPDATE item SET v = 5")
			l.caughtUp()
			l.sql("PAUSE SYNC TASK %[1]s")
			l.reach("paused")
			// Whatever became of the rows, they are the source's again.
			l.destination("DELETE FROM keyless; UPDATE item SET name = 'wrong'; DELETE FROM child WHERE id < 5")
			l.source("INSERT INTO item VALUES (500, 'while it was paused')")
			l.contains(l.refused("55000", "START SYNC TASK %[1]s").Hint, "RESET SYNC TASK "+l.task+";")
			l.sql("RESET SYNC TASK %[1]s")
			l.reach("incremental synchronization")
			l.source("INSERT INTO keyless VALUES (3), (3); UPDATE child SET item = 500 WHERE id = 1")
			l.caughtUp()
			l.equal()
			l.want("table", l.one(l.d, "SELECT 'item'::regclass::oid"), oid)
			l.want("view of others", l.one(l.d, "SELECT count(*) FROM mine"), "101")
			l.want("materialized view", l.one(l.d, "SELECT n FROM m"), "101")
			l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT temporary"), "1")
			l.want("rows copied", l.sql("SELECT rows_copied FROM sync_tables WHERE task = '%[1]s' AND source_table = 'item'"), "101")
			l.sql("STOP SYNC TASK %[1]s")
			l.reach("completed")
			l.want("left in the destination", l.one(l.d, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgsyncd'"), "0")
		})
	}
}

// A lost slot is what a reset is for. The daemon is killed while it clears away, and once more while it copies.
func TestResetAfterTheSlotIsLost(t *testing.T) {
	t.Parallel()
	l := setupAlone(t, items+"INSERT INTO item VALUES (101, 'the last marker')")
	dst, to := l.through(l.dst, l.dstDB)
	src, from := l.through(l.src, l.srcDB)
	l.from, l.to = from, to
	l.start("")
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	l.source("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()")
	l.source("UPDATE item SET v = 1")
	l.sql("RESUME SYNC TASK %[1]s")
	l.fails("incremental synchronization failed")
	l.contains(l.status("error_hint"), "RESET SYNC TASK "+l.task+";")
	src.Stall(testenv.Both)
	l.sql("RESET SYNC TASK %[1]s")
	l.reach("starting")
	if err := l.daemon.Kill9(); err != nil {
		t.Fatal(err)
	}
	src.Resume()
	copied := dst.StallAfter(lastRow)
	l.restart()
	l.await("the copy comes to the last row", copied)
	l.source("UPDATE item SET v = 2 WHERE id < 50")
	if err := l.daemon.Kill9(); err != nil {
		t.Fatal(err)
	}
	dst.Cut()
	dst.Resume()
	l.restart()
	l.reach("incremental synchronization")
	l.source("UPDATE item SET v = 3 WHERE id > 90")
	l.caughtUp()
	l.equal()
}

// With clear_destination the structure is made anew as well, unless something of others is in the way.
func TestResetAndClear(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE SCHEMA shop; CREATE TYPE shop.kind AS ENUM ('a'); CREATE TABLE shop.goods (id serial PRIMARY KEY, k shop.kind DEFAULT 'a');
		CREATE TABLE part (id int PRIMARY KEY, goods int REFERENCES shop.goods) PARTITION BY RANGE (id);
		CREATE TABLE part_1 PARTITION OF part DEFAULT; CREATE INDEX ON part (goods); CREATE VIEW shop.v AS SELECT * FROM shop.goods;
		CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO shop.goods DEFAULT VALUES; INSERT INTO part VALUES (1, 1)`)
	l.start("")
	l.destination("CREATE TABLE stays (id int); CREATE VIEW mine AS SELECT * FROM shop.goods")
	l.source("ALTER TABLE shop.goods ADD extra text; INSERT INTO shop.goods (extra) VALUES ('x')")
	l.fails("incremental synchronization failed")
	l.sql("RESET SYNC TASK %[1]s WITH (clear_destination)")
	l.fails("start failed")
	l.contains(l.status("error, error_detail"), "clear the destination", "shop.goods", "mine")
	l.want("nothing was dropped", l.one(l.d, "SELECT count(*) FROM pg_class WHERE relname IN ('goods', 'part', 'v')"), "3")
	l.destination("DROP VIEW mine")
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("incremental synchronization")
	l.source("INSERT INTO shop.goods (extra) VALUES ('y'); INSERT INTO part VALUES (2, 2)")
	l.caughtUp()
	testenv.MustEqual(t, l.s, l.d, "shop.goods", "public.part")
	l.want("others", l.one(l.d, "SELECT count(*) FROM stays"), "0")
	l.want("objects", l.one(l.d, "SELECT count(*) FROM pg_proc WHERE proname = 'f' AND pronamespace = 'shop'::regnamespace"), "1")
	l.contains(l.sql("SELECT event FROM sync_log WHERE task = '%[1]s'"), "destination cleared")
}

// A copy that failed is reset too, and so is a task without a stream. Rows among those of others are left alone.
func TestResetOfACopy(t *testing.T) {
	t.Parallel()
	l := setup(t, items+"CREATE TABLE odd (id int PRIMARY KEY, v int); INSERT INTO odd VALUES (1, 1)")
	l.destination("CREATE TABLE odd (id int PRIMARY KEY, v int CHECK (v > 1))")
	l.create("MODE FULL WITH (existing_objects = use) START NOW CONFIRM ALL")
	l.fails("full synchronization failed")
	l.source("UPDATE odd SET v = 2; UPDATE item SET v = 7")
	l.sql("RESET SYNC TASK %[1]s")
	l.reach("completed")
	l.equal()
	l.contains(l.refused("55000", "RESET SYNC TASK %[1]s").Detail, "completed")
}

// What cannot be told from the rows of others cannot be replaced.
func TestResetOfAppendedRows(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.destination("CREATE TABLE item (id int PRIMARY KEY, name text, v int NOT NULL DEFAULT 0); INSERT INTO item VALUES (1000, 'of others')")
	l.start("WITH (existing_objects = append)")
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	l.contains(l.refused("55000", "RESET SYNC TASK %[1]s").Message, "adds rows to those of others")
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("incremental synchronization")
}
