package sqlapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// samples has a statement of every form, by its tag. The task is called shop.
var samples = map[string]string{
	"CREATE SYNC TASK":         "CREATE SYNC TASK other FROM '" + nowhere + "' TO '" + nowhere + "'",
	"ALTER SYNC TASK":          "ALTER SYNC TASK shop COMMENT 'x'",
	"TEST SYNC TASK":           "TEST SYNC TASK shop",
	"TEST SYNC CONNECTION":     "TEST SYNC CONNECTION '" + nowhere + "' AS SOURCE",
	"PRECHECK SYNC TASK":       "PRECHECK SYNC TASK shop",
	"EXPLAIN CREATE SYNC TASK": "EXPLAIN CREATE SYNC TASK other FROM '" + nowhere + "' TO '" + nowhere + "'",
	"EXPLAIN SYNC TASK":        "EXPLAIN SYNC TASK shop",
	"START SYNC TASK":          "START SYNC TASK shop AT 'tomorrow 03:00'",
	"PAUSE SYNC TASK":          "PAUSE SYNC TASK shop",
	"RESUME SYNC TASK":         "RESUME SYNC TASK shop",
	"RESET SYNC TASK":          "RESET SYNC TASK shop",
	"STOP SYNC TASK":           "STOP SYNC TASK shop",
	"DROP SYNC TASK":           "DROP SYNC TASK other",
	"CLONE SYNC TASK":          "CLONE SYNC TASK shop AS copy",
	"WAIT FOR SYNC TASK":       "WAIT FOR SYNC TASK shop TO REACH 'pending start'",
	"COMPARE SYNC TASK":        "COMPARE SYNC TASK done ROWS",
	"CANCEL COMPARE":           "CANCEL COMPARE 1",
	"REPAIR COMPARE":           "REPAIR COMPARE 1",
	"ALTER COMPARE SCHEDULE":   "ALTER COMPARE SCHEDULE nightly DISABLE",
	"DROP COMPARE SCHEDULE":    "DROP COMPARE SCHEDULE nightly",
	"SHOW COMPARE REPORT":      "SHOW COMPARE REPORT 1",
	"CREATE SYNC USER":         "CREATE SYNC USER olga PASSWORD 'pw' ROLE OPERATOR",
	"ALTER SYNC USER":          "ALTER SYNC USER olga ROLE MONITOR",
	"DROP SYNC USER":           "DROP SYNC USER olga",
	"SHOW SYNC TASKS":          "SHOW SYNC TASKS",
	"SHOW SYNC TASK":           "SHOW SYNC TASK shop",
	"SHOW CREATE SYNC TASK":    "SHOW CREATE SYNC TASK shop",
	"SHOW SYNC OBJECTS":        "SHOW SYNC OBJECTS shop",
	"SHOW SYNC HELP":           "SHOW SYNC HELP 'user'",
	"SHOW SYNC DDL SETUP":      "SHOW SYNC DDL SETUP shop",
}

// TestPrivileges tries every form as everybody. What is expected is said here once more, apart from the forms.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, f := range forms {
		sql, ok := samples[f.Tag]
		if !ok {
			t.Fatalf("no sample of %s", f.Tag)
		}
		needed := Operator
		switch {
		case strings.HasPrefix(f.Tag, "SHOW "), f.Tag == "WAIT FOR SYNC TASK":
			needed = Monitor
		case strings.HasSuffix(f.Tag, "SYNC USER"):
			needed = Admin
		}
		for i, p := range []Privilege{Monitor, Operator, Admin, "", "superuser"} {
			allowed := i < 3 && i >= slices.Index([]Privilege{Monitor, Operator, Admin}, needed)
			_, err := b.Prepare(&Session{User: "somebody", Privilege: p}, sql)
			denied := err != nil && AsError(err).Code == CodeDenied
			if denied == allowed {
				t.Errorf("%s as %q: %v", sql, p, err)
			}
			if denied && !strings.Contains(AsError(err).Detail, strings.ToUpper(string(needed))) {
				t.Errorf("%s as %q: detail %q", sql, p, AsError(err).Detail)
			}
		}
	}
	a := b.as(Operator, "TEST SYNC CONNECTION 'host=/tmp dbname=x user=y'")
	if a.code() != CodeDenied {
		t.Errorf("an operator reaches a Unix socket: %s", a.text())
	}
	if a = b.as(Operator, "CREATE SYNC TASK sock FROM 'host=/tmp user=y dbname=z' TO '"+nowhere+"'"); a.code() != CodeDenied {
		t.Errorf("an operator's task reaches a Unix socket: %s", a.text())
	}
}

