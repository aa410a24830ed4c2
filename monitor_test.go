package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5/pgconn"
)

// forbidden is what a user with the privilege MONITOR must not get through, by SQLSTATE. Where none is right or wrong by
// itself any will do.
var forbidden = map[string][]string{
	"0A000": { // not relayed
		"CREATE TABLE t(id int)", "CREATE TEMP TABLE t(id int)", "CREATE TABLE t AS SELECT 1", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"CREATE ROLE x", "CREATE EXTENSION dblink", "CREATE SCHEMA s", "CREATE DATABASE d", "CREATE VIEW v AS SELECT 1", "CREATE RULE r AS ON SELECT TO x DO NOTHING",
		"CREATE PUBLICATION p", "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p", "CREATE SERVER s FOREIGN DATA WRAPPER w",
		"ALTER ROLE CURRENT_USER SUPERUSER", "ALTER USER CURRENT_USER PASSWORD 'x'", "ALTER ROLE pgsyncd_monitor SET search_path = x",
		"ALTER SYSTEM SET port = 1", "ALTER DATABASE pgsyncd SET work_mem = '1GB'", "ALTER VIEW sync_tasks RENAME TO x", "DROP VIEW sync.sync_tasks",
		"DROP SCHEMA sync CASCADE", "DROP OWNED BY CURRENT_USER", "REASSIGN OWNED BY CURRENT_USER TO postgres",
		"GRANT pgsyncd_admin TO pgsyncd_monitor", "GRANT SELECT ON ALL TABLES IN SCHEMA pgsyncd TO PUBLIC", "REVOKE ALL ON SCHEMA sync FROM PUBLIC",
		"INSERT INTO sync_tasks(task) VALUES ('x')", "UPDATE sync_users SET role = 'admin'", "DELETE FROM sync_log", "TRUNCATE pgsyncd.task", "MERGE INTO x USING y ON true WHEN MATCHED THEN DELETE",
		"LOCK TABLE sync_tasks", "DO $$ BEGIN END $$", "CALL p()", "NOTIFY sync_events, 'x'", "LOAD 'auto_explain'", "CHECKPOINT", "VACUUM", "ANALYZE", "CLUSTER", "REINDEX DATABASE pgsyncd",
		"REFRESH MATERIALIZED VIEW x", "COMMENT ON VIEW sync_tasks IS 'x'", "SECURITY LABEL ON ROLE x IS 'y'", "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z",
		"PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "ROLLBACK PREPARED 'x'",
		"COPY sync_tasks TO PROGRAM 'cat > /tmp/pgsyncd-test-leak'", "COPY (SELECT 1) TO '/tmp/pgsyncd-test-leak'", "COPY sync_tasks FROM '/etc/passwd'",
		"COPY sync_tasks FROM STDIN", "COPY sync_tasks FROM PROGRAM 'id'", "copy binary sync_tasks to '/tmp/pgsyncd-test-leak'",
		"SET ROLE pgsyncd_admin", "SET ROLE 'postgres'", `SET "role" TO "postgres"`, "SET LOCAL ROLE pgsyncd_admin", "SET SESSION ROLE pgsyncd_admin", "SET role = pgsyncd_admin",
		"SET SESSION AUTHORIZATION postgres", "SET SESSION AUTHORIZATION 'default'", "SET session_authorization = pgsyncd_admin", "SET LOCAL SESSION AUTHORIZATION postgres",
		"SET standard_conforming_strings = off",
		"PREPARE p AS DELETE FROM sync_tasks", "PREPARE p(int) AS INSERT INTO sync_tasks VALUES ($1)", "EXPLAIN ANALYZE DELETE FROM sync_tasks",
		"EXPLAIN (ANALYZE) CREATE TABLE t AS SELECT 1", "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
		"/* a /* nested */ comment */ DELETE FROM sync_tasks", "-- a comment\nDELETE FROM sync_tasks",
	},
	"42501": { // denied, by the daemon or by its PostgreSQL
		"CREATE SYNC TASK stolen FROM 'host=a user=u dbname=d' TO 'host=b user=u dbname=d'", "START SYNC TASK guarded", "PAUSE SYNC TASK guarded",
		"STOP SYNC TASK guarded FORCE", "DROP SYNC TASK guarded FORCE", "ALTER SYNC TASK guarded SET SOURCE 'host=evil user=u dbname=d'", "PRECHECK SYNC TASK guarded",
		"TEST SYNC TASK guarded", "TEST SYNC CONNECTION 'host=127.0.0.1 port=22 user=u dbname=d'", "COMPARE SYNC TASK guarded ROWS", "CANCEL COMPARE 1",
		"DROP COMPARE SCHEDULE x", "CREATE SYNC USER eve PASSWORD 'x' ROLE ADMIN", "ALTER SYNC USER mona ROLE ADMIN", "ALTER SYNC USER mona PASSWORD 'x'",
		"ALTER SYNC USER admin PASSWORD 'x'", "DROP SYNC USER admin", "CLONE SYNC TASK guarded AS copy WITH (copy_passwords)", "RESET SYNC TASK guarded", "REPAIR COMPARE 1",
		"SELECT * FROM pgsyncd.task", "TABLE pgsyncd.daemon_user", "SELECT * FROM pgsyncd.result", "SELECT count(*) FROM pgsyncd.setting", "SELECT * FROM pg_authid", "SELECT * FROM pg_shadow",
		"SELECT rolpassword FROM pg_catalog.pg_authid", "SELECT * FROM pg_user_mapping", "SELECT subconninfo FROM pg_subscription", "SELECT * FROM pg_hba_file_rules",
		"SELECT * FROM pg_file_settings", "SELECT * FROM pg_largeobject", "SELECT * FROM pg_statistic", "SELECT * FROM pg_stat_replication_slots, pg_authid",
		"WITH d AS (DELETE FROM sync_tasks RETURNING *) SELECT * FROM d", "WITH i AS (INSERT INTO pgsyncd.log(message) VALUES ('x') RETURNING 1) SELECT * FROM i",
		"WITH u AS (UPDATE sync.sync_users SET role = 'admin' RETURNING 1) SELECT * FROM u",
		"SELECT 1 AS a INTO t", "SELECT 1 AS a INTO TEMP t", "SELECT 1 AS a INTO pg_temp.t", "SELECT * FROM sync_tasks FOR UPDATE", "SELECT * FROM sync_tasks FOR SHARE",
		"BEGIN; DECLARE c CURSOR FOR SELECT * FROM sync_tasks FOR UPDATE", "EXPLAIN ANALYZE SELECT * FROM sync_tasks FOR UPDATE", "EXPLAIN ANALYZE SELECT 1 AS a INTO t",
		"SELECT set_config('role', 'pgsyncd_admin', false)", "SELECT set_config('session_authorization', 'pgsyncd_admin', false)",
		"SELECT set_config('session_replication_role', 'replica', false)", "SET session_replication_role = replica", "SET log_statement = 'all'", "SET zero_damaged_pages = on",
		"SET session_preload_libraries = 'x'", "SET dynamic_library_path = '/tmp'",
		"SELECT pg_sleep(3600)", "SELECT pg_sleep_for('1 hour')", "SELECT pg_sleep_until('infinity')", "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_xact_lock(1)", "SELECT pg_try_advisory_lock(1)",
		"SELECT pg_advisory_lock_shared(1, 2)", "SELECT pg_notify('sync_events', 'x')", "SELECT pg_logical_emit_message(false, 'a', 'b')", "SELECT pg_export_snapshot()",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity", "SELECT pg_reload_conf()", "SELECT pg_rotate_logfile()",
		"SELECT pg_switch_wal()", "SELECT pg_create_restore_point('x')", "SELECT pg_promote()", "SELECT pg_stat_reset()", "SELECT pg_create_logical_replication_slot('x', 'pgoutput')",
		"SELECT pg_create_physical_replication_slot('x')", "SELECT pg_replication_origin_create('x')", "SELECT pg_drop_replication_slot('x')",
		"SELECT pg_read_file('/etc/passwd')", "SELECT pg_read_binary_file('postgresql.conf')", "SELECT pg_ls_dir('/')", "SELECT * FROM pg_stat_file('/etc/passwd')", "SELECT pg_ls_waldir()", "SELECT pg_ls_logdir()",
		"SELECT pg_current_logfile()", "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/tmp/pgsyncd-test-leak')", "SELECT lo_create(0)", "SELECT lo_creat(-1)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_unlink(1)",
		"SELECT query_to_xml('SELECT * FROM pgsyncd.task', true, false, '')", "SELECT query_to_xml('DELETE FROM sync.sync_tasks', true, false, '')", "SELECT table_to_xml('pgsyncd.task', true, false, '')",
		"SELECT cursor_to_xml('x', 1, true, false, '') FROM pgsyncd.task", "SELECT ts_stat('SELECT verifier::tsvector FROM pgsyncd.daemon_user')",
		"COPY (SELECT * FROM pgsyncd.task) TO STDOUT", "COPY pgsyncd.daemon_user TO STDOUT", "COPY (SELECT pg_sleep(3600)) TO STDOUT", "VALUES (pg_read_file('/etc/passwd'))",
		"SELECT current_setting('data_directory')", "SHOW data_directory", "SHOW hba_file", "SELECT txid_current()", "SELECT pg_current_xact_id()", "SELECT pg_import_system_collations('sync')",
		"PREPARE p1 AS SELECT pg_sleep(3600); EXECUTE p1", "PREPARE p2 AS SELECT * FROM pgsyncd.task; EXECUTE p2", "BEGIN; SELECT * FROM sync_tasks FOR UPDATE",
	},
	"55000": {"WITH x AS (SELECT 1) DELETE FROM sync_log"}, // denied, too, because the view is no simple one
	"42601": {"(DELETE FROM sync_tasks)", "SELECT (DELETE FROM sync_tasks)", "PREPARE p AS", "EXPLAIN"},
	"42883": {"SELECT dblink('host=127.0.0.1', 'SELECT 1')", "SELECT pg_file_write('x', 'y', false)", "SELECT dblink_connect('host=127.0.0.1')"},
	"26000": {"EXECUTE nothing"},
}

