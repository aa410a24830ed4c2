package sync_test

import (
	"strings"
	"testing"
)

// What is in the way of a task keeps it from starting, and the suggestion removes it.
func TestFailedPrecheckStopsTheStart(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`CREATE TABLE "key less" (a int)`)
	l.create("START NOW CONFIRM ALL")
	l.fails("start failed")
	l.want("error", l.status("error"), "the precheck failed")
	l.contains(l.status("error_detail"), "replica identity", `"public"."key less"`)
	l.contains(l.status("error_hint"), "sync_prechecks")
	suggestion := l.sql("SELECT suggestion FROM sync_prechecks WHERE task = '%[1]s' AND result = 'failed' AND item = 'replica identity'")
	const fix = `ALTER TABLE "public"."key less" REPLICA IDENTITY FULL;`
	l.contains(suggestion, fix)
	l.want("tables in the destination", l.one(l.d, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0")
	l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0")

	hint := l.status("error_hint")
	query := hint[strings.Index(hint, "SELECT"):]
	l.contains(l.sql(query[:strings.Index(query, ";")]), "replica identity|")

	l.source(fix)
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
	l.source(`INSERT INTO "key less" VALUES (1), (1), (2); UPDATE "key less" SET a = 3 WHERE a = 2`)
	l.caughtUp()
	l.equal()
	l.want("error after the start", l.status("error"), "")
}

// What is to be confirmed keeps a task from starting until exactly that was confirmed.
func TestConfirmation(t *testing.T) {
	t.Parallel()
	l := setup(t, items+"CREATE UNLOGGED TABLE cache (id int PRIMARY KEY)")
	l.create("")
	l.sql("START SYNC TASK %[1]s")
	l.fails("start failed")
	l.want("error", l.status("error"), "the precheck found what has to be confirmed")
	l.contains(l.status("error_detail"), `unlogged tables: `, `"public"."cache"`)
	l.contains(l.status("error_hint"), "START SYNC TASK "+l.task+" CONFIRM ALL;")
	open := func() string {
		return l.sql("SELECT item, confirmed FROM sync_prechecks WHERE task = '%[1]s' AND result = 'to confirm'")
	}
	l.want("to confirm", open(), "unlogged tables|f")
	l.sql("START SYNC TASK %[1]s CONFIRM ('sequences')")
	l.fails("start failed")
	l.sql("START SYNC TASK %[1]s CONFIRM ('unlogged tables')")
	l.reach("incremental synchronization")
	l.want("confirmed", open(), "unlogged tables|t")
}
