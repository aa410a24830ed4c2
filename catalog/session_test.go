package catalog

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
)

// session opens a client's session and makes it usable again.
func session(t *testing.T, c *Catalog, role string, params map[string]string) *pgconn.PgConn {
	t.Helper()
	hc, err := c.Session(t.Context(), role, params)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.Construct(hc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // the server may be gone
	return conn
}

// value is the first cell that a session gets, or the SQLSTATE.
func value(t *testing.T, conn *pgconn.PgConn, sql string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return "error " + pgErr.Code
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	last := results[len(results)-1]
	if len(last.Rows) == 0 {
		return last.CommandTag.String()
	}
	return string(last.Rows[0][0])
}

// private is a catalog in a cluster of its own.
func private(t *testing.T) *Catalog {
	t.Helper()
	return open(t, Config{DataDir: dataDir(t)})
}

func TestSessionIsHardened(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) *Catalog{"private": private, "shared": setup} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := make(t)
			create(t, c, sample("shop"))
			if err := c.PutResult(t.Context(), "token", [][]*string{{ptr("cell")}}); err != nil {
				t.Fatal(err)
			}
			for _, role := range []string{"monitor", "operator", "admin"} {
				conn := session(t, c, role, nil)
				tryPermitted(t, conn)
				tryForbidden(t, conn)
			}
			if left := query(t, c.pool, "SELECT locktype FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); len(left) > 0 {
				t.Errorf("advisory locks are held: %v", left)
			}
		})
	}
}

func tryPermitted(t *testing.T, conn *pgconn.PgConn) {
	t.Helper()
	for sql, want := range map[string]string{
		"SELECT task FROM sync_tasks":                                                "shop",
		"SELECT source FROM sync.sync_tasks":                                         "host=a",
		"SELECT state FROM sync_status":                                              "configuration",
		"TABLE sync_progress":                                                        "shop",
		"SELECT cells[1] FROM sync.statement_result('token')":                        "cell",
		"SELECT count(*) FROM sync.statement_result('another')":                      "0",
		"SELECT count(*) > 0 FROM sync_parameters":                                   "t",
		"SELECT pg_table_is_visible('sync.sync_tasks'::regclass)":                    "t",
		"SELECT count(*) FROM information_schema.tables WHERE table_schema = 'sync'": strconv.Itoa(len(documented)),
		"LISTEN sync_events; UNLISTEN *":                                             "UNLISTEN",
		"COPY (SELECT task FROM sync_tasks) TO STDOUT":                               "COPY 1",
		"SET statement_timeout = 0; RESET statement_timeout":                         "RESET",
		"SHOW statement_timeout":                                                     "1h",
		"SHOW search_path":                                                           "sync",
		"BEGIN; DECLARE c CURSOR FOR TABLE sync_tasks; FETCH c":                      "shop",
		"COMMIT":                             "COMMIT",
		"SELECT count(*) >= 0 FROM pg_locks": "t",
		"SELECT set_config('work_mem', '1MB', false)":                "1MB",
		"PREPARE p AS SELECT 1; EXECUTE p":                           "1",
		"SELECT rolsuper FROM pg_roles WHERE rolname = current_user": "f",
		"SELECT count(*) FROM pg_stat_activity WHERE query <> '<insufficient privilege>' AND usename <> current_user AND query <> ''": "0",
	} {
		if got := value(t, conn, sql); got != want {
			t.Errorf("%s: %s, not %s", sql, got, want)
		}
	}
}