// TestRepairs: one row per differing row, notes as notices, refusals with what to do instead.
func TestRepairs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for statement, outcome := range map[string]string{"REPAIR COMPARE 1": "repaired", "REPAIR COMPARE 1 DRY RUN": "would be repaired by some operator"} {
		a := b.as(Operator, statement)
		want := [][]string{{"t", "extra", `{"id": "1"}`, "DELETE", outcome}, {"t", "missing", "∅", "∅", "refused"}}
		if diff := cmp.Diff(want, a.rows); diff != "" || a.err != nil {
			t.Errorf("%s: %s%s", statement, a.text(), diff)
		}
		notices := []string{"a note"}
		if outcome == "repaired" {
			notices = append(notices, "the repaired tables are compared again: comparison 8  SELECT state, tables_different, rows_different FROM sync_compares WHERE run_id = 8;")
		}
		if diff := cmp.Diff(notices, a.notices); diff != "" {
			t.Errorf("%s: notices: %s", statement, diff)
		}
	}
	for statement, code := range map[string]string{"REPAIR COMPARE 2": CodeWrongState, "REPAIR COMPARE 3 DRY RUN": CodeUndefined, "SHOW COMPARE REPORT 2": CodeUndefined} {
		if a := b.as(Operator, statement); a.code() != code || a.err.Hint == "" {
			t.Errorf("%s: %s", statement, a.text())
		}
	}
	if a := b.as(Operator, "REPAIR COMPARE 2"); a.err.Detail != "The reason." || a.err.Hint != "The way out." {
		t.Error(a.text())
	}
	if a := b.as(Monitor, "REPAIR COMPARE 1 DRY RUN"); a.code() != CodeDenied {
		t.Error(a.text())
	}
	if a := b.as(Monitor, "SHOW COMPARE REPORT 1"); len(a.rows) != 1 || a.rows[0][0] != "<html>" {
		t.Error(a.text())
	}
}

// TestEveryForm executes every form once and looks at what it returns. The queries run as a client of the least privilege.
func TestEveryForm(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "WITH (conflict_policy = 'ignore') COMMENT 'a shop' TAGS (env = 'test')")
	b.create("done", "")
	b.fire("done", catalog.EventStart, catalog.EventFullBegun, catalog.EventFullDone)
	b.do("COMPARE SYNC TASK shop ROWS EVERY '@daily' AS nightly")
	columns := map[string]string{
		"TEST SYNC TASK":        "endpoint item result found suggestion",
		"TEST SYNC CONNECTION":  "endpoint item result found suggestion",
		"PRECHECK SYNC TASK":    "category item result found suggestion confirmed",
		"COMPARE SYNC TASK":     "run_id",
		"REPAIR COMPARE":        "table kind key statement outcome",
		"SHOW COMPARE REPORT":   "report",
		"SHOW SYNC TASKS":       "task mode state source destination description",
		"SHOW CREATE SYNC TASK": "statement",
		"SHOW SYNC OBJECTS":     "type source_name destination_name state error",
		"SHOW SYNC HELP":        "statement synopsis description",
	}
	refused := map[string]string{ // by SQLSTATE
		"EXPLAIN CREATE SYNC TASK": CodeUnsupported, "EXPLAIN SYNC TASK": CodeUnsupported, "RESET SYNC TASK": CodeWrongState,
		"CLONE SYNC TASK":     CodeUnsupported,
		"SHOW SYNC DDL SETUP": CodeUnsupported, "PAUSE SYNC TASK": CodeWrongState, "RESUME SYNC TASK": CodeWrongState,
		"STOP SYNC TASK": CodeWrongState,
	}
	for _, f := range forms {
		a := b.as(Admin, samples[f.Tag])
		switch {
		case a.code() != refused[f.Tag]:
			t.Errorf("%s: %s", f.Tag, a.text())
		case a.err != nil:
			if a.err.Hint == "" {
				t.Errorf("%s: no hint: %s", f.Tag, a.text())
			}
		case f.Rows:
			if want := columns[f.Tag]; want != "" && strings.Join(a.columns, " ") != want {
				t.Errorf("%s: columns %q", f.Tag, a.columns)
			}
			if len(a.rows) == 0 && f != formShowObjects {
				t.Errorf("%s: no rows", f.Tag)
			}
		case a.tag != f.Tag || a.columns != nil:
			t.Errorf("%s: %s", f.Tag, a.text())
		}
		delete(columns, f.Tag)
	}
	if len(columns) > 0 {
		t.Errorf("columns of no form: %v", columns)
	}
}

