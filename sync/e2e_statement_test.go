package sync_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A statement that does not fit a task's state is refused with the state and the statements that do.
func TestRefusedTransitions(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	refuse := func(state string, possible string, statements ...string) {
		t.Helper()
		for _, s := range statements {
			e := l.refused("55000", s)
			l.want("detail of "+s, e.Detail, fmt.Sprintf("The task is in state %q.", state))
			l.contains(e.Hint, possible)
		}
	}
	l.create("")
	refuse("configuration", "START SYNC TASK "+l.task+";", "PAUSE SYNC TASK %[1]s", "RESUME SYNC TASK %[1]s", "STOP SYNC TASK %[1]s", "STOP SYNC TASK %[1]s FORCE")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
	refuse("incremental synchronization", "PAUSE SYNC TASK "+l.task+";", "START SYNC TASK %[1]s", "RESUME SYNC TASK %[1]s",
		"START SYNC TASK %[1]s AT '2099-01-01'", "ALTER SYNC TASK %[1]s SET START MANUAL", "DROP SYNC TASK %[1]s",
		"ALTER SYNC TASK %[1]s SET SOURCE '"+l.from+"'")
	for option, value := range map[string]string{"existing_objects": "replace", "sync_indexes": "false", "create_database": "true"} {
		e := l.refused("55000", "ALTER SYNC TASK %[1]s SET (%[2]s = '%[3]s')", option, value)
		l.contains(e.Hint, "sync_parameters")
	}
	l.refused("55000", "ALTER SYNC TASK %[1]s SET MODE FULL")
	l.refused("55000", "ALTER SYNC TASK %[1]s SET FOR (TABLE item)")
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	refuse("paused", "RESUME SYNC TASK "+l.task+";", "PAUSE SYNC TASK %[1]s", "START SYNC TASK %[1]s", "DROP SYNC TASK %[1]s")
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	refuse("completed", "DROP SYNC TASK "+l.task+";", "START SYNC TASK %[1]s", "PAUSE SYNC TASK %[1]s", "RESUME SYNC TASK %[1]s", "STOP SYNC TASK %[1]s", "STOP SYNC TASK %[1]s FORCE")
	l.equal()
}

// Of several targets none is touched when one refuses.
func TestTargets(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	names := []string{l.task, l.task + "b", l.task + "c"}
	for i, name := range names {
		l.sql("CREATE SYNC TASK %[2]s FROM '%[3]s' TO '%[4]s' TAGS (team = '%[1]s', n = '%[5]d')", name, l.from, l.to, i)
	}
	states := func() string {
		return l.sql("SELECT state, start_at FROM sync_tasks WHERE tags ->> 'team' = '%[1]s' ORDER BY task")
	}
	const pending, manual = "pending start|2099-01-01 00:00:00+00", "configuration|"
	l.sql("START SYNC TASK WHERE TAG team = '%[1]s' AT '2099-01-01 00:00:00+00'")
	l.want("states", states(), strings.Join([]string{pending, pending, pending}, "\n"))
	l.sql("ALTER SYNC TASK %[1]s SET START MANUAL")
	l.want("states", states(), strings.Join([]string{manual, pending, pending}, "\n"))
	l.refused("55000", "STOP SYNC TASK %[1]s, %[1]sb")
	l.refused("42704", "START SYNC TASK %[1]s, %[1]sb, nobody")
	l.refused("55000", "PAUSE SYNC TASK WHERE TAG team = '%[1]s'")
	l.want("states", states(), strings.Join([]string{manual, pending, pending}, "\n"))
	l.sql("DROP SYNC TASK IF EXISTS nobody, %[1]sb, %[1]sc")
	l.notice(`task "nobody" does not exist, skipping`)
	l.sql("DROP SYNC TASK WHERE TAG team = '%[1]s'")
	l.want("states", states(), "")
	l.sql("START SYNC TASK WHERE TAG team = '%[1]s'")
	l.notice("no task has the tag")
}

