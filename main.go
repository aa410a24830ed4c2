// Command pgsyncd is a sidecar to PostgreSQL that synchronizes one database to another and is operated by SQL: it speaks
// the PostgreSQL wire protocol, and psql is its console.
//
// This file wires the parts together and is the only place that reads the command line and the environment.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // cron schedules need time zones where the machine has none

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/server"
	"pgsyncd/sqlapi"
	pgsync "pgsyncd/sync"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// version is set by the linker.
var version = "development"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	command := "help"
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "serve":
		return serveCommand(args[1:], stderr)
	case "version", "--version":
		_, _ = fmt.Fprintln(stdout, "pgsyncd", version)
		return 0
	case "help", "--help", "-h":
		_, _ = fmt.Fprint(stdout, usage)
		return 0
	default:
		_, _ = fmt.Fprintf(stderr, "pgsyncd: unknown command %q\n\n%s", command, usage)
		return 2
	}
}

const usage = `pgsyncd synchronizes PostgreSQL databases and is operated by SQL.

  pgsyncd serve [options]     run the daemon
  pgsyncd version             print the version
  pgsyncd help                print this text

Options of serve:
  --listen ADDR            address for clients, may be repeated   (localhost:7432)
  --data-dir DIR           everything the daemon keeps            (/var/lib/pgsyncd as root, else $XDG_STATE_HOME/pgsyncd)
  --catalog CONNINFO       PostgreSQL database for the catalog    (a private cluster in the data directory)
  --run-as USER            owner of the private cluster when started as root (postgres)
  --secret-key-file FILE   key that encrypts connection strings   (DIR/secret.key, made at the first start)
  --conninfo-dir DIR       where files named by endpoints may lie (DIR/conninfo)
  --tls-cert FILE --tls-key FILE   certificate for clients; without it TLS is not offered
  --tls-required           refuse TCP clients without TLS
  --metrics-listen ADDR    address for Prometheus, http://ADDR/metrics without a password; none unless given
  --log-format text|json   format of the log on standard error    (text)
  --log-level LEVEL        debug, info, warn or error             (info)

PGSYNCD_ADMIN_PASSWORD sets the password of the user admin when the catalog is made.
Connect with:  psql -h DIR/run -p 7432 -U admin pgsyncd     then type:  SHOW SYNC HELP;
`

// settings are what the command line and the environment say.
type settings struct {
	listen        listenFlag
	dataDir       string
	catalog       string
	runAs         string
	secretKeyFile string
	connInfoDir   string
	tlsCert       string
	tlsKey        string
	tlsRequired   bool
	metricsListen string
	logFormat     string
	logLevel      slog.Level
	adminPassword string
}

type listenFlag []string

func (l *listenFlag) String() string     { return strings.Join(*l, ",") }
func (l *listenFlag) Set(v string) error { *l = append(*l, v); return nil }

func serveCommand(args []string, stderr io.Writer) int {
	s, err := parseSettings(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "pgsyncd:", err)
		return 2
	}
	options := &slog.HandlerOptions{Level: s.logLevel}
	var handler slog.Handler = slog.NewTextHandler(stderr, options)
	if s.logFormat == "json" {
		handler = slog.NewJSONHandler(stderr, options)
	}
	logger := slog.New(handler)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, s, logger); err != nil {
		logger.Error("pgsyncd ends", "error", err)
		return 1
	}
	return 0
}

func parseSettings(args []string, stderr io.Writer) (settings, error) {
	s := settings{adminPassword: os.Getenv("PGSYNCD_ADMIN_PASSWORD")}
	// Neither the password nor libpq's variables may reach child processes or connection strings of tasks.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			if err := os.Unsetenv(name); err != nil {
				return s, fmt.Errorf("clear %s: %w", name, err)
			}
		}
	}
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { _, _ = fmt.Fprint(stderr, usage) }
	f.Var(&s.listen, "listen", "")
	f.StringVar(&s.dataDir, "data-dir", "", "")
	f.StringVar(&s.catalog, "catalog", "", "")
	f.StringVar(&s.runAs, "run-as", "postgres", "")
	f.StringVar(&s.secretKeyFile, "secret-key-file", "", "")
	f.StringVar(&s.connInfoDir, "conninfo-dir", "", "")
	f.StringVar(&s.tlsCert, "tls-cert", "", "")
	f.StringVar(&s.tlsKey, "tls-key", "", "")
	f.BoolVar(&s.tlsRequired, "tls-required", false, "")
	f.StringVar(&s.metricsListen, "metrics-listen", "", "")
	f.StringVar(&s.logFormat, "log-format", "text", "")
	f.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	return s, s.complete(f.Args())
}