// TestQueriesBeforeTheirStatement: a client may describe a query, or even run it, before the statement has run.
func TestQueriesBeforeTheirStatement(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, f := range forms {
		prepared, err := b.Prepare(&Session{ID: 7, Privilege: Admin}, samples[f.Tag])
		if err != nil {
			continue // one that is not supported
		}
		if f.Rows != (prepared.Query != "") {
			t.Errorf("%s: query %q", f.Tag, prepared.Query)
		}
		if !f.Rows {
			continue
		}
		for _, p := range []Privilege{Monitor, Operator, Admin} {
			sd, err := b.session(p).Prepare(t.Context(), "", prepared.Query, nil)
			if err != nil || len(sd.ParamOIDs) != 0 || len(sd.Fields) == 0 {
				t.Errorf("%s as %s: %+v %v", f.Tag, p, sd, err)
			}
			if _, err := b.session(p).Exec(t.Context(), prepared.Query).ReadAll(); err != nil {
				t.Errorf("%s as %s: %v", f.Tag, p, err)
			}
		}
		again, err := b.Prepare(&Session{ID: 7, Privilege: Admin}, samples[f.Tag])
		if err != nil || strings.Contains(prepared.Query, "statement_result") && again.Query == prepared.Query {
			t.Errorf("%s: two statements share a result: %v", f.Tag, err)
		}
	}
}

// TestResults are kept until the session ends, and no longer.
func TestResults(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := &Session{ID: 3, Privilege: Monitor, Notice: func(Notice) {}}
	prepared, err := b.Prepare(s, "SHOW SYNC HELP 'user'")
	if err != nil {
		t.Fatal(err)
	}
	kept := func() string {
		return b.do("SELECT count(*) FROM (" + prepared.Query + ") r").one(t)
	}
	for range 2 { // a prepared statement may run again
		if err := b.Run(t.Context(), s, prepared); err != nil || kept() != "3" {
			t.Errorf("%s rows, %v", kept(), err)
		}
	}
	b.Release(&Session{ID: 4})
	if kept() != "3" {
		t.Error("the end of another session took the rows")
	}
	b.Release(s)
	if kept() != "0" {
		t.Error("the rows outlive their session")
	}
}

