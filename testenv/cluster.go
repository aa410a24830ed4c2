package testenv

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Superuser and Password are the login of every cluster. The password is a word that occurs nowhere else, so that a test
// can look for it where no secret may be.
const (
	Superuser = "postgres"
	Password  = "correct-horse-testenv"
)

// startTimeout bounds a start, crash recovery included.
const startTimeout = 2 * time.Minute

// Config describes a cluster. The zero value is a PostgreSQL 15 with logical decoding, ready for tests.
type Config struct {
	// Version is the major version: "15" (default), "9.6". It is found on this machine or fetched; see the table in fetch.go.
	Version string
	// Settings override the defaults of postgresql.conf. Values are given bare and quoted here.
	Settings map[string]string
	// Dir is where the cluster lives; it must be absent or empty and is removed by Destroy. Default: a temporary one.
	Dir string
	// HBA holds lines of pg_hba.conf that go before the default ones.
	HBA []string
	// InitArgs are further arguments of initdb, such as "--locale=C" or "--encoding=LATIN1".
	InitArgs []string
	// Port is the TCP port on 127.0.0.1. Default: a free one.
	Port int
	// Log receives what was run to make the cluster. Default: nothing.
	Log io.Writer
	// Fsync turns fsync on. Without it nothing is lost when a server is stopped or killed, only when the machine is.
	Fsync bool
	// TLS gives the server a certificate for localhost and 127.0.0.1, signed by the authority in CAFile.
	TLS bool
}

// Cluster is one PostgreSQL server and its files. Its methods may be called concurrently.
type Cluster struct {
	version string // as asked for: "15"
	num     int    // like server_version_num, of the major version: 150000, 90600
	bin     string
	dir     string // data/, s/ (socket), log, ca.crt
	port    *port
	log     io.Writer
	standby bool

	mu       sync.Mutex
	settings map[string]string
	removed  bool
}

// New makes a cluster, starts it and returns when it accepts connections.
func New(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := c.create(ctx, cfg); err != nil {
		_ = c.Destroy()
		return nil, fmt.Errorf("cluster %s: %w", c.version, err)
	}
	return c, nil
}

// prepare finds binaries, directory and port.
func prepare(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Version == "" {
		cfg.Version = DefaultVersion
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	num, err := versionNumber(cfg.Version)
	if err != nil {
		return nil, err
	}
	bin, err := ServerBin(ctx, cfg.Version)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Version, err)
	}
	dir, err := workDir(cfg.Dir, "c")
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Version, err)
	}
	p, err := reservePort(ctx, cfg.Port)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Version, err)
	}
	c := &Cluster{version: cfg.Version, num: num, bin: bin, dir: dir, port: p, log: cfg.Log, settings: map[string]string{}}
	if len(filepath.Join(c.SocketDir(), ".s.PGSQL.65535.lock")) > 107 {
		p.Close()
		return nil, fmt.Errorf("cluster %s: directory %s: too long for a socket path", cfg.Version, dir)
	}
	for _, d := range []string{dir, c.SocketDir()} {
		if err := mkdirOpen(d); err != nil {
			return nil, err
		}
		if err := own(d); err != nil {
			return nil, fmt.Errorf("cluster %s: %w", cfg.Version, err)
		}
	}
	c.enlist()
	return c, nil
}

// create fills the data directory and starts the server, on another port when somebody took ours.
func (c *Cluster) create(ctx context.Context, cfg Config) error {
	if err := c.initialize(ctx, cfg.InitArgs); err != nil {
		return err
	}
	c.settings = c.defaults(cfg.Fsync)
	if cfg.TLS {
		if err := c.makeCertificate(); err != nil {
			return err
		}
		c.settings["ssl"] = "on"
	}
	maps.Copy(c.settings, cfg.Settings)
	if err := c.writeHBA(cfg.HBA); err != nil {
		return err
	}
	if err := c.appendConf("include 'testenv.conf'\n"); err != nil {
		return err
	}
	return c.firstStart(ctx, cfg.Port != 0)
}

// firstStart may still change the port.
func (c *Cluster) firstStart(ctx context.Context, fixedPort bool) error {
	for try := 1; ; try++ {
		if err := c.writeSettings(); err != nil {
			return err
		}
		err := c.start(ctx)
		if err == nil || fixedPort || try == 5 || !strings.Contains(err.Error(), "could not bind") {
			return err
		}
		p, perr := reservePort(ctx, 0)
		if perr != nil {
			return perr
		}
		c.port.Close()
		c.port = p
	}
}

