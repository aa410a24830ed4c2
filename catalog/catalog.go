package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// poolSize bounds the daemon's own sessions. Clients have theirs beside it.
const poolSize = 16

// Config says where the catalog is and who owns it.
type Config struct {
	DataDir       string       // must be absolute; made when missing
	ConnInfo      string       // any PostgreSQL ≥ 13; empty: a private cluster in DataDir
	RunAs         string       // OS user of the private cluster when the daemon is root; default postgres
	SecretKeyFile string       // default DataDir/secret.key; made together with the catalog
	AdminPassword string       // of the user admin, used only when the catalog is made; empty: no password login
	Logger        *slog.Logger // required
}

// Validate names the field that is wrong.
func (cfg Config) Validate() error {
	switch {
	case !filepath.IsAbs(cfg.DataDir):
		return fmt.Errorf("catalog: Config.DataDir %q is not an absolute path", cfg.DataDir)
	case cfg.Logger == nil:
		return errors.New("catalog: Config.Logger is missing")
	}
	return nil
}

// Catalog is the open catalog. It is safe for concurrent use.
type Catalog struct {
	log     *slog.Logger
	lock    *os.File
	keyFile string
	key     *key // nil until bootstrap where the file is missing
	pool    *pgxpool.Pool
	roles   roles
	cluster *cluster // nil with Config.ConnInfo
}

// Open locks the data directory, starts the private cluster unless Config.ConnInfo names a server, brings the schema up
// to date and makes the login roles of sessions. ctx bounds the opening only.
func Open(ctx context.Context, cfg Config) (_ *Catalog, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	c := &Catalog{log: cfg.Logger}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open catalog: %w", err)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			if closeErr := c.Close(ctx); closeErr != nil {
				err = errors.Join(err, closeErr)
			}
		}
	}()
	if err := os.MkdirAll(cfg.DataDir, 0o711); err != nil { //nolint:gosec // the cluster's user passes through
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if c.lock, err = lockDir(cfg.DataDir); err != nil {
		return nil, err
	}
	if c.keyFile = cfg.SecretKeyFile; c.keyFile == "" {
		c.keyFile = filepath.Join(cfg.DataDir, "secret.key")
	}
	// Whether a missing key may be made is known once the catalog has been looked at.
	if c.key, err = readKey(c.keyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	conninfo := cfg.ConnInfo
	if conninfo == "" {
		if c.cluster, err = openCluster(ctx, cfg); err != nil {
			return nil, err
		}
		conninfo = c.cluster.conninfo(catalogDatabase)
	}
	if c.pool, err = openPool(ctx, conninfo, c.cluster != nil); err != nil {
		return nil, err
	}
	if err := c.bootstrap(ctx, cfg.AdminPassword); err != nil {
		return nil, err
	}
	return c, nil
}

func openPool(ctx context.Context, conninfo string, private bool) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(conninfo)
	if err != nil {
		return nil, fmt.Errorf("catalog connection: %w", err)
	}
	if private { // nothing of the environment (PGOPTIONS, PGTZ) reaches the private cluster
		cfg.ConnConfig.RuntimeParams = map[string]string{}
	}
	cfg.MaxConns = poolSize
	// A server that is gone without a word is missed after a minute; pgx's own settings take three quarters of an hour.
	alive := net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}
	cfg.ConnConfig.DialFunc = (&net.Dialer{KeepAliveConfig: alive}).DialContext
	cfg.ConnConfig.RuntimeParams["application_name"] = "pgsyncd"
	cfg.ConnConfig.RuntimeParams["search_path"] = "pgsyncd"
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	for _, timeout := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		cfg.ConnConfig.RuntimeParams[timeout] = "0"
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("catalog connection: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("catalog connection: %w", err)
	}
	return pool, nil
}

// Close ends the daemon's sessions, stops the private cluster (fast, and at once when ctx ends first) and unlocks the
// data directory. Everything that uses the catalog must have ended before.
func (c *Catalog) Close(ctx context.Context) error {
	var errs []error
	if c.pool != nil {
		errs = append(errs, c.closePool(ctx))
	}
	if c.cluster != nil {
		errs = append(errs, c.cluster.close(ctx))
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close catalog: %w", err)
	}
	return nil
}

// closePool waits for sessions in use, but not for ever: stopping the server ends them as well.
func (c *Catalog) closePool(ctx context.Context) error {
	closed := make(chan struct{})
	go func() {
		c.pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sessions still in use: %w", context.Cause(ctx))
	}
}

// Err delivers one error when the private cluster is gone and does not come back; never with Config.ConnInfo.
func (c *Catalog) Err() <-chan error {
	if c.cluster == nil {
		return nil
	}
	return c.cluster.failed
}

// Pool is the daemon's own pool. Its sessions have search_path pgsyncd.
func (c *Catalog) Pool() *pgxpool.Pool { return c.pool }

// inTx runs f in a transaction of its own.
func (c *Catalog) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, c.pool, f)
}
