package sync_test

import (
	"testing"

	"pgsyncd/testenv"
)

// A full task takes the selected tables only, ends by itself, and has never had a slot or a publication.
func TestFullOnly(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`
		CREATE TABLE "Odd Name" (id serial PRIMARY KEY, t text); INSERT INTO "Odd Name" (t) SELECT 'x' FROM generate_series(1, 10);
		CREATE TABLE other (id int PRIMARY KEY)`)
	l.create(`MODE FULL FOR (TABLE item, TABLE public."Odd Name") START NOW CONFIRM ALL`)
	l.reach("completed")
	testenv.MustEqual(t, l.s, l.d, `public.item`, `public."Odd Name"`)
	l.want("tables", l.one(l.d, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"), "Odd Name\nitem")
	l.want("sequence", l.one(l.d, `SELECT last_value >= 10 FROM "Odd Name_id_seq"`), "t")
	l.want("slots", l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"), "")
	l.want("publications", l.one(l.s, "SELECT pubname FROM pg_publication"), "")
	l.want("schemas", l.one(l.d, "SELECT nspname FROM pg_namespace WHERE nspname = 'pgsyncd'"), "")
	l.want("log", l.sql("SELECT event FROM sync_log WHERE task = '%[1]s' ORDER BY time"), "create\nstart\nfull begun\nfull done\ncompleted")
	l.want("figures", l.status("progress_pct, tables_done, tables_total, rows_copied"), "100.00|2|2|110")
	l.want("tables", l.sql("SELECT source_table, state FROM sync_tables WHERE task = '%[1]s' ORDER BY 1"), "Odd Name|done\nitem|done")
	l.contains(l.refused("55000", "WAIT FOR SYNC TASK %[1]s CAUGHT UP").Hint, "TO REACH 'completed'")
}

// Changes of tables that nobody selected are not applied, and do not disturb.
func TestSelectedTablesStream(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`CREATE SCHEMA s2; CREATE TABLE s2.item (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)`)
	l.start("FOR (TABLE item, TABLE s2.item)")
	l.source("INSERT INTO other VALUES (1); INSERT INTO s2.item VALUES (1); UPDATE item SET v = 7; INSERT INTO other VALUES (2)")
	l.caughtUp()
	testenv.MustEqual(t, l.s, l.d, "public.item", "s2.item")
	l.want("other", l.one(l.d, "SELECT to_regclass('public.other')"), "")
	l.want("published", l.one(l.s, "SELECT schemaname, tablename FROM pg_publication_tables ORDER BY 1"), "public|item\ns2|item")
}

// A table that comes after the task began is not synchronized, and the task says so, once.
func TestFurtherTableIsNamed(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("")
	l.source("CREATE TABLE further (id int PRIMARY KEY); INSERT INTO further VALUES (1)")
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	l.sql("RESUME SYNC TASK %[1]s") // a stream looks for such tables when it begins, then every minute
	const warnings = "SELECT message FROM sync_log WHERE task = '%[1]s' AND level = 'warning'"
	l.eventually("the warning", func() bool { return l.sql(warnings) != "" })
	l.want("warnings", l.sql(warnings), `table "public"."further" does not belong to the task, so its rows are not synchronized`)
	l.caughtUp()
	l.want("further", l.one(l.d, "SELECT to_regclass('public.further')"), "")
}

// Several tasks of one source have nothing to do with each other.
func TestOneToMany(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("")
	second := *l
	second.task += "b"
	second.dstDB = l.dst.Database(t)
	second.d, second.to = l.dst.Connect(t, second.dstDB), l.dst.ConnString(second.dstDB)
	second.start("FOR (TABLE item)")
	l.source("UPDATE item SET v = v + 1")
	l.caughtUp()
	second.caughtUp()
	l.equal()
	second.equal()
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.source("UPDATE item SET v = v + 1")
	second.caughtUp()
	second.equal()
	l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND active"), "1")
	second.sql("STOP SYNC TASK %[1]s")
	second.reach("completed")
	l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0")
	second.sql("DROP SYNC TASK %[1]s")
}

// Two tasks write to one destination; the end of one leaves the other what it needs there.
func TestManyToOne(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	second := *l
	second.task += "b"
	second.srcDB = l.src.Database(t)
	second.s, second.from = l.src.Connect(t, second.srcDB), l.src.ConnString(second.srcDB)
	second.source("CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 100)")
	l.start("")
	second.start("")
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	second.source("DELETE FROM other WHERE id > 50")
	second.caughtUp()
	second.equal()
	l.equal()
	second.sql("STOP SYNC TASK %[1]s")
	second.reach("completed")
	l.want("schemas", l.one(l.d, "SELECT nspname FROM pg_namespace WHERE nspname = 'pgsyncd'"), "")
	second.sql("DROP SYNC TASK %[1]s")
}
