package server

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgsyncd/sqlapi"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/xdg-go/scram"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.nofailfile", "true") // a failure shows its seed
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of a test; nothing is measured by it.
const patience = 30 * time.Second

// harness is a server over a database of a real PostgreSQL.
type harness struct {
	server  *Server
	control *control
	backend *backend
	host    string
	port    int
	socket  string // directory
	stop    func()
	db      func(tb testing.TB) *pgx.Conn // straight to PostgreSQL
}

// setup starts a server; edit changes its configuration.
func setup(tb testing.TB, edit ...func(*Config)) *harness {
	tb.Helper()
	cluster := testenv.Shared(tb)
	name := cluster.Database(tb)
	cluster.Exec(tb, name, `CREATE TABLE checks(item text, result text);
		CREATE TABLE numbers AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 10000) n`)
	dir, err := os.MkdirTemp("", "pgsyncd-server-") //nolint:usetesting // the path of a Unix socket must be short
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &harness{socket: dir, db: func(tb testing.TB) *pgx.Conn { tb.Helper(); return cluster.Connect(tb, name) }}
	h.backend = &backend{conninfo: cluster.ConnString(name), users: map[string]Credential{
		"olga": {Verifier: verifier(tb, "olga's password"), Privilege: sqlapi.Operator},
		"nemo": {Verifier: "md5something", Privilege: sqlapi.Admin},
	}}
	h.control = &control{conninfo: cluster.ConnString(name), running: make(chan string, 100)}
	cfg := Config{Listen: []string{"127.0.0.1:0"}, SocketDir: dir, Logger: slog.New(slog.NewTextHandler(logWriter{tb}, nil))}
	if _, fuzzing := tb.(*testing.F); fuzzing {
		cfg.Logger = discard // a fuzz target must not log to its F
	}
	for _, e := range edit {
		e(&cfg)
	}
	h.server, err = New(cfg, h.control, h.backend)
	if err != nil {
		tb.Fatal(err)
	}
	addr := h.server.Addrs()[0].(*net.TCPAddr)
	h.host, h.port = addr.IP.String(), addr.Port
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- h.server.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("server: %v", err)
		}
	})
	tb.Cleanup(h.stop)
	return h
}

var discard = slog.New(slog.DiscardHandler)

// logWriter sends the server's log to the test's.
type logWriter struct{ tb testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.tb.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func verifier(tb testing.TB, password string) string {
	tb.Helper()
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		tb.Fatal(err)
	}
	salt := "0123456789abcdef"
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: salt, Iters: 4096})
	if err != nil {
		tb.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$4096:%s$%s:%s", b64([]byte(salt)), b64(c.StoredKey), b64(c.ServerKey))
}

// local is the connection string of the Unix socket.
func (h *harness) local() string {
	return fmt.Sprintf("host=%s port=%d user=admin dbname=pgsyncd", h.socket, DefaultPort)
}

// tcp is the connection string of a user over TCP.
func (h *harness) tcp(user, password string) string {
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=pgsyncd sslmode=disable",
		h.host, h.port, user, strings.ReplaceAll(password, "'", `\'`))
}

// connect opens a pgx session over the Unix socket.
func (h *harness) connect(tb testing.TB, edit ...func(*pgx.ConnConfig)) *pgx.Conn {
	tb.Helper()
	cfg, err := pgx.ParseConfig(h.local())
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range edit {
		e(cfg)
	}
	conn, err := pgx.ConnectConfig(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), patience)
		defer cancel()
		_ = conn.Close(ctx) // may be closed by the test
	})
	return conn
}

// location is what verbose errors say of PostgreSQL's own source.
var location = regexp.MustCompile(`(?m)^LOCATION:.*\n`)

// psql runs the real psql, and returns what it printed and its exit code.
func (h *harness) psql(tb testing.TB, conninfo string, args ...string) (string, int) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "psql", append([]string{"-X", "-v", "VERBOSITY=verbose", conninfo}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PGCLIENTENCODING=UTF8")
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		tb.Fatal(err)
	}
	return location.ReplaceAllString(string(out), ""), cmd.ProcessState.ExitCode()
}

