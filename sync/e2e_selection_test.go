package sync_test

import (
	"strings"
	"testing"
)

// What SHOW CREATE SYNC TASK prints makes the same task again, every clause included. Only the passwords have to be given anew.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create(`FOR (SCHEMA a AS b, TABLE a.big AS small (id, "Na me" AS name) WHERE (id > 10 AND "Na me" <> E'it''s \\ )' OR "Na me" IS NULL),
			TABLE item, TABLES MATCHING 'shop.ord*', VIEW s.v AS w, MATERIALIZED VIEW m AS s.m, SEQUENCE s.q AS b.q)
		ACCOUNTS (alice, "Bob") FLOW LIMIT 50 MB PER SECOND BETWEEN '08:00' AND '12:00', '22:00' AND '06:00'
		WITH (full_conflicts = error, large_objects = off, time_zone = 'Europe/Berlin') COMMENT 'the shop' TAGS (env = 'prod')
		START AT '2100-01-01 12:00 Europe/Berlin' CONFIRM ('long transactions')`)
	look := func() string {
		return l.sql("SHOW CREATE SYNC TASK %[1]s") + "\n" + l.sql("SELECT * FROM sync_mappings WHERE task = '%[1]s' ORDER BY kind, source_name") + "\n" +
			l.sql("SELECT mode, scope, state, description, start_at, options, tags FROM sync_tasks WHERE task = '%[1]s'")
	}
	before := look()
	l.contains(before, "FOR (", "ACCOUNTS (alice", "FLOW LIMIT 50 MB", "WITH (", "COMMENT 'the shop'", "TAGS (env", "START AT '2100-01-01 11:00:00+00' CONFIRM (")
	l.contains(before, `column|a.big."Na me"|b.small.name`, "schema|a|b", "sequence|s.q|b.q", "view|s.v|s.w", "pending start")
	text := l.sql("SHOW CREATE SYNC TASK %[1]s")
	if strings.Contains(text, "password") {
		t.Error(text)
	}
	l.sql("DROP SYNC TASK %[1]s")
	l.sql("%[2]s", text)
	l.want("the imported task", look(), before)
}

// A limited copy takes its time, and goes on at full speed as soon as the limit is lifted.
func TestFlowLimitIsLifted(t *testing.T) {
	t.Parallel()
	// Rows that are small on disk and large in a COPY: at 1 MB/s they would take longer than the test may.
	l := setup(t, `CREATE TABLE wide (id int PRIMARY KEY, v text); INSERT INTO wide SELECT i, repeat('x', 1 << 20) FROM generate_series(1, 200) i`)
	l.create("MODE FULL FLOW LIMIT 1 MB PER SECOND")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.eventually("rows arrive", func() bool { return l.status("bytes_copied > 0") == "t" })
	l.want("state", l.status("state"), "full synchronization")
	l.refused("22023", "ALTER SYNC TASK %[1]s SET FLOW LIMIT 0 MB PER SECOND")
	l.sql("ALTER SYNC TASK %[1]s SET FLOW UNLIMITED")
	l.reach("completed")
	l.equal()
	l.want("percent", l.status("progress_pct"), "100.00")
}

// An object that the destination refuses is listed with its statement, and is all that is left for RESUME.
func TestFailedObjectsAreListed(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`; CREATE VIEW "Seen" AS SELECT 1 AS a; CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	l.destination(`CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no views here'; END $$;
		CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE VIEW') EXECUTE PROCEDURE public.refuse();
		ALTER EVENT TRIGGER refuse ENABLE ALWAYS`)
	l.create("MODE FULL WITH (existing_objects = use)")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.fails("full synchronization failed")
	l.contains(l.status("error || error_detail"), "no views here", "Seen")
	l.contains(l.status("error_hint"), "sync_objects", "RESUME SYNC TASK "+l.task+"; it retries what failed")
	failed := l.sql("SELECT type, source_name, destination_name, statement, error FROM sync_objects WHERE task = '%[1]s' AND state = 'failed'")
	l.contains(failed, `VIEW|public."Seen"|public."Seen"|CREATE VIEW`, "no views here")
	l.contains(l.sql("SELECT source_name, state FROM sync_objects WHERE task = '%[1]s' AND type = 'FUNCTION'"), "f(integer)", "|created")
	l.destination("DROP EVENT TRIGGER refuse")
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("completed")
	l.want("view", l.sql(`SELECT state FROM sync_objects WHERE task = '%[1]s' AND type = 'VIEW' AND source_name = 'public."Seen"'`), "created")
	l.contains(l.sql("SELECT level, detail FROM sync_log WHERE task = '%[1]s' AND event = 'several snapshots'"), "warning|Copied before: public.item")
	l.equal()
}

// Of tables and objects that fail together all are told, the row that was refused included, and what to type.
func TestFailedTablesAreListedBesideObjects(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (2), (3);
		CREATE TABLE c (id int)`)
	l.destination("CREATE DOMAIN public.c AS int")
	l.create("MODE FULL FOR ALL MAP (TABLE a AS ab, TABLE b AS ab) WITH (full_conflicts = error)")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.fails("full synchronization failed")
	l.contains(l.status("error_detail"), `type "c" already exists`, `copy "public"."ab"`, "Key (id)=(2) already exists.")
	l.contains(l.status("error_hint"), "FROM sync_tables", "FROM sync_objects", "RESUME SYNC TASK "+l.task+";")
	l.contains(l.sql("SELECT error FROM sync_tables WHERE task = '%[1]s' AND source_table = 'b'"), "Key (id)=(2) already exists.")
	l.want("far from its end", l.status("progress_pct < 50"), "t")
	l.destination("DROP DOMAIN public.c")
	l.sql("RESUME SYNC TASK %[1]s")
	l.fails("full synchronization failed")
	l.contains(l.status("error_hint"), "FROM sync_tables", "RESUME SYNC TASK "+l.task+";")
	l.source("DELETE FROM b WHERE id = 2")
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("completed")
	l.want("rows", l.one(l.d, "SELECT count(*)::text FROM public.ab"), "3")
}

// A failure with somebody else's advice, or none, says what to type as well.
func TestFailureEndsWithAStatement(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create("WITH (retry_limit = 0)")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
	l.destination("CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full USING MESSAGE = 'no room', HINT = 'Check free disk space.'; END $$;" +
		"CREATE TRIGGER full_disk BEFORE INSERT ON public.item FOR EACH ROW EXECUTE PROCEDURE public.full_disk(); ALTER TABLE public.item ENABLE ALWAYS TRIGGER full_disk")
	l.source("INSERT INTO item SELECT (SELECT max(id) FROM item) + 1")
	l.fails("incremental synchronization failed")
	l.want("hint", l.status("error_hint"), "Check free disk space. Then: RESUME SYNC TASK "+l.task+";")
	l.destination("DROP TRIGGER full_disk ON public.item")
	l.sql("RESUME SYNC TASK %[1]s")
	l.caughtUp()
	l.equal()
}
