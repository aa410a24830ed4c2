package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

// user makes a user of the shared daemon, with the usual password, and returns the connection string.
func user(t *testing.T, d *testenv.Daemon, name, role string) string {
	t.Helper()
	d.PSQL(t, fmt.Sprintf("CREATE SYNC USER %s PASSWORD '%s' ROLE %s", name, testenv.Password, role))
	t.Cleanup(func() { afterwards(t, d, "DROP SYNC USER "+name) })
	return d.ConnString(name)
}

// afterwards executes a statement when the test's own context has ended.
func afterwards(t *testing.T, d *testenv.Daemon, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if _, stderr, err := d.RunPSQL(ctx, d.SocketString(), sql); err != nil {
		t.Errorf("%s: %v %s", sql, err, stderr)
	}
}

// TestDrivers uses three clients the way their users do.
func TestDrivers(t *testing.T) {
	t.Parallel()
	d := shared(t)
	conninfo := user(t, d, "dora", "OPERATOR")
	const create = "CREATE SYNC TASK %s FROM 'host=127.0.0.1 port=1 user=u dbname=d' TO 'host=127.0.0.1 port=1 user=u dbname=d'"
	t.Run("psql", func(t *testing.T) {
		for _, c := range []string{conninfo, d.SocketString()} {
			stdout, stderr, err := d.RunPSQL(t.Context(), c, fmt.Sprintf(create, "by_psql")+"; SHOW SYNC TASK by_psql \\gx\nDROP SYNC TASK by_psql; SHOW NOTHING SYNC;", "-v", "ON_ERROR_STOP=0")
			if err != nil || !strings.Contains(stdout, "CREATE SYNC TASK\n") || !strings.Contains(stdout, "| by_psql\n") || !strings.Contains(stdout, "DROP SYNC TASK\n") ||
				!strings.Contains(stderr, "ERROR:  syntax error") {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		}
		if _, stderr, err := d.RunPSQL(t.Context(), conninfo+" password=wrong", "SELECT 1"); err == nil || !strings.Contains(stderr, `password authentication failed for user "dora"`) {
			t.Errorf("wrong password: %v %s", err, stderr)
		}
	})
	t.Run("pgx", func(t *testing.T) {
		conn, err := pgx.Connect(t.Context(), conninfo)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		var notices []string
		tag, err := conn.Exec(t.Context(), fmt.Sprintf(create, "by_pgx"))
		if err != nil || tag.String() != "CREATE SYNC TASK" {
			t.Fatalf("%s %v %q", tag, err, notices)
		}
		var state string
		if err := conn.QueryRow(t.Context(), "SELECT state FROM sync_tasks WHERE task = $1", "by_pgx").Scan(&state); err != nil || state != "configuration" {
			t.Errorf("%s %v", state, err)
		}
		rows, err := conn.Query(t.Context(), "SHOW SYNC TASKS")
		if err != nil {
			t.Fatal(err)
		}
		tasks, err := pgx.CollectRows(rows, pgx.RowToMap)
		if err != nil || len(tasks) == 0 || tasks[0]["mode"] != "full and incremental" {
			t.Errorf("%v %v", tasks, err)
		}
		_, err = conn.Exec(t.Context(), "PAUSE SYNC TASK by_pgx")
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "55000" || !strings.Contains(e.Detail, "configuration") || !strings.Contains(e.Hint, "START SYNC TASK") {
			t.Errorf("%+v", err)
		}
		if _, err := conn.Exec(t.Context(), "DROP SYNC TASK by_pgx"); err != nil {
			t.Error(err)
		}
	})
	t.Run("pq", func(t *testing.T) {
		db, err := sql.Open("postgres", conninfo)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf(create, "by_pq")); err != nil {
			t.Fatal(err)
		}
		var statement string
		if err := db.QueryRowContext(t.Context(), "SHOW CREATE SYNC TASK by_pq").Scan(&statement); err != nil || !strings.HasPrefix(statement, "CREATE SYNC TASK by_pq") {
			t.Errorf("%q %v", statement, err)
		}
		_, err = db.ExecContext(t.Context(), "DROP SYNC USER dora")
		if e, ok := errors.AsType[*pq.Error](err); !ok || e.Code != "42501" {
			t.Errorf("%v", err)
		}
		if _, err := db.ExecContext(t.Context(), "DROP SYNC TASK by_pq"); err != nil {
			t.Error(err)
		}
	})
}