// complete fills in what depends on other settings and refuses what does not fit together.
func (s *settings) complete(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	if s.logFormat != "text" && s.logFormat != "json" {
		return fmt.Errorf("--log-format must be text or json, not %q", s.logFormat)
	}
	if (s.tlsCert == "") != (s.tlsKey == "") {
		return errors.New("--tls-cert and --tls-key belong together")
	}
	if s.tlsRequired && s.tlsCert == "" {
		return errors.New("--tls-required needs --tls-cert and --tls-key")
	}
	if len(s.listen) == 0 {
		s.listen = listenFlag{"localhost:7432"}
	}
	if s.dataDir == "" {
		dir, err := defaultDataDir()
		if err != nil {
			return err
		}
		s.dataDir = dir
	}
	dir, err := filepath.Abs(s.dataDir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	s.dataDir = dir
	if s.secretKeyFile == "" {
		s.secretKeyFile = filepath.Join(dir, "secret.key")
	}
	if s.connInfoDir == "" {
		s.connInfoDir = filepath.Join(dir, "conninfo")
	}
	return nil
}

func defaultDataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/pgsyncd", nil
	}
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "pgsyncd"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no --data-dir given and no home directory known: %w", err)
	}
	return filepath.Join(home, ".local", "state", "pgsyncd"), nil
}

// serve runs the daemon until ctx ends.
func serve(ctx context.Context, s settings, logger *slog.Logger) (err error) {
	workDir := filepath.Join(s.dataDir, "work")
	// Other users may pass through the data directory, to the socket and to the private cluster, but not look around.
	for dir, mode := range map[string]os.FileMode{s.dataDir: 0o711, s.connInfoDir: 0o700, workDir: 0o700} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	certificates, err := loadTLS(s)
	if err != nil {
		return err
	}
	cat, err := catalog.Open(ctx, catalog.Config{
		DataDir: s.dataDir, ConnInfo: s.catalog, RunAs: s.runAs, SecretKeyFile: s.secretKeyFile,
		AdminPassword: s.adminPassword, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, cat.Close(closing))
	}()
	supervisor, err := pgsync.New(pgsync.Config{
		Catalog: cat, DataDir: s.dataDir, WorkDir: workDir, ConnInfoDir: s.connInfoDir, Logger: logger,
	})
	if err != nil {
		return err
	}
	comparisons, err := compare.New(compare.Config{
		Catalog: cat, Streams: streams{supervisor}, Endpoints: supervisor.Endpoints, WorkDir: workDir, Logger: logger,
	})
	if err != nil {
		return err
	}
	engine, err := sqlapi.NewEngine(sqlapi.EngineConfig{
		Catalog: cat, Supervisor: supervisor, Comparisons: comparisons, ConnInfoDir: s.connInfoDir, Logger: logger,
	})
	if err != nil {
		return err
	}
	srv, err := server.New(server.Config{ //nolint:contextcheck // listening does not wait
		Listen: s.listen, SocketDir: filepath.Join(s.dataDir, "run"), TLS: certificates, TLSRequired: s.tlsRequired,
		MockSecret: cat.MockSecret(), Logger: logger,
	}, engine, backend{cat, supervisor})
	if err != nil {
		return err
	}
	var metrics net.Listener
	if s.metricsListen != "" {
		if metrics, err = new(net.ListenConfig).Listen(ctx, "tcp", s.metricsListen); err != nil {
			return fmt.Errorf("--metrics-listen: %w", err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	if metrics != nil {
		g.Go(func() error { return serveMetrics(ctx, metrics, exporter{cat, supervisor, logger}) })
	}
	g.Go(func() error { return supervisor.Run(ctx) })
	g.Go(func() error { return comparisons.Run(ctx) })
	g.Go(func() error { return srv.Run(ctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-cat.Err():
			return fmt.Errorf("catalog: %w", err)
		}
	})
	addresses := make([]string, 0, len(srv.Addrs()))
	for _, a := range srv.Addrs() {
		addresses = append(addresses, a.String())
	}
	if metrics != nil {
		addresses = append(addresses, "http://"+metrics.Addr().String()+"/metrics")
	}
	logger.Info("ready", "version", version, "addresses", strings.Join(addresses, ", "))
	return g.Wait()
}

func loadTLS(s settings) (*tls.Config, error) {
	if s.tlsCert == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(s.tlsCert, s.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
}

// streams shows the supervisor's streams to comparisons.
type streams struct{ supervisor *pgsync.Supervisor }

func (s streams) Stream(taskID string) (compare.Stream, bool) { return s.supervisor.Stream(taskID) }

// backend gives the server sessions on the catalog, with figures no older than the question.
type backend struct {
	catalog    *catalog.Catalog
	supervisor *pgsync.Supervisor
}

func (b backend) Open(ctx context.Context, p sqlapi.Privilege, params map[string]string) (*pgconn.HijackedConn, error) {
	return b.catalog.Session(ctx, string(p), params)
}

func (b backend) Cancel(ctx context.Context, conn *pgconn.HijackedConn) error {
	return b.catalog.CancelSession(ctx, conn)
}

func (b backend) Refresh(ctx context.Context) { b.supervisor.Refresh(ctx) }

func (b backend) Credential(ctx context.Context, user string) (server.Credential, bool, error) {
	u, err := b.catalog.User(ctx, user)
	if errors.Is(err, catalog.ErrNotFound) {
		return server.Credential{}, false, nil
	}
	if err != nil {
		return server.Credential{}, false, err
	}
	p, err := sqlapi.ParsePrivilege(u.Role)
	return server.Credential{Verifier: u.Verifier, Privilege: p}, err == nil, err
}