// defaults are the settings that Config.Settings override.
func (c *Cluster) defaults(fsync bool) map[string]string {
	s := map[string]string{
		"wal_level":                 "logical",
		"max_replication_slots":     "40",
		"max_wal_senders":           "40",
		"max_worker_processes":      "20",
		"max_connections":           "120",
		"max_prepared_transactions": "20",
		"shared_buffers":            "32MB",
		"fsync":                     "off",
		"hot_standby":               "on",
		"timezone":                  "UTC",
		"log_timezone":              "UTC",
		"log_line_prefix":           "%m [%p] %q%u@%d ",
		// Shared memory segments in files of the data directory: kill -9 leaves none behind in /dev/shm.
		"dynamic_shared_memory_type": "mmap",
	}
	if fsync {
		s["fsync"] = "on"
	}
	if c.num >= 100000 {
		s["password_encryption"] = "scram-sha-256"
		s["max_logical_replication_workers"] = "12"
	}
	return s
}

// writeSettings writes testenv.conf, which postgresql.conf includes last.
func (c *Cluster) writeSettings() error {
	var b strings.Builder
	for name, value := range c.settings {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(value, "'", "''"))
	}
	fmt.Fprintf(&b, "listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\n", c.port.number, c.SocketDir())
	return c.writeData("testenv.conf", b.String())
}

func (c *Cluster) writeHBA(first []string) error {
	method := "scram-sha-256"
	if c.num < 100000 {
		method = "md5"
	}
	lines := append(append([]string{}, first...),
		"local all all trust",
		"local replication all trust",
		"host all all 127.0.0.1/32 "+method,
		"host replication all 127.0.0.1/32 "+method, "")
	return c.writeData("pg_hba.conf", strings.Join(lines, "\n"))
}

func (c *Cluster) writeData(name, content string) error {
	path := filepath.Join(c.DataDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return own(path)
}

func (c *Cluster) appendConf(text string) error {
	path := filepath.Join(c.DataDir(), "postgresql.conf")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return c.writeData("postgresql.conf", string(old)+text)
}

// ConnString is the libpq connection string of db over TCP, with the password.
func (c *Cluster) ConnString(db string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=%s password=%s sslmode=disable",
		c.port.number, quoteConninfo(db), Superuser, Password)
}

// SocketString is the libpq connection string of db over the private Unix socket, which asks for no password.
func (c *Cluster) SocketString(db string) string {
	return fmt.Sprintf("host=%s port=%d dbname=%s user=%s", c.SocketDir(), c.port.number, quoteConninfo(db), Superuser)
}

func quoteConninfo(s string) string {
	if s != "" && !strings.ContainsAny(s, ` '\`) {
		return s
	}
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// open connects over the socket.
func (c *Cluster) open(ctx context.Context, db string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, c.SocketString(db))
}

// Host is the TCP address.
func (c *Cluster) Host() string { return "127.0.0.1" }

// Port is the TCP port; it never changes once New has returned.
func (c *Cluster) Port() int { return c.port.number }

// Addr is host:port, for a Proxy.
func (c *Cluster) Addr() string { return c.Host() + ":" + strconv.Itoa(c.Port()) }

// DataDir is the server's data directory.
func (c *Cluster) DataDir() string { return filepath.Join(c.dir, "data") }

// SocketDir holds the Unix socket.
func (c *Cluster) SocketDir() string { return filepath.Join(c.dir, "s") }

// LogFile is the server's log.
func (c *Cluster) LogFile() string { return filepath.Join(c.dir, "log") }

// Version is the major version as it was asked for, "15" or "9.6".
func (c *Cluster) Version() string { return c.version }

// VersionNum is the major version as a number: 150000, 90600.
func (c *Cluster) VersionNum() int { return c.num }

// BinDir holds the server's programs; initdb, pg_ctl and postgres at least.
func (c *Cluster) BinDir() string { return c.bin }

// CAFile is the certificate of the authority that signed the server's; the cluster must have been made with TLS.
func (c *Cluster) CAFile() string { return filepath.Join(c.dir, "ca.crt") }
