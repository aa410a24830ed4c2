package sqlapi

import (
	"strings"
	"testing"

	"pgsyncd/catalog"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestExport: what SHOW CREATE SYNC TASK prints makes the same task again, the passwords apart.
func TestExport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, clauses := range map[string]string{
		"plain": "",
		"names": "MODE FULL FOR ALL MAP (SCHEMA a AS b, TABLE a.t AS t2, TABLE \"We ird\".\"x\"\"y\" AS c.\"z.z\") " +
			"EXCEPT (SCHEMA old, TABLE x, TABLES MATCHING '\"We ird\".tmp_?*')",
		"every": `FOR (SCHEMA a AS b, TABLE a.big AS small (id, "Na me" AS name) WHERE (id > 10 AND "Na me" <> E'it''s \\ )' -- not ;
				OR note IS NULL),
			TABLE t1 AS t, TABLE t2 AS t, TABLES MATCHING 'shop.ord*', VIEW s.v AS w, MATERIALIZED VIEW m AS s.m, SEQUENCE s.q AS b.q)
			ACCOUNTS (alice, "Bob the ""builder""") START AT '2100-01-01 12:00:00.25 Europe/Berlin' CONFIRM ('long transactions', 'it''s')
			FLOW LIMIT 50 MB PER SECOND BETWEEN '08:00' AND '12:00', '22:00' AND '06:00'
			WITH (full_conflicts = error, large_objects = off, existing_objects = append, time_zone = 'Europe/Berlin', copy_workers = 3)
			COMMENT 'the shop' TAGS (env = 'prod', "cost center" = '4 2')`,
		"all": "ACCOUNTS ALL FLOW LIMIT 9999 MB PER SECOND START AT 'tomorrow' CONFIRM ALL",
	} {
		name = "task_" + name
		b.create(name, clauses)
		before, err := b.cfg.Catalog.Task(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		text := b.do("SHOW CREATE SYNC TASK " + name).one(t)
		if strings.Contains(text, "hidden") {
			t.Errorf("%s shows a password: %s", name, text)
		}
		b.do("DROP SYNC TASK " + name)
		b.do(text)
		after, err := b.cfg.Catalog.Task(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if after.Source.Reveal() != strings.Replace(nowhere, " password=hidden", "", 1) {
			t.Errorf("%s: source %s", name, after.Source.Reveal())
		}
		same := cmpopts.IgnoreFields(catalog.Task{}, "ID", "Source", "Destination", "CreatedAt", "Since", "SQL")
		if diff := cmp.Diff(before, after, same); diff != "" {
			t.Errorf("%s: %s\n%s", name, diff, text)
		}
		if again := b.do("SHOW CREATE SYNC TASK " + name).one(t); again != text {
			t.Errorf("%s: %s\n%s", name, text, again)
		}
		b.do("DROP SYNC TASK " + name)
	}
}

// TestSelectionChanges: FOR, ACCOUNTS and FLOW are changed one by one, and each leaves the others alone.
func TestSelectionChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "FOR (SCHEMA a AS b, TABLE a.t (x AS y)) ACCOUNTS (ann) FLOW LIMIT 5 MB PER SECOND")
	mappings := "SELECT string_agg(concat_ws(' ', kind, source_name, destination_name), ', ' ORDER BY kind) FROM sync_mappings WHERE task = 'shop'"
	for _, s := range []struct{ sql, code, want string }{
		{mappings, "", "column a.t.x b.t.y, schema a b"},
		{"ALTER SYNC TASK shop SET FOR ALL MAP (TABLE t AS u)", "", ""},
		{mappings, "", "table public.t public.u"},
		{"SHOW CREATE SYNC TASK shop", "", "ACCOUNTS (ann)"},
		{"SHOW CREATE SYNC TASK shop", "", "FLOW LIMIT 5 MB PER SECOND"},
		{"ALTER SYNC TASK shop SET ACCOUNTS ALL", "", ""},
		{"SHOW CREATE SYNC TASK shop", "", "FOR ALL MAP (TABLE t AS u)"},
		{"SHOW CREATE SYNC TASK shop", "", "ACCOUNTS ALL"},
		{"ALTER SYNC TASK shop SET FLOW LIMIT 7 MB PER SECOND BETWEEN '22:00' AND '06:00'", "", ""},
		{"SHOW CREATE SYNC TASK shop", "", "FLOW LIMIT 7 MB PER SECOND BETWEEN '22:00' AND '06:00'"},
		{"SELECT message FROM sync_log WHERE event = 'flow'", "", "LIMIT 7 MB"},
		{mappings, "", "table public.t public.u"},
		{"ALTER SYNC TASK shop SET FOR (TABLE t AS t)", CodeInvalidValue, "onto itself"},
		{"ALTER SYNC TASK shop START", CodeSyntax, ""},
	} {
		b.expect(s.sql, b.as(Operator, s.sql), s.code, s.want)
	}
	b.fire("shop", catalog.EventStart, catalog.EventFullBegun)
	for _, s := range []struct{ sql, code, want string }{
		{"ALTER SYNC TASK shop SET FOR ALL", CodeWrongState, "full synchronization"},
		{"ALTER SYNC TASK shop SET ACCOUNTS NONE", CodeWrongState, "full synchronization"},
		{"ALTER SYNC TASK shop SET FLOW UNLIMITED", "", ""},
	} {
		b.expect(s.sql, b.as(Operator, s.sql), s.code, s.want)
	}
	task, err := b.cfg.Catalog.Task(t.Context(), "shop")
	if err != nil || task.Flow.MBPerSecond != 0 {
		t.Errorf("%+v %v", task.Flow, err)
	}
	for _, sql := range []string{
		"CREATE SYNC TASK mine FROM '" + nowhere + "' TO '" + nowhere + "' FOR (SCHEMA s) ACCOUNTS ALL FLOW LIMIT 1 MB PER SECOND",
		"ALTER SYNC TASK shop SET FOR (TABLE t WHERE (x > 1))", "ALTER SYNC TASK shop SET ACCOUNTS (ann)",
		"ALTER SYNC TASK shop SET FLOW UNLIMITED",
	} {
		if a := b.as(Monitor, sql); a.code() != CodeDenied {
			t.Errorf("%s as monitor: %s", sql, a.text())
		}
	}
}