// notice checks that the last statement sent one with this text.
func (l *lab) notice(text string) {
	l.Helper()
	for _, n := range l.notices {
		if strings.Contains(n.Message, text) {
			return
		}
	}
	l.Errorf("no notice says %q: %v", text, l.notices)
}

// Errors that have nothing to do with a task's state.
func TestRefusedStatements(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	for _, s := range []string{
		"START SYNC TASK nobody", "PAUSE SYNC TASK nobody", "RESUME SYNC TASK nobody", "STOP SYNC TASK nobody",
		"DROP SYNC TASK nobody", "PRECHECK SYNC TASK nobody", "TEST SYNC TASK nobody", "SHOW SYNC TASK nobody", "SHOW CREATE SYNC TASK nobody",
		"WAIT FOR SYNC TASK nobody CAUGHT UP", "ALTER SYNC TASK nobody COMMENT 'x'", "COMPARE SYNC TASK nobody ROWS",
	} {
		l.contains(l.refused("42704", s).Message, `"nobody"`)
	}
	for _, s := range []string{"START SYNC TASK IF EXISTS nobody", "DROP SYNC TASK IF EXISTS nobody", "ALTER SYNC TASK IF EXISTS nobody COMMENT 'x'"} {
		l.sql(s)
		l.notice(`"nobody" does not exist, skipping`)
	}
	l.create("")
	create := "CREATE SYNC TASK %[1]s FROM '" + l.from + "' TO '" + l.to + "' "
	l.refused("42710", create)
	l.sql(strings.Replace(create, "TASK", "TASK IF NOT EXISTS", 1))
	l.notice("already exists, skipping")

	other := strings.Replace(create, "%[1]s", l.task+"x", 1)
	for _, clause := range []string{
		"WITH (sync_ddl = true)",
	} {
		if e := l.refused("0A000", other+clause); e.Message == "" {
			t.Error("no message for " + clause)
		}
	}
	for _, s := range []string{
		"CLONE SYNC TASK %[1]s AS other", "EXPLAIN SYNC TASK %[1]s", "ALTER SYNC TASK %[1]s ADD (TABLE x)",
		"ALTER SYNC TASK %[1]s SET (sync_ddl = true)", "SHOW SYNC DDL SETUP %[1]s",
	} {
		if e := l.refused("0A000", s); e.Hint == "" && !strings.Contains(s, "sync_ddl") {
			t.Error("no hint for " + s)
		}
	}
	for _, clause := range []string{"WITH (conflict_polcy = 'ignore')", "WITH (conflict_policy = 'maybe')", "WITH (retry_limit = -1)", "COMMENT 'a = b'"} {
		l.refused("22023", other+clause)
	}
	l.contains(l.refused("22023", other+"WITH (conflict_polcy = 'ignore')").Hint, "conflict_policy")
	l.refused("22023", "ALTER SYNC TASK %[1]s RESET (conflict_polcy)")
	for clause, code := range map[string]string{
		"FOR (TABLE item AS item)": "22023", "FOR (TABLE item, TABLE public.item)": "42710", "FOR (TABLE item AS pg_a.item)": "22023",
		"FOR (TABLE item (id AS a, name AS a))": "42701", "ACCOUNTS (ann, ann)": "42710",
		"FLOW LIMIT 5 MB PER SECOND BETWEEN '08:00' AND '12:00', '11:00' AND '13:00'": "22023",
	} {
		if e := l.refused(code, other+clause); e.Position <= int32(strings.Index(l.statement(other, nil), "TO '")) {
			t.Errorf("%s: position %d", clause, e.Position)
		}
	}
	if e := l.refused("42601", "CREATE SYNC TASK %[1]s FRM ''"); e.Position == 0 {
		t.Error("a syntax error without position")
	}
	l.want("tasks", l.sql("SELECT count(*) FROM sync_tasks WHERE task LIKE '%[1]sx%%'"), "0")
}

