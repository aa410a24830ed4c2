package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5/pgconn"
)

// refusing is a cluster that has a reason to refuse each login of
// TestDiagnoseRealServers.
func refusing(t *testing.T) *testenv.Cluster {
	t.Helper()
	c := testenv.Start(t, testenv.Config{HBA: []string{
		"host all unlisted 127.0.0.1/32 reject", "host all nossl 127.0.0.1/32 scram-sha-256", "host all certonly 127.0.0.1/32 scram-sha-256",
	}})
	for _, statement := range []string{
		"CREATE ROLE unlisted LOGIN", "CREATE ROLE nologin PASSWORD 'right-secret'", "CREATE ROLE plain LOGIN PASSWORD 'right-secret'",
		"CREATE ROLE single LOGIN PASSWORD 'right-secret' CONNECTION LIMIT 0", "CREATE DATABASE closed",
		"REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
	} {
		c.Exec(t, "postgres", statement)
	}
	return c
}

func TestDiagnoseRealServers(t *testing.T) {
	t.Parallel()
	c := refusing(t)
	at := fmt.Sprintf("host=127.0.0.1 port=%d ", c.Port())
	silent := listener(t, func(net.Conn) {})
	closing := listener(t, func(conn net.Conn) { ends(t, conn) })
	for name, row := range map[string]struct {
		conninfo, cause, code, hint string
		fault                       endpoint.Fault
		replication                 bool
	}{
		"refused":  {"host=127.0.0.1 port=1 user=u", endpoint.CauseRefused, "08001", "listen_addresses", endpoint.FaultNetwork, false},
		"timeout":  {silent + "user=u sslmode=disable connect_timeout=1", endpoint.CauseTimeout, "08001", "firewalls", endpoint.FaultNetwork, false},
		"closed":   {closing + "user=u sslmode=disable", endpoint.CauseClosed, "08001", "PostgreSQL server", endpoint.FaultNetwork, false},
		"host":     {"host=nowhere.invalid user=u", endpoint.CauseUnknownHost, "08001", "spelling", endpoint.FaultNetwork, false},
		"socket":   {"host=/nonexistent user=u", endpoint.CauseNoSocket, "08001", "unix_socket_directories", endpoint.FaultNetwork, false},
		"hba":      {at + "user=unlisted dbname=postgres", endpoint.CauseNoHBA, "28000", "host postgres unlisted 127.0.0.1/32 scram-sha-256", endpoint.FaultPermanent, false},
		"password": {at + "user=plain password=bad-secret dbname=postgres", endpoint.CauseWrongPassword, "28P01", `ALTER ROLE "plain" PASSWORD`, endpoint.FaultPermanent, false},
		"none":     {at + "user=plain dbname=postgres", endpoint.CauseWrongPassword, "28P01", "no password", endpoint.FaultPermanent, false},
		"nologin":  {at + "user=nologin password=right-secret dbname=postgres", endpoint.CauseNoLogin, "28000", `ALTER ROLE "nologin" LOGIN;`, endpoint.FaultPermanent, false},
		"database": {at + `user=plain password=right-secret dbname='no "such'`, endpoint.CauseNoDatabase, "3D000", `CREATE DATABASE "no ""such";`, endpoint.FaultPermanent, false},
		"connect":  {at + "user=plain password=right-secret dbname=closed", endpoint.CauseNoConnect, "42501", `GRANT CONNECT ON DATABASE "closed" TO "plain";`, endpoint.FaultPermanent, false},
		"limit":    {at + "user=single password=right-secret dbname=postgres", endpoint.CauseTooMany, "53300", "CONNECTION LIMIT", endpoint.FaultNetwork, false},
		"tls":      {c.ConnString("postgres") + " sslmode=require", endpoint.CauseNoTLS, "08001", "sslmode=disable", endpoint.FaultPermanent, false},
		"sender":   {at + "user=plain password=right-secret dbname=postgres", endpoint.CauseNoReplication, "42501", `ALTER ROLE "plain" REPLICATION;`, endpoint.FaultPermanent, true},
		"standby":  {c.ConnString("postgres") + " target_session_attrs=standby", endpoint.CauseSession, "08001", "target_session_attrs", endpoint.FaultOther, false},
		"hosts":    {fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=1,%d user=plain password=bad-secret dbname=postgres", c.Port()), endpoint.CauseWrongPassword, "28P01", "", endpoint.FaultNetwork, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := parse(t, row.conninfo, endpoint.Options{AllowSocket: true})
			var err error
			if row.replication {
				_, err = e.ConnectReplication(testContext(t), "test")
			} else {
				_, err = e.ConnectRaw(testContext(t), "test")
			}
			err = fmt.Errorf("some stage: %w", err)
			d := endpoint.Diagnose(err)
			if d.Cause != row.cause || d.Code != row.code || !strings.Contains(d.Hint, row.hint) {
				t.Errorf("%v\ngives %+v", err, d)
			}
			if got := endpoint.Classify(err); got != row.fault {
				t.Errorf("%v: fault %q, want %q", err, got, row.fault)
			}
			if text := err.Error() + fmt.Sprintf("%+v", d); strings.Contains(text, "-secret") {
				t.Errorf("%s shows a password", text)
			}
		})
	}
}