func TestTasks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "MODE FULL FOR (TABLE a, TABLE s.b) WITH (conflict_policy = 'overwrite') COMMENT 'one' TAGS (k = 'v')")
	b.create("depot", "TAGS (k = 'v')")
	steps := []struct{ sql, code, want string }{
		{"CREATE SYNC TASK shop FROM '" + nowhere + "' TO '" + nowhere + "'", CodeDuplicate, `task "shop" already exists`},
		{"CREATE SYNC TASK IF NOT EXISTS shop FROM '" + nowhere + "' TO '" + nowhere + "'", "", "already exists, skipping"},
		{"CREATE SYNC TASK third FROM 'host=a user=u dbname=d nonsense=1' TO '" + nowhere + "'", CodeInvalidValue, `source: `},
		{"CREATE SYNC TASK third FROM '" + nowhere + "' TO 'host=a user=u dbname=d port=99999'", CodeInvalidValue, `destination: `},
		{"SHOW CREATE SYNC TASK shop", "", "FOR ( TABLE a, TABLE s.b) WITH (conflict_policy = overwrite) COMMENT 'one' TAGS (k = 'v');"},
		{"SHOW CREATE SYNC TASK nobody", CodeUndefined, `task "nobody" does not exist`},
		{"SHOW SYNC TASK nobody", CodeUndefined, "SHOW SYNC TASKS"},
		{"ALTER SYNC TASK shop RENAME TO depot", CodeDuplicate, `task "depot" already exists`},
		{"ALTER SYNC TASK IF EXISTS nobody COMMENT 'x'", "", "does not exist, skipping"},
		{"ALTER SYNC TASK shop RENAME TO store", "", ""},
		{"ALTER SYNC TASK store COMMENT 'two'", "", ""},
		{"ALTER SYNC TASK store SET TAG colour = 'red'", "", ""},
		{"ALTER SYNC TASK store DROP TAG k", "", ""},
		{"ALTER SYNC TASK store DROP TAG k", CodeUndefined, `no tag "k"`},
		{"ALTER SYNC TASK store SET (heartbeat_interval = '30s', conflict_policy = 'ignore')", "", ""},
		{"ALTER SYNC TASK store RESET (conflict_policy)", "", ""},
		{"ALTER SYNC TASK store SET MODE INCREMENTAL", "", ""},
		{"ALTER SYNC TASK store SET (existing_objects = replace)", CodeInvalidValue, "does not go with MODE INCREMENTAL"},
		{"ALTER SYNC TASK store SET (create_database = true)", CodeInvalidValue, "MODE FULL AND INCREMENTAL makes them"},
		{"ALTER SYNC TASK store SET ACCOUNTS ALL", CodeInvalidValue, "ACCOUNTS does not go with MODE INCREMENTAL"},
		{"CREATE SYNC TASK third FROM '" + nowhere + "' TO '" + nowhere + "' MODE INCREMENTAL ACCOUNTS ALL", CodeInvalidValue, "ACCOUNTS"},
		{"RESET SYNC TASK store", CodeWrongState, "cannot reset task"},
		{"ALTER SYNC TASK store SET MODE FULL AND INCREMENTAL", "", ""},
		{"ALTER SYNC TASK store SET FOR (TABLE c)", "", ""},
		{"ALTER SYNC TASK store SET SOURCE 'host=elsewhere user=app dbname=shop'", "", ""},
		{"SHOW CREATE SYNC TASK store", "", "elsewhere"},
		{"SELECT accounts, flow FROM sync_tasks WHERE task = 'store'", "", "NONE UNLIMITED"},
		{"ALTER SYNC TASK store SET ACCOUNTS (b, \"A a\")", "", ""},
		{"ALTER SYNC TASK store SET FLOW LIMIT 20 MB PER SECOND BETWEEN '08:05' AND '18:00', '23:00' AND '24:00'", "", ""},
		{"SELECT accounts, flow FROM sync_tasks WHERE task = 'store'", "", `(b, "A a") LIMIT 20 MB PER SECOND BETWEEN '08:05' AND '18:00', '23:00' AND '24:00'`},
		{"ALTER SYNC TASK store SET ACCOUNTS ALL", "", ""},
		{"ALTER SYNC TASK store SET FLOW LIMIT 9 MB PER SECOND", "", ""},
		{"SELECT accounts, flow FROM sync_tasks WHERE task = 'store'", "", "ALL LIMIT 9 MB PER SECOND"},
		{"ALTER SYNC TASK store SET ACCOUNTS NONE", "", ""},
		{"ALTER SYNC TASK store SET FLOW UNLIMITED", "", ""},
		{"START SYNC TASK store, nobody", CodeUndefined, "nobody"},
		{"SELECT state FROM sync_tasks WHERE task = 'store'", "", "configuration"},
		{"START SYNC TASK IF EXISTS nobody, store AT '2100-01-01 00:00'", "", "skipping"},
		{"SELECT state, start_at::date FROM sync_tasks WHERE task = 'store'", "", "pending start 2100-01-01"},
		{"ALTER SYNC TASK store SET START MANUAL", "", ""},
		{"START SYNC TASK store, store", "", ""},
		{"START SYNC TASK store", CodeWrongState, `"starting"`},
		{"PAUSE SYNC TASK depot, store", CodeWrongState, `"configuration"`},
		{"PAUSE SYNC TASK WHERE TAG colour = 'blue'", "", "no task has the tag"},
		{"PAUSE SYNC TASK WHERE TAG colour = 'red'", "", ""},
		{"SELECT task || ' ' || message FROM sync_log WHERE event = 'pause'", "", "store"},
		{"ALTER SYNC TASK store SET MODE FULL", CodeWrongState, "starting"},
		{"ALTER SYNC TASK store SET DESTINATION 'host=other dbname=d user=u'", CodeWrongState, "PAUSE SYNC TASK store;"},
		{"DROP SYNC TASK store", CodeWrongState, "DROP SYNC TASK store FORCE;"},
		{"DROP SYNC TASK depot, store", CodeWrongState, `"starting"`},
		{"SELECT count(*) FROM sync_tasks", "", "2"},
		{"DROP SYNC TASK IF EXISTS nobody, depot, depot", "", "skipping"},
		{"SELECT count(*) FROM sync_tasks", "", "1"},
		{"WAIT FOR SYNC TASK depot TO REACH 'paused'", CodeUndefined, "depot"},
	}
	for _, s := range steps {
		b.expect(s.sql, b.as(Admin, s.sql), s.code, s.want)
	}
	want := "CREATE SYNC TASK store FROM 'host=elsewhere dbname=shop user=app' TO 'host=127.0.0.1 port=1 " +
		"dbname=shop user=app sslmode=disable' MODE FULL AND INCREMENTAL FOR (TABLE c) WITH (heartbeat_interval = '30s') COMMENT 'two' " +
		"TAGS (colour = 'red');"
	if got := strings.Join(strings.Fields(b.do("SHOW CREATE SYNC TASK store").one(t)), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// expect compares an answer with a SQLSTATE and a part of its text.
func (b *bench) expect(sql string, a answer, code, part string) {
	b.Helper()
	text := strings.Join(strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(a.text())), " ")
	if a.code() != code || !strings.Contains(text, part) {
		b.Errorf("%s: want %q %q, got %s", sql, code, part, a.text())
	}
}