// mixed are strings of several statements of which one is forbidden: none of them is executed.
var mixed = []string{
	"SELECT 1; DELETE FROM sync_tasks", "LISTEN x; CREATE TABLE t(id int); SELECT 1", ";;/* ; */ SELECT ';'; DO $$ ; $$", "BEGIN; SET ROLE postgres; COMMIT",
	"SET application_name = 'changed'; COPY (SELECT 1) TO '/tmp/pgsyncd-test-leak'",
	"SET application_name = 'changed'; SELECT E'\\'; DROP VIEW sync.sync_tasks; --'; DELETE FROM sync_tasks", "SELECT $a$ $b$ $a$; LOCK TABLE sync_tasks",
}

func TestMonitorCanOnlyLook(t *testing.T) {
	t.Parallel()
	d := shared(t)
	d.PSQL(t, "CREATE SYNC TASK guarded FROM 'host=127.0.0.1 port=1 user=u dbname=d password=hidden-word' TO 'host=127.0.0.1 port=1 user=u dbname=d'")
	t.Cleanup(func() { afterwards(t, d, "DROP SYNC TASK guarded") })
	conninfo := user(t, d, "mona", "MONITOR")
	const facts = "SELECT * FROM sync_tasks WHERE task = 'guarded'; SELECT * FROM sync_users WHERE name IN ('admin', 'mona', 'eve'); SELECT count(*) FROM sync_log WHERE task = 'guarded'"
	before := d.PSQL(t, facts)
	conn := connect(t, conninfo)
	same := func(sql string) {
		t.Helper()
		const who = "SELECT session_user || ' ' || current_user || ' ' || current_setting('application_name') || ' ' || current_database() || count(*) FROM sync_users WHERE name = 'mona'"
		result := conn.Exec(t.Context(), "ROLLBACK; "+who)
		all, err := result.ReadAll()
		if err != nil {
			t.Fatalf("after %s: %v", sql, err)
		}
		if got := string(all[1].Rows[0][0]); got != "pgsyncd_monitor pgsyncd_monitor  pgsyncd1" {
			t.Errorf("after %s the session is %q", sql, got)
		}
	}
	superuser := d.PSQL(t, "SELECT rolname FROM pg_roles WHERE rolsuper")
	denied := []string{fmt.Sprintf("SELECT set_config('role', '%s', false)", superuser), fmt.Sprintf("SELECT set_config('session_authorization', '%s', false)", superuser)}
	for code, statements := range forbidden {
		if code == "42501" {
			statements = append(statements, denied...)
		}
		for _, sql := range statements {
			_, err := conn.Exec(t.Context(), sql).ReadAll()
			if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != code {
				t.Errorf("%s: %v, want %s", sql, err, code)
			}
			if !strings.Contains(sql, ";") {
				_, err = conn.ExecParams(t.Context(), sql, nil, nil, nil, nil).Close()
				if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != code {
					t.Errorf("extended: %s: %v, want %s", sql, err, code)
				}
			}
			same(sql)
		}
	}
	for _, sql := range mixed {
		result, err := conn.Exec(t.Context(), sql).ReadAll()
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || !slices.Contains([]string{"0A000", "42501"}, e.Code) || len(result) > 0 {
			t.Errorf("%s: %v, %d results before", sql, err, len(result))
		}
		same(sql)
	}
	for _, sql := range []string{
		"SET ROLE NONE", "RESET ROLE", "SET SESSION AUTHORIZATION DEFAULT", "RESET ALL", "DISCARD ALL", "SET statement_timeout = 0", "SET search_path = pgsyncd, sync",
		"SELECT * FROM sync.statement_result('guess')", "BEGIN READ WRITE; COMMIT", "SHOW SYNC TASKS", "SHOW CREATE SYNC TASK guarded",
	} {
		if _, err := conn.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		same(sql)
	}
	if _, err := os.Stat("/tmp/pgsyncd-test-leak"); err == nil {
		t.Error("a file was written")
	}
	if after := d.PSQL(t, facts); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	// Everything that can be read at all, in one text.
	for _, relation := range strings.Fields(d.PSQL(t, "SELECT 'sync.' || viewname FROM pg_views WHERE schemaname = 'sync' UNION ALL SELECT 'pg_catalog.pg_stat_activity' UNION ALL SELECT 'pg_catalog.pg_roles' UNION ALL SELECT 'pg_catalog.pg_settings'")) {
		rows, err := conn.Exec(t.Context(), "SELECT string_agg(x::text, ' ') FROM "+relation+" x").ReadAll()
		if err != nil {
			t.Errorf("%s: %v", relation, err)
			continue
		}
		for _, word := range []string{"hidden-word", testenv.Password, "SCRAM-SHA-256$"} {
			if strings.Contains(string(rows[0].Rows[0][0]), word) {
				t.Errorf("%s shows %q", relation, word)
			}
		}
	}
}

