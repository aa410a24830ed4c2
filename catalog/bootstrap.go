package catalog

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// bootstrapLock keeps daemons that share a catalog from opening it at the same time. The number means nothing.
const bootstrapLock = 7094523366914002

// bootstrap brings the catalog up to date with this version of the daemon. It does no harm when repeated.
func (c *Catalog) bootstrap(ctx context.Context, adminPassword string) error {
	pooled, err := c.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("catalog connection: %w", err)
	}
	defer pooled.Release()
	conn := pooled.Conn()
	if err := checkServer(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(bootstrapLock)); err != nil {
		return fmt.Errorf("lock catalog: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(bootstrapLock)); err != nil {
			c.log.Warn("unlock catalog", "error", err) // the lock ends with the session at the latest
		}
	}()
	if err := migrateSchema(ctx, conn); err != nil {
		return err
	}
	if err := c.claim(ctx, conn, adminPassword); err != nil {
		return err
	}
	if err := describeOptions(ctx, conn); err != nil {
		return err
	}
	return c.harden(ctx, conn)
}

func checkServer(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var encoding string
	err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')").
		Scan(&version, &encoding)
	switch {
	case err != nil:
		return fmt.Errorf("version of the catalog's server: %w", err)
	case version/10000 < minMajor:
		return fmt.Errorf("the catalog's server is PostgreSQL %d, it must be %d or newer", version/10000, minMajor)
	case encoding != "UTF8":
		return fmt.Errorf("the catalog's database has the encoding %s, it must be UTF8", encoding)
	}
	return nil
}

func migrateSchema(ctx context.Context, conn *pgx.Conn) error {
	const schemas = `CREATE SCHEMA IF NOT EXISTS pgsyncd; CREATE SCHEMA IF NOT EXISTS sync;
		COMMENT ON SCHEMA pgsyncd IS 'State of the daemon pgsyncd';
		COMMENT ON SCHEMA sync IS 'Relations of the daemon pgsyncd for its users'`
	if _, err := conn.Exec(ctx, schemas); err != nil {
		return fmt.Errorf("make catalog schemas: %w", err)
	}
	m, err := migrate.NewMigrator(ctx, conn, "pgsyncd.schema_version")
	if err != nil {
		return fmt.Errorf("migrate catalog: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate catalog: %w", err)
	}
	if err := m.LoadMigrations(files); err != nil {
		return fmt.Errorf("migrate catalog: %w", err)
	}
	current, err := m.GetCurrentVersion(ctx)
	if err != nil {
		return fmt.Errorf("migrate catalog: %w", err)
	}
	if int(current) > len(m.Migrations) {
		return fmt.Errorf("the catalog was made by a newer pgsyncd (schema %d, this one knows %d)", current,
			len(m.Migrations))
	}
	if err := m.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate catalog: %w", err)
	}
	return nil
}

// claim notes whose key encrypts this catalog and makes the user admin at the first time, and the key where there is none yet; later
// it refuses other keys, and to go on without.
func (c *Catalog) claim(ctx context.Context, conn *pgx.Conn, adminPassword string) error {
	var fingerprint string
	err := conn.QueryRow(ctx, "SELECT value FROM pgsyncd.setting WHERE name = 'key_fingerprint'").Scan(&fingerprint)
	switch {
	case err == nil && c.key == nil:
		return fmt.Errorf("the secret key %s is missing, and the connection strings in this catalog cannot be read without it: "+
			"put the file back, or name it with --secret-key-file", c.keyFile)
	case err == nil && fingerprint == c.key.fingerprint():
		return nil
	case err == nil:
		return errors.New("the secret key is not the one that encrypts this catalog; daemons that share a catalog share the key")
	case !errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("key of the catalog: %w", err)
	}
	if c.key == nil {
		if c.key, err = loadKey(c.keyFile); err != nil {
			return err
		}
	}
	verifier := ""
	if adminPassword != "" {
		if verifier, err = Verifier(adminPassword); err != nil {
			return err
		}
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO pgsyncd.daemon_user (name, role, verifier) VALUES ('admin', 'admin', $1)", verifier)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO pgsyncd.setting VALUES ('key_fingerprint', $1)", c.key.fingerprint())
		return err
	})
	if err != nil {
		return fmt.Errorf("make user admin: %w", err)
	}
	return nil
}
