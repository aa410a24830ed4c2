package sync_test

import (
	"testing"
)

const items = `CREATE TABLE item (id int PRIMARY KEY, name text, v int NOT NULL DEFAULT 0);
INSERT INTO item SELECT i, 'item ' || i, i FROM generate_series(1, 100) i;`

// A task from its creation to its end, with what it must leave: nothing but the data, and sequences that go on.
func TestLife(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`
		CREATE TABLE line (id bigserial PRIMARY KEY, item int REFERENCES item, note text);
		INSERT INTO line (item, note) SELECT i, 'line ' || i FROM generate_series(1, 50) i;
		CREATE SEQUENCE falling INCREMENT -1; SELECT nextval('falling');
		CREATE SEQUENCE "un""used"`)
	l.create("COMMENT 'life' TAGS (team = 'a')")
	l.want("state of a new task", l.status("state"), "configuration")
	if rows := l.sql("PRECHECK SYNC TASK %[1]s"); rows == "" {
		t.Error("PRECHECK returns no rows")
	}
	l.want("failed prechecks", l.sql("SELECT item, found FROM sync_prechecks WHERE task = '%[1]s' AND result = 'failed'"), "")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
	l.source(`INSERT INTO line (item, note) SELECT 1 + i % 100, 'new' FROM generate_series(1, 40) i;
		UPDATE item SET v = -v WHERE id % 2 = 0; DELETE FROM line WHERE id < 10; SELECT nextval('falling')`)
	l.caughtUp()
	l.equal()
	l.want("figures", l.sql(`SELECT source_table, rows_copied, inserts, updates, deletes FROM sync_tables WHERE task = '%[1]s' ORDER BY 1`),
		"item|100|0|50|0\nline|50|40|0|9")
	l.want("progress", l.status("phase, progress_pct, tables_done, tables_total, rows_copied, rows_applied, error"),
		"incremental|100.00|2|2|150|99|")

	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	before := l.one(l.d, "SELECT count(*) FROM item")
	l.source("INSERT INTO item SELECT i, 'paused' FROM generate_series(101, 200) i")
	slot := l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT active")
	if slot == "" {
		t.Error("the slot of a paused task is active or gone")
	}
	l.want("rows while paused", l.one(l.d, "SELECT count(*) FROM item"), before)
	l.sql("RESUME SYNC TASK %[1]s")
	l.caughtUp()
	l.equal()

	l.source("INSERT INTO item SELECT i, 'last' FROM generate_series(201, 300) i")
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.equal()
	l.want("sequences", l.one(l.d, `SELECT last_value, is_called FROM line_id_seq
		UNION ALL SELECT last_value, is_called FROM falling UNION ALL SELECT last_value, is_called FROM "un""used"`),
		"10090|t\n-10002|t\n10001|f")
	l.want("slots", l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"), "")
	l.want("publications", l.one(l.s, "SELECT pubname FROM pg_publication"), "")
	l.want("schemas", l.one(l.d, "SELECT nspname FROM pg_namespace WHERE nspname = 'pgsyncd'"), "")
	l.want("log", l.sql("SELECT event FROM sync_log WHERE task = '%[1]s' ORDER BY time"),
		"create\nstart\ndecoder\nfull begun\nincremental begun\npause\npaused\nresume\nincremental begun\nstop\ndrained\ncompleted")

	l.sql("DROP SYNC TASK %[1]s")
	for _, relation := range []string{"sync_tasks", "sync_status", "sync_tables", "sync_objects", "sync_prechecks", "sync_conflicts", "sync_leftovers"} {
		l.want(relation+" after DROP", l.sql("SELECT count(*) FROM "+relation+" WHERE task = '%[1]s'"), "0")
	}
	l.want("log after DROP", l.sql("SELECT event FROM sync_log WHERE task = '%[1]s'"), "drop")
	l.equal()
}