// TestWrongState names the state and what can be done, in statements that would be accepted.
func TestWrongState(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop-1", "")
	events := []catalog.Event{
		"", catalog.EventStart, catalog.EventFullBegun, catalog.EventIncrementalBegun, catalog.EventPaused,
		catalog.EventResume, catalog.EventFailedIncremental, catalog.EventForceStop, catalog.EventStopFailed,
	}
	verbs := []string{"START", "PAUSE", "RESUME", "STOP", "DROP"}
	for _, ev := range events {
		if ev != "" {
			b.fire("shop-1", ev)
		}
		task, err := b.cfg.Catalog.Task(t.Context(), "shop-1")
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range verbs {
			event := catalog.Event(strings.ToLower(verb))
			if _, ok := catalog.Next(task.State, event); ok {
				continue
			}
			a := b.as(Operator, verb+` SYNC TASK "shop-1"`)
			if a.code() != CodeWrongState || !strings.Contains(a.err.Detail, `"`+string(task.State)+`"`) {
				t.Errorf("%s in %s: %s", verb, task.State, a.text())
				continue
			}
			for _, statement := range strings.SplitAfter(strings.TrimPrefix(a.err.Hint, "Possible now: "), ";") {
				statement = strings.TrimPrefix(strings.TrimSpace(statement), "Or, to end it in any state: ")
				statement = strings.NewReplacer("'…'", "'tomorrow 03:00'", " …", " COMMENT ''").Replace(statement)
				if statement == "" {
					continue
				}
				if _, err := Parse(strings.TrimSuffix(statement, ";")); err != nil {
					t.Errorf("%s in %s: the hint %q: %v", verb, task.State, statement, err)
				}
			}
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "")
	if a := b.as(Monitor, "WAIT FOR SYNC TASK shop TO REACH 'paused' TIMEOUT '1 ms'"); a.code() != CodeCancelled || !strings.Contains(a.err.Detail, "configuration") {
		t.Error(a.text())
	}
	if a := b.as(Monitor, "WAIT FOR SYNC TASK shop TO REACH 'configuration'"); a.err != nil || a.tag != "WAIT FOR SYNC TASK" {
		t.Error(a.text())
	}
	b.fire("shop", catalog.EventStart, catalog.EventFailed)
	if a := b.as(Monitor, "WAIT FOR SYNC TASK shop CAUGHT UP"); a.code() != CodeWrongState || a.err.Detail != "what went wrong" || a.err.Hint != "what to do" {
		t.Error(a.text())
	}
	b.fire("shop", catalog.EventStart)
	done := make(chan answer)
	go func() { done <- b.as(Monitor, "WAIT FOR SYNC TASK shop TO REACH 'full synchronization'") }()
	b.fire("shop", catalog.EventFullBegun)
	if a := <-done; a.err != nil {
		t.Error(a.text())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &Session{Privilege: Monitor, Notice: func(Notice) {}}
	prepared, err := b.Prepare(s, "WAIT FOR SYNC TASK shop TO REACH 'paused'")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(ctx, s, prepared); AsError(err).Code != CodeCancelled {
		t.Errorf("cancelled: %v", err)
	}
	b.create("once", "MODE FULL")
	b.fire("once", catalog.EventStart)
	if a := b.as(Monitor, "WAIT FOR SYNC TASK once CAUGHT UP"); a.code() != CodeWrongState || !strings.Contains(a.err.Hint, "completed") {
		t.Error(a.text())
	}
}

// TestDropForce ends a live task first; the runner is played by the test.
func TestDropForce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "")
	b.fire("shop", catalog.EventStart, catalog.EventFullBegun)
	done := make(chan answer)
	go func() { done <- b.as(Operator, "DROP SYNC TASK shop FORCE") }()
	testenv.Eventually(t, "the task is told to stop", func() bool {
		return b.do("SELECT state FROM sync_tasks").one(t) == string(catalog.StateStopping)
	})
	b.fire("shop", catalog.EventDrained, catalog.EventCompleted)
	if a := <-done; a.err != nil || len(a.notices) != 1 || !strings.Contains(a.notices[0], "sync_leftovers") {
		t.Error(a.text())
	}
	if n := b.do("SELECT count(*) FROM sync_tasks").one(t); n != "0" {
		t.Errorf("%s tasks are left", n)
	}
}