// TestMonitorAtTheDoor tries to get another role or database with the start-up packet.
func TestMonitorAtTheDoor(t *testing.T) {
	t.Parallel()
	d := shared(t)
	conninfo := user(t, d, "maud", "MONITOR")
	for _, extra := range []string{
		"options='-c role=pgsyncd_admin'", "options='-c session_authorization=postgres'", "options='-c search_path=pgsyncd'", "role=pgsyncd_admin",
		"session_authorization=postgres", "session_preload_libraries=x", "replication=database", "replication=true", "temp_tablespaces=x", "log_statement=all",
	} {
		conn, err := pgconn.Connect(t.Context(), conninfo+" "+extra)
		if err == nil {
			_ = conn.Close(t.Context())
			t.Errorf("%s got in", extra)
		}
	}
	for _, extra := range []string{"dbname=postgres", "dbname=template1", "dbname=template0", "dbname=nowhere", "application_name=x", "timezone=Europe/Berlin", "user=maud"} {
		conn := connect(t, conninfo+" "+extra)
		rows, err := conn.Exec(t.Context(), "SELECT current_database(), session_user, to_regclass('sync_tasks')").ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if got := string(rows[0].Rows[0][0]) + " " + string(rows[0].Rows[0][1]); got != "pgsyncd pgsyncd_monitor" {
			t.Errorf("%s leads to %s", extra, got)
		}
	}
}

// connect opens a session that is closed when the test ends.
func connect(t *testing.T, conninfo string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), conninfo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}