// forbiddenStatements are what a session must not do, by the SQLSTATE that stops it. The daemon forwards few of them; the
// server refuses them all.
var forbiddenStatements = map[string]string{
	// Reading what is not for users.
	"TABLE pgsyncd.task":                                        "42501",
	"SELECT verifier FROM pgsyncd.daemon_user":                  "42501",
	"TABLE pgsyncd.setting":                                     "42501",
	"TABLE pgsyncd.result":                                      "42501",
	"TABLE pg_authid":                                           "42501",
	"TABLE pg_statistic":                                        "42501",
	"TABLE pg_largeobject":                                      "42501",
	"SELECT pg_read_file('PG_VERSION')":                         "42501",
	"SELECT pg_read_binary_file('PG_VERSION')":                  "42501",
	"SELECT pg_ls_dir('.')":                                     "42501",
	"SELECT pg_stat_file('PG_VERSION')":                         "42501",
	"SELECT pg_hba_file_rules()":                                "42501",
	"COPY (SELECT 1) TO '/tmp/catalog-test-file'":               "42501",
	"COPY (SELECT 1) TO PROGRAM 'true'":                         "42501",
	"COPY pgsyncd.task TO STDOUT":                               "42501",
	"SELECT query_to_xml('TABLE pgsyncd.task', true, true, '')": "42501",
	// Writing.
	"UPDATE sync_tasks SET description = 'x'":                            "42501",
	"DELETE FROM sync_users":                                             "42501",
	"INSERT INTO sync_users VALUES ('a')":                                "42501",
	"UPDATE pg_class SET relname = relname":                              "42501",
	"CREATE TABLE t ()":                                                  "42501",
	"CREATE TABLE public.t ()":                                           "42501",
	"CREATE TEMP TABLE t ()":                                             "42501",
	"SELECT 1 INTO TEMP t":                                               "42501",
	"CREATE TABLE t AS SELECT 1":                                         "42501",
	"CREATE VIEW sync.v AS SELECT 1":                                     "42501",
	"CREATE SCHEMA s":                                                    "42501",
	"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'":         "42501",
	"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'": "42501",
	"CREATE EXTENSION plpgsql":                                           "42710",
	"CREATE EXTENSION file_fdw":                                          "42501",
	"CREATE ROLE r":                                                      "42501",
	"CREATE DATABASE d":                                                  "42501",
	"DROP VIEW sync_tasks":                                               "42501",
	"COMMENT ON VIEW sync_tasks IS 'x'":                                  "42501",
	"GRANT SELECT ON sync_tasks TO PUBLIC":                               "", // likewise
	"DO 'BEGIN END'":                                                     "42501",
	"ALTER SYSTEM SET work_mem = '1GB'":                                  "42501",
	"VACUUM FULL pg_authid":                                              "", // a warning, and nothing done
	"SELECT lo_create(0)":                                                "42501",
	"SELECT lo_creat(0)":                                                 "42501",
	"SELECT lo_from_bytea(0, 'x')":                                       "42501",
	"SELECT lo_import('/etc/passwd')":                                    "42501",
	"SELECT lo_unlink(1)":                                                "42501",
	"SELECT lo_get(1)":                                                   "42501",
	"SELECT lo_put(1, 0, 'x')":                                           "42501",
	"SELECT loread(0, 1)":                                                "42501",
	"SELECT lowrite(0, 'x')":                                             "42501",
	"SELECT pg_logical_emit_message(true, 'a', 'b')":                     "42501",
	"SELECT pg_logical_emit_message(false, 'a', 'b'::bytea)":             "42501",
	"SELECT pg_current_xact_id()":                                        "42501",
	"SELECT txid_current()":                                              "42501",
	// Locks and waits.
	"SELECT * FROM sync_tasks FOR UPDATE":                   "42501",
	"SELECT * FROM sync_tasks FOR NO KEY UPDATE":            "42501",
	"SELECT * FROM sync_tasks FOR SHARE":                    "42501",
	"SELECT * FROM sync_tasks FOR KEY SHARE":                "42501",
	"SELECT * FROM sync_status FOR UPDATE OF sync_status":   "42501",
	"BEGIN; LOCK TABLE sync_tasks IN ROW SHARE MODE":        "42501",
	"BEGIN; LOCK TABLE sync_tasks IN ROW EXCLUSIVE MODE":    "42501",
	"BEGIN; LOCK TABLE sync_tasks IN SHARE MODE":            "42501",
	"BEGIN; LOCK TABLE sync_tasks IN ACCESS EXCLUSIVE MODE": "42501",
	"BEGIN; LOCK TABLE pgsyncd.task IN ACCESS SHARE MODE":   "42501",
	"BEGIN; LOCK TABLE pg_class IN SHARE MODE":              "42501",
	"SELECT pg_advisory_lock(1)":                            "42501",
	"SELECT pg_advisory_lock(1, 2)":                         "42501",
	"SELECT pg_try_advisory_lock(1)":                        "42501",
	"SELECT pg_advisory_xact_lock_shared(1)":                "42501",
	"SELECT pg_try_advisory_xact_lock(1)":                   "42501",
	"SELECT pg_sleep(0)":                                    "42501",
	"SELECT pg_sleep_for('0')":                              "42501",
	"SELECT pg_sleep_until(now())":                          "42501",
	"SELECT pg_export_snapshot()":                           "42501",
	"BEGIN; PREPARE TRANSACTION 'x'":                        "55000",
	// Others' sessions.
	"SELECT pg_terminate_backend(pg_backend_pid())":              "42501",
	"SELECT pg_cancel_backend(pg_backend_pid())":                 "42501",
	"SELECT pg_notify('sync_events', 'x')":                       "42501",
	"SELECT pg_reload_conf()":                                    "42501",
	"SELECT pg_stat_reset()":                                     "42501",
	"SELECT pg_switch_wal()":                                     "42501",
	"SELECT pg_create_logical_replication_slot('a', 'pgoutput')": "42501",
	"SELECT pg_create_physical_replication_slot('a')":            "42501",
	"SELECT pg_log_backend_memory_contexts(1)":                   "42501",
	"SET ROLE postgres":                                          "",
	"SET session_replication_role = replica":                     "42501",
	"SET log_statement = 'all'":                                  "42501",
	"LOAD 'auto_explain'":                                        "42501",
}