// listener gives the host and port of a server that is no PostgreSQL.
func listener(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			t.Cleanup(func() { _ = conn.Close() }) // perhaps closed already
		}
	}()
	t.Cleanup(func() { ends(t, l); <-done })
	return fmt.Sprintf("host=127.0.0.1 port=%d ", l.Addr().(*net.TCPAddr).Port)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	c := testenv.Start(t, testenv.Config{TLS: true, HBA: []string{"hostnossl all all all reject"}})
	other := testenv.Start(t, testenv.Config{TLS: true})
	ca, otherCA := readFile(t, c.CAFile()), readFile(t, other.CAFile())
	at := c.ConnString("postgres")
	for name, row := range map[string]struct{ keywords, ca, cause string }{
		"full":          {"sslmode=verify-full", ca, ""},
		"full, no SNI":  {"sslmode=verify-full sslsni=0", ca, ""},
		"full by name":  {"sslmode=verify-full host=localhost hostaddr=127.0.0.1", ca, ""},
		"ca":            {"sslmode=verify-ca", ca, ""},
		"require":       {"sslmode=require channel_binding=require", "", ""},
		"prefer":        {"sslmode=prefer", "", ""},
		"allow":         {"sslmode=allow", "", ""},
		"version":       {"sslmode=require ssl_max_protocol_version=TLSv1.2", "", ""},
		"other name":    {"sslmode=verify-full host=elsewhere hostaddr=127.0.0.1", ca, endpoint.CauseHostName},
		"name, no SNI":  {"sslmode=verify-full sslsni=0 host=elsewhere hostaddr=127.0.0.1", ca, endpoint.CauseHostName},
		"name for ca":   {"sslmode=verify-ca host=elsewhere hostaddr=127.0.0.1", ca, ""},
		"other CA":      {"sslmode=verify-full", otherCA, endpoint.CauseInvalidCA},
		"other ca":      {"sslmode=verify-ca", otherCA, endpoint.CauseInvalidCA},
		"require + CA":  {"sslmode=require", otherCA, endpoint.CauseInvalidCA},
		"not encrypted": {"sslmode=disable", "", endpoint.CauseNoHBA},
		"old TLS":       {"sslmode=require ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=TLSv1.1", "", endpoint.CauseTLS},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := parse(t, at+" "+row.keywords, endpoint.Options{RootCA: row.ca})
			ctx := testContext(t)
			conn, err := e.Connect(ctx, "test")
			if err == nil {
				closeAtEnd(t, conn)
				var used bool
				if err := conn.QueryRow(ctx, "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()").Scan(&used); err != nil || !used {
					t.Errorf("encrypted: %v, %v", used, err)
				}
			}
			if d := endpoint.Diagnose(err); d.Cause != row.cause {
				t.Errorf("%v\ngives %+v", err, d)
			}
			if err != nil && row.cause != endpoint.CauseTLS && endpoint.Retryable(err) {
				t.Errorf("%v: is retried", err)
			}
		})
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

