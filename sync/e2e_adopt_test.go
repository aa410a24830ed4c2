package sync_test

import (
	"fmt"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// Both sides have the same tables and rows; only what comes after the start is brought over, once.
func TestModeIncremental(t *testing.T) {
	t.Parallel()
	for _, decoder := range []string{"pgoutput", "test_decoding"} {
		t.Run(decoder, func(t *testing.T) {
			t.Parallel()
			const keyless = `CREATE TABLE keyless (a int); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1), (1), (2);
				CREATE TABLE part (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
				CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (99); INSERT INTO part VALUES (1, 1), (11, 1); CREATE SEQUENCE q;`
			l := setup(t, items+keyless+"CREATE UNLOGGED TABLE scratch (id int)")
			l.destination(items + keyless)
			// What was committed before the start must not come again: the destination has it.
			for _, conn := range []func(string){l.source, l.destination} {
				conn("INSERT INTO keyless VALUES (3), (3); UPDATE item SET v = v + 1; SELECT nextval('q')")
			}
			l.create("MODE INCREMENTAL WITH (decoder = " + decoder + ")")
			l.sql("START SYNC TASK %[1]s CONFIRM ALL")
			l.reach("incremental synchronization")
			l.contains(l.sql("SELECT message FROM sync_log WHERE task = '%[1]s' AND event = 'stream begins'"), "or later is applied")
			l.source(`BEGIN; INSERT INTO keyless VALUES (3); DELETE FROM keyless WHERE ctid = '(0,1)'; UPDATE item SET id = id + 1000 WHERE id < 50; COMMIT;
				UPDATE part SET id = id + 11 WHERE id = 1; DELETE FROM part WHERE v = 1 AND id = 11; INSERT INTO part SELECT i, i FROM generate_series(2, 8) i;
				CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1); INSERT INTO scratch VALUES (1)`)
			l.caughtUp()
			tables := []string{"public.item", "public.keyless", "public.part"}
			testenv.MustEqual(t, l.s, l.d, tables...)
			l.sql("PAUSE SYNC TASK %[1]s")
			l.reach("paused")
			l.source("TRUNCATE keyless; INSERT INTO keyless VALUES (7), (7)")
			l.sql("RESUME SYNC TASK %[1]s")
			l.caughtUp()
			testenv.MustEqual(t, l.s, l.d, tables...)
			l.want("progress", l.status("progress_pct, rows_copied, conflicts"), "100.00|0|0")
			l.want("tables", l.sql("SELECT string_agg(DISTINCT state, ',') FROM sync_tables WHERE task = '%[1]s'"), "synchronizing")
			l.sql("STOP SYNC TASK %[1]s")
			l.reach("completed")
			testenv.MustEqual(t, l.s, l.d, tables...)
			l.want("sequence", l.one(l.d, "SELECT last_value FROM q"), "10001")
			l.want("tables of no task", l.sql("SELECT string_agg(message, '; ') FROM sync_log WHERE task = '%[1]s' AND event = 'table not synchronized'"),
				`table "public"."later" does not belong to the task, so its rows are not synchronized`)
			l.want("unlogged", l.sql("SELECT state, error FROM sync_objects WHERE task = '%[1]s' AND source_name = 'public.scratch'"),
				"excluded|its changes are not in the WAL, because it is unlogged")
			l.want("left on the source", l.one(l.s, `SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()),
				(SELECT count(*) FROM pg_publication)`), "0|0")
			l.want("left in the destination", l.one(l.d, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgsyncd'"), "0")
		})
	}
}

// A destination that cannot take the changes is noticed before anything is made.
func TestModeIncrementalChecks(t *testing.T) {
	t.Parallel()
	l := setup(t, items+"CREATE TABLE wide (id int PRIMARY KEY, a text, b int); CREATE TABLE missing (id int PRIMARY KEY)")
	l.destination("CREATE TABLE item (id int, name text, v int NOT NULL DEFAULT 0); CREATE TABLE wide (id int PRIMARY KEY, a text)")
	l.create("MODE INCREMENTAL START NOW")
	l.fails("start failed")
	l.contains(l.status("error_detail"), `the destination lacks the tables "public"."missing"`)
	l.destination("CREATE TABLE missing (id int PRIMARY KEY)")
	l.sql("START SYNC TASK %[1]s")
	l.reach("starting")
	l.fails("start failed")
	l.contains(l.status("error_detail"), `"public"."wide" has no column "b"`)
	l.destination("ALTER TABLE wide ADD b int")
	l.sql("START SYNC TASK %[1]s")
	l.fails("start failed")
	l.contains(l.status("error_detail"), "rows of the destination", "keys of the destination", `"public"."item"`)
	l.contains(l.sql("SELECT suggestion FROM sync_prechecks WHERE task = '%[1]s' AND item = 'keys of the destination'"),
		`CREATE UNIQUE INDEX ON "public"."item" ("id");`)
	l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0")
	l.destination("CREATE UNIQUE INDEX ON item (id); INSERT INTO item SELECT i, 'item ' || i, i FROM generate_series(1, 100) i")
	l.sql("START SYNC TASK %[1]s")
	l.reach("incremental synchronization")
	l.source("UPDATE item SET v = -v; INSERT INTO wide VALUES (1, 'x', 2); INSERT INTO missing VALUES (5)")
	l.caughtUp()
	l.equal()
}

// The beginning is cut off after the slot was created: the next attempt makes another one, and nothing comes twice.
func TestModeIncrementalIsInterrupted(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.destination(items)
	proxy, from := l.through(l.src, l.srcDB)
	l.from = from
	cut := proxy.CutAfter(func(dir testenv.Direction, kind byte, body []byte) bool {
		return dir == testenv.ToClient && kind == 'C' && strings.HasPrefix(string(body), "CREATE_REPLICATION_SLOT")
	})
	l.create("MODE INCREMENTAL START NOW CONFIRM ALL WITH (retry_limit = 0)")
	l.await("the slot is created", cut)
	l.reach("incremental synchronization")
	l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT temporary"), "1")
	l.source("UPDATE item SET v = v + 1")
	l.caughtUp()
	l.equal()
	l.want("begun", l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND event = 'stream begins'"), "1")
}

// A faulty copy that others can see shows at the first change that meets it.
func TestModeIncrementalConflict(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.destination(items + "DELETE FROM item WHERE id = 7")
	l.start("MODE INCREMENTAL")
	l.source("UPDATE item SET v = 0 WHERE id = 7")
	l.fails("incremental synchronization failed")
	l.want("conflict", l.sql("SELECT kind FROM sync_conflicts WHERE task = '%[1]s'"), "update_missing")
	l.destination(fmt.Sprintf("INSERT INTO item VALUES (7, 'item 7', %d)", 7))
	l.sql("RESUME SYNC TASK %[1]s")
	l.caughtUp()
	l.equal()
}
