package endpoint_test

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func parse(t *testing.T, conninfo string, o endpoint.Options) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Parse(conninfo, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// pinned is what every session must show, however the server, the database and
// the role are configured.
var pinned = map[string]string{
	"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
	"idle_session_timeout": "0", "search_path": "", "row_security": "off", "client_encoding": "UTF8",
	"DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "TimeZone": "UTC", "extra_float_digits": "3",
	"bytea_output": "hex", "xmloption": "content", "lc_monetary": "C", "synchronous_commit": "on",
	"array_nulls": "on", "default_transaction_isolation": "read committed", "default_transaction_read_only": "off",
	"application_name": "pgsyncd t source",
}

// hostile are the opposite settings, as ALTER DATABASE and ALTER ROLE write them.
const hostile = `SET statement_timeout = '10min'; SET lock_timeout = '10min';
SET idle_in_transaction_session_timeout = '10min'; SET idle_session_timeout = '10min'; SET search_path = pg_temp;
SET row_security = on; SET "DateStyle" = 'German'; SET "IntervalStyle" = 'sql_standard'; SET "TimeZone" = 'Asia/Kolkata';
SET extra_float_digits = 0; SET bytea_output = 'escape'; SET xmloption = 'document'; SET synchronous_commit = off;
SET array_nulls = off; SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on;
SET application_name = 'theirs'`

func TestSettingsOfSessions(t *testing.T) {
	t.Parallel()
	c := testenv.Start(t, testenv.Config{})
	db := c.Database(t)
	admin := c.Connect(t, "postgres")
	c.Exec(t, "postgres", "CREATE ROLE hostile LOGIN REPLICATION PASSWORD 'hostile-secret'")
	for _, statement := range strings.Split(hostile, ";") {
		for _, object := range []string{"DATABASE " + db, "ROLE hostile"} {
			if _, err := admin.Exec(testContext(t), "ALTER "+object+" "+strings.TrimSpace(statement)); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx := testContext(t)
	e := parse(t, c.ConnString(db)+" user=hostile password=hostile-secret options='-c search_path=public -c DateStyle=SQL'", endpoint.Options{})

	conn, err := e.Connect(ctx, "pgsyncd t source")
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, conn)
	got := map[string]string{}
	for name := range pinned {
		var value string
		if err := conn.QueryRow(ctx, "SELECT pg_catalog.current_setting($1)", name).Scan(&value); err != nil {
			t.Fatal(err)
		}
		got[name] = strings.Trim(value, `"`)
	}
	if diff := cmp.Diff(pinned, got); diff != "" {
		t.Errorf("Connect (-want +got):\n%s", diff)
	}

	raw, err := e.ConnectRaw(ctx, "pgsyncd t source")
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, raw)
	replication, err := e.ConnectReplication(ctx, "pgsyncd t source")
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, replication)
	for name, want := range pinned {
		for kind, session := range map[string]simple{"ConnectRaw": {raw}, "ConnectReplication": {replication}} {
			if got := strings.Trim(session.query(t, ctx, "SHOW "+pgx.Identifier{strings.ToLower(name)}.Sanitize()), `"`); got != want {
				t.Errorf("%s: %s = %q, want %q", kind, name, got, want)
			}
		}
	}
}