// TestPastStart: a time that is over starts the task at once, and says so.
func TestPastStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	created := b.do("CREATE SYNC TASK shop FROM '" + nowhere + "' TO '" + nowhere + "' START AT '2001-02-03 04:05 UTC'")
	for sql, a := range map[string]answer{
		"CREATE": created, "START": b.do("START SYNC TASK shop AT '2001-02-03 04:05 UTC'"),
		"ALTER": b.do("ALTER SYNC TASK shop SET START AT '2001-02-03 04:05 UTC'"),
	} {
		if len(a.notices) != 1 || !strings.Contains(a.notices[0], "2001-02-03 04:05:00 +00:00 has passed") {
			t.Errorf("%s: %v", sql, a.notices)
		}
	}
	if a := b.do("START SYNC TASK shop AT '2100-01-01'"); len(a.notices) != 0 {
		t.Error(a.text())
	}
}

// TestLeftoversAreForgotten: the list of what a task left outlives it, until the task is dropped once more.
func TestLeftoversAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "")
	task, err := b.cfg.Catalog.Task(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	left := []catalog.Leftover{{Side: "source", Kind: "replication slot", Name: "s", CleanupSQL: "SELECT 1"}}
	if err := b.cfg.Catalog.SaveLeftovers(t.Context(), task.ID, "shop", left); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct{ sql, code, want string }{
		{"ALTER SYNC TASK shop RENAME TO store", "", ""},
		{"SELECT task, name FROM sync_leftovers", "", "store s"},
		{"ALTER SYNC TASK store RENAME TO shop", "", ""},
		{"DROP SYNC TASK shop", "", ""},
		{"SELECT task, name FROM sync_leftovers", "", "shop s"},
		{"DROP SYNC TASK shop, nobody", CodeUndefined, "nobody"},
		{"SELECT count(*) FROM sync_leftovers", "", "0"},
		{"DROP SYNC TASK shop", CodeUndefined, "shop"},
	} {
		b.expect(s.sql, b.as(Operator, s.sql), s.code, s.want)
	}
}