type lost struct{}

func (lost) Error() string   { return "slot lost" }
func (lost) Permanent() bool { return true }

func TestClassify(t *testing.T) {
	t.Parallel()
	state := func(code string) error { return fmt.Errorf("apply: %w", &pgconn.PgError{Code: code}) }
	for _, row := range []struct {
		err  error
		want endpoint.Fault
	}{
		{nil, endpoint.FaultNone},
		{fmt.Errorf("copy: %w", context.Canceled), endpoint.FaultNone},
		{context.DeadlineExceeded, endpoint.FaultNetwork},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), endpoint.FaultNetwork},
		{pgconn.ErrConnClosed, endpoint.FaultNetwork},
		{&net.OpError{Op: "read", Err: errors.New("no route to host")}, endpoint.FaultNetwork},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EHOSTUNREACH)}, endpoint.FaultNetwork},
		{fmt.Errorf("send: %w", syscall.EPIPE), endpoint.FaultNetwork},
		{&os.PathError{Op: "write", Path: "spill/1", Err: syscall.ENOSPC}, endpoint.FaultOther},
		{fmt.Errorf("start pg_dump: %w", syscall.ENOMEM), endpoint.FaultOther},
		{errors.Join(&os.PathError{Op: "write", Path: "spill/1", Err: syscall.ENOSPC}, io.EOF), endpoint.FaultNetwork},
		{state("08006"), endpoint.FaultNetwork},
		{state("57P01"), endpoint.FaultNetwork},
		{state("53300"), endpoint.FaultNetwork},
		{state("40001"), endpoint.FaultNetwork},
		{state("40P01"), endpoint.FaultNetwork},
		{state("28P01"), endpoint.FaultPermanent},
		{state("3D000"), endpoint.FaultPermanent},
		{state("23505"), endpoint.FaultOther},
		{state("53100"), endpoint.FaultOther},
		{state("57014"), endpoint.FaultOther},
		{errors.New("something"), endpoint.FaultOther},
		{errors.Join(state("23505"), pgconn.ErrConnClosed), endpoint.FaultOther},
		{errors.Join(state("57P01"), io.EOF), endpoint.FaultNetwork},
		{errors.Join(io.EOF, fmt.Errorf("stream: %w", lost{})), endpoint.FaultPermanent},
		{fmt.Errorf("stream: %w", errors.Join(context.Canceled, lost{})), endpoint.FaultPermanent},
	} {
		if got := endpoint.Classify(row.err); got != row.want {
			t.Errorf("%v: %q, want %q", row.err, got, row.want)
		}
		if endpoint.Retryable(row.err) == (row.want == endpoint.FaultPermanent) {
			t.Errorf("%v: Retryable disagrees with Classify", row.err)
		}
	}
}

func TestCancellationIsNoFault(t *testing.T) {
	t.Parallel()
	e := parse(t, listener(t, func(net.Conn) {})+"user=u sslmode=disable", endpoint.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Connect(ctx, "test")
	if got := endpoint.Classify(err); err == nil || got != endpoint.FaultNone {
		t.Errorf("%v: %q", err, got)
	}
}

// What is advised of a connection that ends depends on whether it had begun.
func TestHintOfConnectionThatEnds(t *testing.T) {
	t.Parallel()
	const question = "Check that it is a PostgreSQL server"
	established := endpoint.Diagnose(fmt.Errorf("receive from source: %w", io.ErrUnexpectedEOF))
	if established.Cause != endpoint.CauseClosed || strings.Contains(established.Hint, question) || !strings.Contains(established.Hint, "log may say why") {
		t.Errorf("established: %+v", established)
	}
	e := parse(t, listener(t, func(c net.Conn) { _ = c.Close() })+"user=u sslmode=disable", endpoint.Options{})
	_, err := e.Connect(t.Context(), "test")
	if d := endpoint.Diagnose(err); d.Cause != endpoint.CauseClosed || !strings.Contains(d.Hint, question) {
		t.Errorf("connecting: %+v, %v", d, err)
	}
}