func tryForbidden(t *testing.T, conn *pgconn.PgConn) {
	t.Helper()
	for sql, want := range forbiddenStatements {
		if strings.Contains(sql, "PREPARE TRANSACTION") && value(t, conn, "SHOW max_prepared_transactions") != "0" {
			continue // the other server's settings are not ours
		}
		got := value(t, conn, sql)
		_ = value(t, conn, "ROLLBACK")
		if want == "" {
			continue
		}
		// 42883: this version has no such function.
		if got != "error "+want && got != "error 42883" {
			t.Errorf("%s: %s, not error %s", sql, got, want)
		}
	}
	const granted = "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relnamespace = 'sync'::regnamespace AND grantee = 0"
	if got := value(t, conn, granted); got != "0" {
		t.Errorf("PUBLIC has %s privileges on relations", got)
	}
	if got := value(t, conn, "SELECT session_user = current_user"); got != "t" {
		t.Error("the session has another role")
	}
}

func TestOtherDatabasesAreClosed(t *testing.T) {
	t.Parallel()
	c := private(t)
	for _, database := range []string{"postgres", "template1"} {
		cfg := c.pool.Config().ConnConfig.Config.Copy()
		cfg.User, cfg.Database = plainRoles.monitor, database
		if conn, err := pgconn.ConnectConfig(t.Context(), cfg); err == nil {
			t.Errorf("connected to %s", database)
			_ = conn.Close(t.Context())
		}
	}
}

func TestSessionParameters(t *testing.T) {
	t.Parallel()
	c := setup(t)
	conn := session(t, c, "operator", map[string]string{
		"user": "alice", "database": "any", "_pq_.x": "1", "APPLICATION_NAME": "psql", "datestyle": "German", "TimeZone": "Asia/Tokyo",
		"client_encoding": "LATIN1", "extra_float_digits": "3", "statement_timeout": "5s",
	})
	for setting, want := range map[string]string{
		"application_name": "psql", "datestyle": "German, DMY", "timezone": "Asia/Tokyo", "client_encoding": "LATIN1", "extra_float_digits": "3",
		"statement_timeout": "5s", "search_path": "sync",
	} {
		if got := value(t, conn, "SHOW "+setting); got != want {
			t.Errorf("%s = %s", setting, got)
		}
	}
	for _, name := range []string{"options", "replication", "session_replication_role", "local_preload_libraries", "role"} {
		_, err := c.Session(t.Context(), "operator", map[string]string{name: "x"})
		var refused *ParameterError
		if !errors.As(err, &refused) || refused.Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := c.Session(t.Context(), "operator", map[string]string{"TimeZone": "Nowhere"})
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "22023" {
		t.Errorf("bad time zone: %v", err)
	}
	if _, err := c.Session(t.Context(), "superuser", nil); err == nil {
		t.Error("an unknown privilege has a session")
	}
}

func TestCancelSession(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(*testing.T) *Catalog{"private": private, "shared": setup} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := make(t)
			hc, err := c.Session(t.Context(), "monitor", nil)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := pgconn.Construct(hc)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // ends with the test
			ended := endless(t.Context(), conn)
			awaitSQL(t, c, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE '%generate_series%')", int64(hc.PID))
			if err := c.CancelSession(t.Context(), hc); err != nil {
				t.Fatal(err)
			}
			var pgErr *pgconn.PgError
			if err := <-ended; !errors.As(err, &pgErr) || pgErr.Code != "57014" {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func endless(ctx context.Context, conn *pgconn.PgConn) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- conn.Exec(ctx, "SELECT count(*) FROM generate_series(1, 1000000000000)").Close() }()
	return ended
}

func TestEventsReachSessions(t *testing.T) {
	t.Parallel()
	c := setup(t)
	hc, err := c.Session(t.Context(), "monitor", nil)
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	hc.Config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { heard = append(heard, n.Channel) }
	conn, err := pgconn.Construct(hc)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // ends with the test
	if got := value(t, conn, "LISTEN sync_events"); got != "LISTEN" {
		t.Fatal(got)
	}
	task := create(t, c, sample("shop"))
	fire(t, c, task.ID, EventStart, Change{})
	if err := conn.WaitForNotification(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"sync_events"}, heard); diff != "" {
		t.Error(diff)
	}
}