// Statements that change something do not take part in transactions; others do.
func TestTransactionBlocks(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create("")
	for _, s := range []string{
		"START SYNC TASK %[1]s", "DROP SYNC TASK %[1]s", "ALTER SYNC TASK %[1]s COMMENT 'x'",
		"CREATE SYNC TASK %[1]sx FROM '" + l.from + "' TO '" + l.to + "'", "PRECHECK SYNC TASK %[1]s", "COMPARE SYNC TASK %[1]s ROWS",
		"CREATE SYNC USER u PASSWORD 'p' ROLE MONITOR",
	} {
		l.sql("BEGIN")
		l.refused("25001", s)
		l.refused("25P02", "SELECT 1")
		l.sql("ROLLBACK")
	}
	l.sql("BEGIN; SHOW SYNC TASK %[1]s; SHOW CREATE SYNC TASK %[1]s; WAIT FOR SYNC TASK %[1]s TO REACH 'configuration'; SELECT 1; COMMIT")
	l.want("task", l.sql("SELECT state, description FROM sync_tasks WHERE task LIKE '%[1]s%%'"), "configuration|")
}

// A task starts at its time, and the time can be changed while it waits.
func TestStartAt(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create("MODE FULL START AT '2099-01-01 00:00:00' CONFIRM ALL WITH (time_zone = 'Asia/Tokyo')")
	l.want("state", l.sql("SELECT state, start_at FROM sync_tasks WHERE task = '%[1]s'"), "pending start|2098-12-31 15:00:00+00")
	l.sql("ALTER SYNC TASK %[1]s SET START AT '2098-01-01 00:00:00+00'")
	l.want("state", l.sql("SELECT state, start_at FROM sync_tasks WHERE task = '%[1]s'"), "pending start|2098-01-01 00:00:00+00")
	l.sql("START SYNC TASK %[1]s AT '2097-01-01 00:00:00+00' CONFIRM ALL")
	l.want("state", l.sql("SELECT state, start_at FROM sync_tasks WHERE task = '%[1]s'"), "pending start|2097-01-01 00:00:00+00")
	l.refused("22023", "ALTER SYNC TASK %[1]s SET START AT 'soon'")
	soon := time.Now().UTC().Add(time.Second).Truncate(time.Microsecond)
	l.sql("ALTER SYNC TASK %[1]s SET START AT '%[2]s'", soon.Format(time.RFC3339Nano))
	l.reach("completed")
	l.want("started in time", l.sql("SELECT min(time) >= '%[2]s' FROM sync_log WHERE task = '%[1]s' AND event = 'due'", soon.Format(time.RFC3339Nano)), "t")
	l.equal()
}