// TestEnvironmentIsIgnored cannot be parallel: it sets variables.
func TestEnvironmentIsIgnored(t *testing.T) {
	c := testenv.Shared(t) // before the variables, which its own connections would obey
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "PGSERVICE": "nowhere", "PGHOST": "192.0.2.1", "PGPORT": "1", "PGUSER": "nobody", "PGPASSWORD": "env-secret",
		"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/nonexistent", "PGOPTIONS": "-c nonsense=1", "PGTZ": "Mars/Olympus",
		"PGTARGETSESSIONATTRS": "standby", "PGREQUIREAUTH": "none", "PGCHANNELBINDING": "require", "PGSSLCERTMODE": "require",
	} {
		t.Setenv(name, value)
	}
	if err := os.WriteFile(home+"/.pgpass", []byte("*:*:*:*:"+testenv.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	conn, err := parse(t, c.ConnString("postgres"), endpoint.Options{}).Connect(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, conn)
	var user, zone string
	if err := conn.QueryRow(ctx, "SELECT current_user, pg_catalog.current_setting('TimeZone')").Scan(&user, &zone); err != nil {
		t.Fatal(err)
	}
	if user != testenv.Superuser || zone != "UTC" {
		t.Errorf("user %s, time zone %s", user, zone)
	}
	bare := parse(t, strings.Replace(c.ConnString("postgres"), testenv.Password, "''", 1), endpoint.Options{})
	if conn, err := bare.Connect(ctx, "test"); err == nil {
		closeAtEnd(t, conn)
		t.Error("a password came from ~/.pgpass or PGPASSWORD")
	}
}

func TestPgDumpConnects(t *testing.T) {
	t.Parallel()
	c := testenv.Start(t, testenv.Config{TLS: true, HBA: []string{"hostnossl all all all reject"}})
	db := c.Database(t)
	c.Exec(t, db, "CREATE TABLE public.dumped (id int PRIMARY KEY)")
	ca, err := os.ReadFile(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	e := parse(t, c.ConnString(db)+" sslmode=verify-full", endpoint.Options{RootCA: string(ca)})
	args, env, cleanup, err := e.PgDump(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, visible := range slices.Concat(args, env) {
		if strings.Contains(visible, testenv.Password) {
			t.Errorf("%s shows the password", visible)
		}
	}
	command := exec.CommandContext(testContext(t), c.BinDir()+"/pg_dump", append(args, "--schema-only")...)
	command.Env = env
	out, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "CREATE TABLE public.dumped") {
		t.Fatalf("%v: %s", err, out)
	}
	if err := cleanup(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// extremes are values whose text depends on the pinned settings.
var extremes = map[string]string{
	"date":        `{infinity,-infinity,"4713-01-01 BC",5874897-12-31,0099-02-03,"0044-03-15 BC",NULL}`,
	"timestamptz": `{infinity,"4713-01-01 00:00:00+00 BC","294276-12-31 23:59:59.999999+00","1883-11-18 12:03:57+00"}`,
	"interval":    `{"-1 days +02:03:00","1 year -2 mons +3 days -04:05:06.000007","178000000 years","00:00:00"}`,
	"float8":      `{1e-307,5e-324,0.1,-0,NaN,Infinity,1.7976931348623157e+308}`,
	"float4":      `{1e-45,0.1,3.4028235e+38}`,
	"money":       `{-92233720368547758.08,92233720368547758.07,-0.01}`,
	"bytea":       `{"\\x00ff5c27","\\x"}`,
	"xml":         `{"<a/><b/>","text only"}`,
	"text":        `{NULL,"NULL",""}`,
}

// TestTextIsExact carries values as text from one server to another whose
// configurations differ, and compares what both hold in binary.
func TestTextIsExact(t *testing.T) {
	t.Parallel()
	a, b := testenv.SharedPair(t)
	ctx := testContext(t)
	open := func(c *testenv.Cluster, settings ...string) *pgx.Conn {
		ctx, db := testContext(t), c.Database(t)
		for _, setting := range settings {
			c.Exec(t, "postgres", "ALTER DATABASE "+db+" SET "+setting)
		}
		conn, err := parse(t, c.ConnString(db), endpoint.Options{}).Connect(ctx, "test")
		if err != nil {
			t.Fatal(err)
		}
		closeAtEnd(t, conn)
		return conn
	}
	from := open(a, "DateStyle = 'SQL, DMY'", "IntervalStyle = 'iso_8601'", "TimeZone = 'America/New_York'", "extra_float_digits = -15")
	to := open(b, "DateStyle = 'German'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kathmandu'", "bytea_output = 'escape'")
	for _, typ := range slices.Sorted(maps.Keys(extremes)) {
		var text, sent, received string
		// array_send also writes the NULLs; its output does not depend on settings.
		if err := from.QueryRow(ctx, "SELECT $1::text::"+typ+"[]::text, pg_catalog.array_send($1::text::"+typ+"[])::text", extremes[typ]).Scan(&text, &sent); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if err := to.QueryRow(ctx, "SELECT pg_catalog.array_send($1::text::"+typ+"[])::text", text).Scan(&received); err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		if sent != received {
			t.Errorf("%s: %s is not the same on the other server", typ, text)
		}
	}
}