func TestComparisons(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "WITH (time_zone = 'Europe/Berlin')")
	b.fire("shop", catalog.EventStart, catalog.EventFullBegun, catalog.EventFullDone)
	id := b.do("COMPARE SYNC TASK shop VALUES FOR (TABLE a, TABLE \"S\".\"b.c\") WITH (time_limit = '5 min', workers = 3)").one(t)
	run, err := b.cfg.Catalog.Compare(t.Context(), 1)
	if err != nil || id != "1" || run.Type != "VALUES" || run.State != "queued" {
		t.Errorf("%s %+v %v", id, run, err)
	}
	if diff := cmp.Diff([]string{`"public"."a"`, `"S"."b.c"`}, run.Tables); diff != "" {
		t.Error(diff)
	}
	for _, s := range []struct{ sql, code, want string }{
		{"COMPARE SYNC TASK nobody ROWS", CodeUndefined, "nobody"},
		{"CANCEL COMPARE 1", "", ""},
		{"CANCEL COMPARE 1", CodeWrongState, "cancelled"},
		{"CANCEL COMPARE 99", CodeUndefined, "99"},
		{"COMPARE SYNC TASK shop ROWS EVERY '0 3 * * *' AS nightly WITH (max_table_rows = 1000)", "", "nightly"},
		{"SELECT schedule, cron, time_zone, enabled, next_run > now() FROM sync_schedules", "", "nightly 0 3 * * * Europe/Berlin t t"},
		{"COMPARE SYNC TASK shop ROWS EVERY '0 3 * * *' AS nightly", CodeDuplicate, "nightly"},
		{"COMPARE SYNC TASK shop ROWS EVERY '0 3 30 2 *'", CodeInvalidValue, "0 3 30 2 *"},
		{"ALTER COMPARE SCHEDULE nightly EVERY '0 4 * * *' TIME ZONE 'UTC'", "", ""},
		{"SELECT cron, time_zone, extract(hour FROM next_run AT TIME ZONE 'UTC') FROM sync_schedules", "", "0 4 * * * UTC 4"},
		{"ALTER COMPARE SCHEDULE nightly DISABLE", "", ""},
		{"SELECT enabled, next_run IS NULL FROM sync_schedules", "", "f t"},
		{"ALTER COMPARE SCHEDULE nightly RENAME TO daily", "", ""},
		{"ALTER COMPARE SCHEDULE nightly ENABLE", CodeUndefined, "nightly"},
		{"ALTER COMPARE SCHEDULE daily ENABLE", "", ""},
		{"COMPARE SYNC TASK shop ROWS AT '2100-01-01 12:00'", "", "2100-01-01 11:00:00+00"},
		{"SELECT count(*), min(time_zone) FROM sync_schedules WHERE cron IS NULL OR cron = ''", "", "1 Europe/Berlin"},
		{"DROP COMPARE SCHEDULE daily", "", ""},
		{"DROP COMPARE SCHEDULE daily", CodeUndefined, "daily"},
		{"DROP COMPARE SCHEDULE IF EXISTS daily", "", "skipping"},
	} {
		b.expect(s.sql, b.as(Operator, s.sql), s.code, s.want)
	}
}