// backend connects straight to the test's database.
type backend struct {
	conninfo  string
	role      string // sessions are restricted to it; empty: none
	users     map[string]Credential
	refreshed atomic.Int64
	cancels   atomic.Int64
}

func (b *backend) Open(ctx context.Context, p sqlapi.Privilege, params map[string]string) (*pgconn.HijackedConn, error) {
	cfg, err := pgconn.ParseConfig(b.conninfo)
	if err != nil {
		return nil, err
	}
	maps.Copy(cfg.RuntimeParams, params)
	if b.role != "" {
		cfg.RuntimeParams["role"] = b.role
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return hijack(ctx, conn)
}

// hijack takes a connection over when pgconn is not reading from it any more.
func hijack(ctx context.Context, conn *pgconn.PgConn) (*pgconn.HijackedConn, error) {
	if err := conn.SyncConn(ctx); err != nil {
		return nil, err
	}
	return conn.Hijack()
}

func (b *backend) Cancel(ctx context.Context, hc *pgconn.HijackedConn) error {
	b.cancels.Add(1)
	var d net.Dialer
	addr := hc.Conn.RemoteAddr()
	conn, err := d.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	defer stop()
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 16}, codeCancelRequest)
	request = append(binary.BigEndian.AppendUint32(request, hc.PID), hc.SecretKey...)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	_, _ = io.ReadAll(conn)
	return nil
}

func (b *backend) Refresh(context.Context) { b.refreshed.Add(1) }

func (b *backend) Credential(_ context.Context, user string) (Credential, bool, error) {
	c, ok := b.users[user]
	return c, ok, nil
}

// control stands for the engine: it knows the real statements, and its tasks behave by their names.
type control struct {
	conninfo string
	running  chan string // tag of each statement as it begins

	mu       sync.Mutex
	ran      []string
	released int
}

func (c *control) Prepare(s *sqlapi.Session, text string) (*sqlapi.Prepared, error) {
	stmt, err := sqlapi.Parse(text)
	if err != nil {
		return nil, err
	}
	form := sqlapi.FormOf(stmt)
	if !s.Privilege.Allows(form.Privilege) {
		return nil, sqlapi.Errorf(sqlapi.CodeDenied, "permission denied for %s", form.Tag)
	}
	p := &sqlapi.Prepared{Statement: stmt, Tag: form.Tag}
	switch stmt.(type) {
	case *sqlapi.PrecheckTask:
		p.Query = "SELECT item, result FROM checks ORDER BY item"
	default:
		if form.Rows {
			p.Query = "SELECT n::int4 AS number, 'task ' || n AS task FROM generate_series(1, 5) n ORDER BY n"
		}
	}
	return p, nil
}

func (c *control) Run(ctx context.Context, s *sqlapi.Session, p *sqlapi.Prepared) error {
	text := sqlapi.Print(p.Statement, sqlapi.PrintOptions{})
	c.mu.Lock()
	c.ran = append(c.ran, text)
	c.mu.Unlock()
	select {
	case c.running <- p.Tag:
	default:
	}
	switch {
	case strings.Contains(text, "missing"):
		return sqlapi.Errorf(sqlapi.CodeUndefined, "task does not exist").WithDetail("There is none.").WithHint("Create it.")
	case strings.Contains(text, "panicking"):
		panic("the engine is broken")
	case strings.Contains(text, "noisy"):
		for i := range 3 {
			s.Notice(sqlapi.Notice{Message: fmt.Sprintf("notice %d", i), Detail: "a detail", Hint: "a hint"})
		}
	case strings.Contains(text, "quick"):
	case strings.HasPrefix(text, "WAIT"):
		s.Notice(sqlapi.Notice{Message: "waiting"})
		<-ctx.Done()
		return fmt.Errorf("wait: %w", ctx.Err())
	case strings.HasPrefix(text, "PRECHECK"):
		return c.writeChecks(ctx)
	}
	return nil
}

// writeChecks does the work of PRECHECK: it leaves rows that the statement's query finds only if it ran before.
func (c *control) writeChecks(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.conninfo)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "INSERT INTO checks SELECT 'item ' || count(*), 'passed' FROM checks")
	return err
}

func (c *control) Release(*sqlapi.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released++
}

// statements returns what has run so far.
func (c *control) statements() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ran)
}