// TestDescriptions reads the daemon's relations the way an operator finds out what there is.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	d := shared(t)
	conninfo := user(t, d, "dana", "MONITOR")
	psql := func(command string) string {
		t.Helper()
		stdout, stderr, err := d.RunPSQL(t.Context(), conninfo, command, "-A", "-t")
		if err != nil || stderr != "" {
			t.Errorf("%s: %v %s", command, err, stderr)
		}
		return stdout
	}
	relations := psql(`\d`)
	for _, name := range []string{
		"sync_tasks", "sync_status", "sync_progress", "sync_tables", "sync_objects", "sync_log", "sync_prechecks",
		"sync_conflicts", "sync_compares", "sync_compare_tables", "sync_compare_rows", "sync_schedules", "sync_users", "sync_leftovers", "sync_parameters",
	} {
		if !strings.Contains(relations, "sync|"+name+"|view|") {
			t.Errorf(`\d lacks %s:%s%s`, name, "\n", relations)
		}
	}
	for line := range strings.Lines(relations) {
		name := strings.Split(line, "|")[1]
		columns := psql(`\d+ ` + name)
		if columns = strings.Split(columns, "View definition:")[0]; strings.Count(columns, "\n") < 3 {
			t.Errorf(`\d+ %s: %s`, name, columns)
		}
		for column := range strings.Lines(columns) {
			if fields := strings.Split(strings.TrimSpace(column), "|"); len(fields) < 7 || fields[len(fields)-1] == "" {
				t.Errorf("%s: a column without description: %s", name, column)
			}
		}
		psql("SELECT * FROM " + name + " LIMIT 1")
	}
	for _, line := range strings.Split(strings.TrimSpace(psql(`\dv+`)), "\n") {
		if fields := strings.Split(line, "|"); fields[len(fields)-1] == "" {
			t.Errorf("a relation without description: %s", line)
		}
	}
	for _, command := range []string{`\dn+`, `\df`, `\du`, `\l`, `\dp sync_tasks`, `\dT`, `\conninfo`, `\encoding`, `\dconfig search_path`, `\sv sync_tasks`} {
		psql(command)
	}
	if out := psql(`\d sync_status`); !regexp.MustCompile(`(?m)^delay_ms\|bigint\|`).MatchString(out) {
		t.Errorf(`\d sync_status: %s`, out)
	}
}

// TestWatch repeats a query until it is told to stop.
func TestWatch(t *testing.T) {
	t.Parallel()
	d := shared(t)
	bin, err := testenv.ClientBin(t.Context(), testenv.DefaultVersion)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "psql"), "-X", "-At", "-d", d.SocketString())
	cmd.Stdin = strings.NewReader("SELECT 'tick', count(*) FROM sync_progress \\watch 0.05\n")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ticks := 0
	for lines := bufio.NewScanner(out); ticks < 5 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "tick|") {
			ticks++
		}
	}
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait() // interrupted
	if ticks < 5 {
		t.Errorf("%d answers", ticks)
	}
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pgsyncd"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("server.crt", "CERTIFICATE", der), write("server.key", "PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificate(t)
	d := testenv.StartDaemon(t, testenv.DaemonConfig{Args: []string{"--tls-cert", certFile, "--tls-key", keyFile, "--tls-required", "--log-format", "json"}})
	plain := d.ConnString("admin")
	secure := strings.Replace(plain, "sslmode=disable", "sslmode=verify-full sslrootcert="+certFile, 1)
	stdout, stderr, err := d.RunPSQL(t.Context(), secure, "SHOW SYNC HELP; \\conninfo", "-At")
	if err != nil || !strings.Contains(stdout, "CREATE SYNC TASK") || !strings.Contains(stdout, "SSL connection (protocol: TLSv1.3") {
		t.Errorf("psql: %v %s %s", err, stdout, stderr)
	}
	other, _ := certificate(t)
	if _, stderr, err := d.RunPSQL(t.Context(), strings.Replace(secure, certFile, other, 1), "SELECT 1"); err == nil || !strings.Contains(stderr, "certificate verify failed") {
		t.Errorf("psql with another authority: %v %s", err, stderr)
	}
	if _, stderr, err := d.RunPSQL(t.Context(), plain, "SELECT 1"); err == nil || !strings.Contains(stderr, "TLS connections only") {
		t.Errorf("psql without TLS: %v %s", err, stderr)
	}
	conn, err := pgx.Connect(t.Context(), secure)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := pgx.Connect(t.Context(), plain); err == nil {
		t.Error("pgx got in without TLS")
	}
	db, err := sql.Open("postgres", secure)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.PingContext(t.Context()); err != nil {
		t.Error(err)
	}
	d.PSQL(t, "SELECT 1") // the Unix socket needs none
}