// What describes a task can be changed in every state, also while it streams, and is used from then on.
func TestAlter(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create("COMMENT 'first' TAGS (team = 'a')")
	l.sql(`ALTER SYNC TASK %[1]s SET MODE FULL; ALTER SYNC TASK %[1]s SET MODE FULL AND INCREMENTAL;
		ALTER SYNC TASK %[1]s SET FOR (TABLE item); ALTER SYNC TASK %[1]s SET (copy_workers = 1, sequence_margin = 5)`)
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
	old := l.task
	l.sql("ALTER SYNC TASK %[1]s RENAME TO %[1]sz")
	l.task += "z"
	t.Cleanup(func() { l.task = old + "z" })
	l.refused("42704", "SHOW SYNC TASK "+old)
	l.sql("ALTER SYNC TASK %[1]s COMMENT 'second'; ALTER SYNC TASK %[1]s SET TAG team = 'b'; ALTER SYNC TASK %[1]s SET TAG x = 'y'; ALTER SYNC TASK %[1]s DROP TAG x")
	l.refused("42704", "ALTER SYNC TASK %[1]s DROP TAG x")
	l.want("task", l.sql("SELECT task, scope, description, tags, options FROM sync_tasks WHERE task = '%[1]s'"),
		l.task+`|FOR (TABLE item)|second|{"team": "b"}|{"copy_workers": "1", "sequence_margin": "5"}`)
	l.eventually("sessions carry the new name", func() bool {
		return l.one(l.s, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgsyncd "+l.task+" watch'") == "1"
	})
	l.source("UPDATE item SET v = 5")
	l.caughtUp()
	l.equal()
	second := l.task + "y"
	l.sql("CREATE SYNC TASK %[2]s FROM '%[3]s' TO '%[4]s'", second, l.from, l.to)
	l.refused("42710", "ALTER SYNC TASK %[2]s RENAME TO %[1]s", second)
	l.sql("DROP SYNC TASK %[2]s", second)
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	l.want("log under the new name", l.sql("SELECT count(*) > 5 FROM sync_log WHERE task = '%[1]s'"), "t")
	l.want("log under the old name", l.sql("SELECT count(*) FROM sync_log WHERE task = '"+old+"'"), "0")
}

// SHOW CREATE prints a statement that makes the same task, once the passwords are put back.
func TestShowCreate(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`CREATE TABLE "Odd Name" (id int PRIMARY KEY)`)
	l.create(`MODE FULL FOR (TABLE item, TABLE public."Odd Name") 
		WITH (conflict_policy = 'ignore', heartbeat_interval = '3s', sequence_margin = 7) COMMENT 'a task' TAGS (team = 'a b', n = '1')`)
	first := l.sql("SHOW CREATE SYNC TASK %[1]s")
	const columns = "SELECT mode, scope, source, destination, description, options, tags FROM sync_tasks WHERE task = '%[1]s'"
	task := l.sql(columns)
	l.sql("DROP SYNC TASK %[1]s")
	l.sql(strings.ReplaceAll(first, " dbname=", " password=x dbname="))
	l.want("task made anew", l.sql(columns), task)
	l.want("SHOW CREATE", l.sql("SHOW CREATE SYNC TASK %[1]s"), first)
}

// WAIT ends with the client's patience and with its cancel request, and tells what it saw.
func TestWait(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create("")
	e := l.refused("57014", "WAIT FOR SYNC TASK %[1]s TO REACH 'completed' TIMEOUT '1 s'")
	l.contains(e.Detail, `"configuration"`)
	if len(l.notices) == 0 {
		t.Error("no notice while waiting")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, l.daemon.SocketString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "WAIT FOR SYNC TASK "+l.task+" TO REACH 'completed'")
		done <- err
	}()
	for ended := false; !ended; {
		if err := conn.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "57014" {
				t.Errorf("got %v", err)
			}
			ended = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	l.source("CREATE TABLE keyless (a int)")
	l.sql("START SYNC TASK %[1]s")
	l.contains(l.refused("55000", "WAIT FOR SYNC TASK %[1]s CAUGHT UP TIMEOUT '60 s'").Message, `"start failed"`)
	l.refused("55000", "WAIT FOR SYNC TASK %[1]s LSN 'F/0' TIMEOUT '60 s'")
	l.source("DROP TABLE keyless")
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	l.reach("incremental synchronization")
	l.source("UPDATE item SET v = 9")
	l.sql("WAIT FOR SYNC TASK %[1]s LSN '%[2]s' TIMEOUT '60 s'", l.one(l.s, "SELECT pg_current_wal_lsn()"))
	l.equal()
}

// Who waits for a task that is dropped is told.
func TestWaitForDroppedTask(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create("")
	config, err := pgx.ParseConfig(l.daemon.SocketString())
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { close(begun) } // one for each state it sees
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "WAIT FOR SYNC TASK "+l.task+" TO REACH 'completed'")
		done <- errors.Join(err, conn.Close(context.WithoutCancel(t.Context())))
	}()
	l.await("the wait begins", begun)
	l.sql("DROP SYNC TASK %[1]s")
	var pg *pgconn.PgError
	if err := <-done; !errors.As(err, &pg) || pg.Code != "42704" {
		t.Errorf("got %s", describe(err))
	}
}