// TestComparisonsWithoutData: a task whose data is not complete is compared later, not now, and what to do until then is said.
func TestComparisonsWithoutData(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.create("shop", "")
	b.create("Shop", "MODE FULL")
	for _, s := range []struct {
		task   string
		events []catalog.Event
		hint   string // empty: the comparison is accepted
	}{
		{"shop", nil, "START SYNC TASK shop;"},
		{"shop", []catalog.Event{catalog.EventStart}, "WAIT FOR SYNC TASK shop TO REACH 'incremental synchronization';"},
		{"Shop", []catalog.Event{catalog.EventStart, catalog.EventFullBegun}, `WAIT FOR SYNC TASK "Shop" TO REACH 'completed';`},
		{"shop", []catalog.Event{catalog.EventFullBegun, catalog.EventFullDone}, ""},
	} {
		b.fire(s.task, s.events...)
		a := b.as(Operator, "COMPARE SYNC TASK "+quoteIdentifier(s.task)+" ROWS")
		switch e := AsError(a.err); {
		case s.hint == "" && a.err != nil:
			t.Errorf("after %v: %s", s.events, a.text())
		case s.hint == "":
		case a.err == nil:
			t.Errorf("after %v it is compared", s.events)
		case e.Code != CodeWrongState || !strings.Contains(e.Hint, s.hint) || !strings.Contains(e.Detail, "not complete"):
			t.Errorf("after %v: %+v", s.events, e)
		}
		if a := b.as(Operator, "COMPARE SYNC TASK "+quoteIdentifier(s.task)+" ROWS EVERY '@daily'"); a.err != nil || len(a.notices) != 0 {
			t.Errorf("a schedule after %v: %s", s.events, a.text())
		}
	}
	a := b.do("COMPARE SYNC TASK shop VALUES AT '2001-02-03 04:05 UTC'")
	if len(a.notices) != 1 || !strings.Contains(a.notices[0], "2001-02-03 04:05:00 +00:00 has passed") {
		t.Errorf("a time that is over: %v", a.notices)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, s := range []struct{ sql, code, want string }{
		{"CREATE SYNC USER olga PASSWORD 'first' ROLE OPERATOR", "", ""},
		{"CREATE SYNC USER olga PASSWORD 'x' ROLE ADMIN", CodeDuplicate, `user "olga" already exists`},
		{"CREATE SYNC USER nobody PASSWORD '' ROLE ADMIN", CodeInvalidValue, ""},
		{"ALTER SYNC USER olga ROLE MONITOR", "", ""},
		{"SELECT name, role FROM sync_users ORDER BY 1", "", "admin admin olga monitor"},
		{"ALTER SYNC USER nemo PASSWORD 'x'", CodeUndefined, `user "nemo" does not exist`},
		{"DROP SYNC USER nemo", CodeUndefined, "sync_users"},
		{"DROP SYNC USER IF EXISTS nemo", "", "skipping"},
		{"DROP SYNC USER admin", CodeWrongState, "Unix socket"},
		{"DROP SYNC USER IF EXISTS admin", CodeWrongState, "Unix socket"},
		{"ALTER SYNC USER admin ROLE OPERATOR", CodeWrongState, "Unix socket"},
		{"ALTER SYNC USER admin ROLE ADMIN", "", ""},
		{"ALTER SYNC USER admin PASSWORD 'changed'", "", ""},
	} {
		b.expect(s.sql, b.as(Admin, s.sql), s.code, s.want)
	}
	before, err := b.cfg.Catalog.User(t.Context(), "olga")
	if err != nil || !strings.HasPrefix(before.Verifier, "SCRAM-SHA-256$") {
		t.Fatalf("%+v %v", before, err)
	}
	b.do("ALTER SYNC USER olga PASSWORD 'second'")
	after, err := b.cfg.Catalog.User(t.Context(), "olga")
	if err != nil || after.Verifier == before.Verifier || after.Role != "monitor" {
		t.Errorf("%+v %v", after, err)
	}
	b.do("DROP SYNC USER olga")
	if _, err := b.cfg.Catalog.User(t.Context(), "olga"); err == nil {
		t.Error("olga is still there")
	}
}

// TestConnectionCauses: each way in which an endpoint can be wrong has its row.
func TestConnectionCauses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	server := testenv.Shared(t)
	db := server.Database(t)
	server.Exec(t, "postgres", "CREATE ROLE "+db+"_idle NOLOGIN PASSWORD 'pw'")
	good := server.ConnString(db)
	for _, c := range []struct{ name, conninfo, item, found string }{
		{"good", good, "", ""},
		{"refused", nowhere, "reachable", "refused"},
		{"unknown host", good + " host=nowhere.invalid", "reachable", "nowhere.invalid"},
		{"no socket", "host=/nonexistent dbname=x user=y", "reachable", "socket"},
		{"no TLS", good + " sslmode=require", "TLS", "TLS"},
		{"wrong password", good + " password=wrong", "login", "password"},
		{"no such user", good + " user=nemo", "login", "password"},
		{"no login", good + " password=pw user=" + db + "_idle", "login", "log"},
		{"no such database", good + " dbname=nowhere", "database", "nowhere"},
	} {
		a := b.as(Admin, "TEST SYNC CONNECTION "+quoteLiteral(c.conninfo)+" AS DESTINATION")
		if a.err != nil {
			t.Errorf("%s: %s", c.name, a.text())
			continue
		}
		first := ""
		for _, row := range a.rows {
			if row[2] == "failed" {
				first = row[1] + ": " + row[3]
				break
			}
		}
		if want := c.item; first == "" != (want == "") || !strings.HasPrefix(first, want) || !strings.Contains(first, c.found) {
			t.Errorf("%s: %q", c.name, first)
		}
	}
	if a := b.as(Admin, "TEST SYNC CONNECTION 'host=a passwd=x'"); a.code() != CodeInvalidValue || !strings.Contains(a.err.Message, "passwd") {
		t.Errorf("unknown keyword: %s", a.text())
	}
	b.do(fmt.Sprintf("CREATE SYNC TASK pair FROM %s TO %s", quoteLiteral(good), quoteLiteral(nowhere)))
	if a := b.do("TEST SYNC TASK pair"); !strings.Contains(a.text(), "source reachable passed") || !strings.Contains(a.text(), "destination reachable failed") {
		t.Errorf("both endpoints: %s", a.text())
	}
}
