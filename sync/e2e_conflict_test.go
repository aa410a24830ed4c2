package sync_test

import (
	"testing"
)

// Under the default policy a row that does not fit stops the task with table, key and position; once it is out of the way the
// task goes on where it stopped.
func TestConflictStopsTheTask(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("")
	l.destination("INSERT INTO item VALUES (500, 'planted')")
	l.source("INSERT INTO item VALUES (499, 'before'); INSERT INTO item VALUES (500, 'conflicting'); INSERT INTO item VALUES (501, 'after')")
	l.fails("incremental synchronization failed")
	l.contains(l.status("error"), `"public"."item"`, `{"id": "500"}`, l.sql("SELECT lsn FROM sync_conflicts WHERE task = '%[1]s'"))
	l.contains(l.status("error_hint"), "conflict_policy", "RESUME SYNC TASK "+l.task+";")
	l.want("conflicts", l.sql(`SELECT "table", kind, key ->> 'id', source_row ->> 'name', destination_row ->> 'name', action
		FROM sync_conflicts WHERE task = '%[1]s'`), `"public"."item"|insert_exists|500|conflicting|planted|stopped`)
	l.want("rows after the conflict", l.one(l.d, "SELECT count(*) FROM item WHERE id > 500"), "0")
	l.destination("DELETE FROM item WHERE id = 500")
	l.sql("RESUME SYNC TASK %[1]s")
	l.caughtUp()
	l.equal()
	l.want("error after RESUME", l.status("error"), "")
}

// A stop brings everything over or says what is in the way; then it can be repeated.
func TestConflictKeepsTheTaskFromStopping(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("")
	l.destination("INSERT INTO item VALUES (500, 'planted')")
	l.source("INSERT INTO item VALUES (500, 'conflicting')")
	l.fails("incremental synchronization failed")
	l.sql("STOP SYNC TASK %[1]s")
	l.fails("stopping task failed")
	l.contains(l.status("error"), `"public"."item"`)
	l.destination("DELETE FROM item WHERE id = 500")
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.equal()
}

// The policy can be changed while the task streams, and back.
func TestConflictPolicyChangesLive(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("")
	changes := 0
	set := func(policy string) {
		l.sql("ALTER SYNC TASK %[1]s SET (conflict_policy = '%[2]s')", policy)
		changes++
		l.eventually("the stream has the new policy", func() bool {
			return l.sql("SELECT count(*) = %[2]d FROM sync_log WHERE task = '%[1]s' AND event = 'settings changed'", changes) == "t"
		})
	}
	set("ignore")
	l.destination("INSERT INTO item VALUES (500, 'planted')")
	l.source("INSERT INTO item VALUES (500, 'conflicting')")
	l.caughtUp()
	l.want("ignored", l.one(l.d, "SELECT name FROM item WHERE id = 500"), "planted")
	set("overwrite")
	l.destination("INSERT INTO item VALUES (600, 'planted')")
	l.source("INSERT INTO item VALUES (600, 'conflicting')")
	l.caughtUp()
	l.want("overwritten", l.one(l.d, "SELECT name FROM item WHERE id = 600"), "conflicting")
	l.want("conflicts", l.sql(`SELECT key ->> 'id', kind, action FROM sync_conflicts WHERE task = '%[1]s' ORDER BY time`),
		"500|insert_exists|skipped\n600|insert_exists|updated")
	l.want("number of conflicts", l.status("conflicts"), "2")
	l.want("state", l.status("state"), "incremental synchronization")
	l.want("history", l.sql(`SELECT old_value, new_value, changed_by FROM sync_parameter_history WHERE task = '%[1]s' ORDER BY time`),
		"|ignore|admin\nignore|overwrite|admin")
	l.sql("ALTER SYNC TASK %[1]s RESET (conflict_policy)")
	l.destination("INSERT INTO item VALUES (700, 'planted')")
	changes++
	l.eventually("the stream has the default policy", func() bool {
		return l.sql("SELECT count(*) = %[2]d FROM sync_log WHERE task = '%[1]s' AND event = 'settings changed'", changes) == "t"
	})
	l.source("INSERT INTO item VALUES (700, 'conflicting')")
	l.fails("incremental synchronization failed")
}

// What no stream depends on is in force at once, and does not interrupt the one that runs.
func TestOptionsThatNoStreamDependsOn(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("")
	l.caughtUp()
	walsender := func() string {
		return l.one(l.s, "SELECT active_pid FROM pg_replication_slots WHERE database = current_database() AND NOT temporary")
	}
	before := walsender()
	l.sql("ALTER SYNC TASK %[1]s SET (delay_threshold = '1s', sequence_margin = 7, retry_limit = 0, max_slot_wal = '1 GB')")
	l.one(l.d, "BEGIN; LOCK TABLE item")
	l.source("UPDATE item SET v = 1")
	l.eventually("the new threshold is exceeded", func() bool {
		return l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND event = 'delay exceeded' AND message LIKE '%%(1s)'") == "1"
	})
	l.one(l.d, "ROLLBACK")
	l.caughtUp()
	l.want("the walsender", walsender(), before)
	l.want("new beginnings", l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND event = 'settings changed'"), "0")
	// A fault of which retry_limit decides.
	l.destination(`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not now'' USING ERRCODE = ''ZZ001''; END';
		CREATE TRIGGER fail BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION fail(); ALTER TABLE item ENABLE ALWAYS TRIGGER fail`)
	l.source("UPDATE item SET v = 2")
	l.fails("incremental synchronization failed")
	l.want("attempts", l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND message LIKE '%%fault rectification%%'"), "0")
}

// A change that does not fit before the stream has passed the copy fails the full phase, once, and can be mended. The copy is
// one that was begun anew after a crash: its position is later than where the stream begins.
func TestConflictBeforeTheStreamBegins(t *testing.T) {
	t.Parallel()
	l := setupAlone(t, items+"INSERT INTO item VALUES (101, 'the last marker')")
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	l.destination("CREATE TABLE item (id int PRIMARY KEY, name text, v int NOT NULL DEFAULT 0 CHECK (v < 1000))")
	stalled := proxy.StallAfter(lastRow)
	l.create("START NOW CONFIRM ALL WITH (existing_objects = 'use')")
	l.await("the copy comes to the last row", stalled)
	if err := l.daemon.Kill9(); err != nil {
		t.Fatal(err)
	}
	stalled = proxy.StallAfter(lastRow)
	proxy.Cut()
	proxy.Resume()
	l.restart()
	l.await("the second copy comes to the last row", stalled)
	l.source("UPDATE item SET v = 1000 WHERE id = 1")
	proxy.Resume()
	l.fails("full synchronization failed")
	l.contains(l.status("error"), `"public"."item"`, "violates check constraint")
	l.want("failures", l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND level = 'error'"), "1")
	l.destination("ALTER TABLE item DROP CONSTRAINT item_v_check")
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("incremental synchronization")
	l.caughtUp()
	l.equal()
}
