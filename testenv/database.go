package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cleanupTimeout bounds what is done after a test.
const cleanupTimeout = time.Minute

// Start makes a cluster that is destroyed when the test ends. It fails the test on any error; a failed test shows the end
// of the server's log.
func Start(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	c, err := New(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	cleanUp(tb, c)
	return c
}

// StartStandby makes a standby of c that is destroyed when the test ends.
func (c *Cluster) StartStandby(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	s, err := c.Standby(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	cleanUp(tb, s)
	return s
}

func cleanUp(tb testing.TB, c *Cluster) {
	tb.Helper()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("end of the log of PostgreSQL %s on port %d:\n%s", c.version, c.Port(), c.logSince(0))
		}
		if err := c.Destroy(); err != nil {
			tb.Errorf("destroy cluster: %v", err)
		}
	})
}

var sharedSource, sharedDestination = sync.OnceValues(newShared), sync.OnceValues(newShared)

// newShared makes a cluster that lives until the process ends, when the watchdog removes it.
func newShared() (*Cluster, error) { return New(context.Background(), Config{}) }

// Shared is one default cluster for all tests of the process, made at the first call. Tests take databases of it and leave
// its settings alone.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	c, err := sharedSource()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// SharedPair is the shared cluster and a second one like it.
func SharedPair(tb testing.TB) (source, destination *Cluster) {
	tb.Helper()
	source = Shared(tb)
	destination, err := sharedDestination()
	if err != nil {
		tb.Fatal(err)
	}
	return source, destination
}

var databases atomic.Int64

// Database creates a database and returns its name, which needs no quotes. When the test ends it is dropped with its
// sessions, replication slots, subscriptions and prepared transactions; if the server is down by then, it is left.
func (c *Cluster) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("t%d_%s", databases.Add(1), plainName(tb.Name()))
	c.Exec(tb, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0")
	tb.Cleanup(func() {
		if c.PID() == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), cleanupTimeout)
		defer cancel()
		if err := c.DropDatabase(ctx, name); err != nil {
			tb.Errorf("drop database %s: %v", name, err)
		}
	})
	return name
}

// plainName keeps letters, digits and underscores, 40 at most.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, s)
	return s[:min(len(s), 40)]
}

// DropDatabase drops a database with everything that would stand in the way: sessions, replication slots, subscriptions
// (their remote slots stay) and prepared transactions. A missing one is no error.
func (c *Cluster) DropDatabase(ctx context.Context, name string) error {
	quoted := pgx.Identifier{name}.Sanitize()
	return c.inSession(ctx, "postgres", func(conn *pgx.Conn) error {
		var exists bool
		if err := conn.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_database WHERE datname = $1", name).Scan(&exists); err != nil || !exists {
			return err
		}
		// Sessions and walsenders may come back while their owner has not noticed; hence again until it works.
		return waitFor(ctx, func() error {
			if _, err := conn.Exec(ctx, "ALTER DATABASE "+quoted+" WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1"); err != nil {
				return err
			}
			if err := c.emptyDatabase(ctx, name); err != nil {
				return err
			}
			if _, err := conn.Exec(ctx, "ALTER DATABASE "+quoted+" WITH ALLOW_CONNECTIONS false"); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
			if err != nil {
				return err
			}
			_, err = conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1", name)
			if err != nil {
				return err
			}
			_, err = conn.Exec(ctx, "DROP DATABASE "+quoted)
			return err
		})
	})
}

// emptyDatabase removes what DROP DATABASE refuses to remove, from inside.
func (c *Cluster) emptyDatabase(ctx context.Context, name string) error {
	return c.inSession(ctx, name, func(conn *pgx.Conn) error {
		statements, err := column(ctx, conn, `SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = current_database()`)
		if err != nil {
			return err
		}
		if c.num >= 100000 {
			more, err := column(ctx, conn, `SELECT format(s, quote_ident(subname))
				FROM pg_subscription CROSS JOIN unnest(ARRAY['ALTER SUBSCRIPTION %s DISABLE',
					'ALTER SUBSCRIPTION %s SET (slot_name = NONE)', 'DROP SUBSCRIPTION %s']) WITH ORDINALITY AS u(s, n)
				WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY subname, n`)
			if err != nil {
				return err
			}
			statements = append(statements, more...)
		}
		for _, s := range statements {
			if _, err := conn.Exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
}

// column reads the only column of a query, as text.
func column(ctx context.Context, conn *pgx.Conn, sql string) ([]string, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Connect opens a session over TCP that is closed when the test ends.
func (c *Cluster) Connect(tb testing.TB, db string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), c.ConnString(db))
	if err != nil {
		tb.Fatalf("connect to %s: %v", db, err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), cleanupTimeout)
		defer cancel()
		_ = conn.Close(ctx) // the server may be gone
	})
	return conn
}

// Exec runs SQL in a session of its own: one statement if there are arguments, any number without.
func (c *Cluster) Exec(tb testing.TB, db, sql string, args ...any) {
	tb.Helper()
	err := c.inSession(tb.Context(), db, func(conn *pgx.Conn) error {
		if len(args) == 0 {
			return errors.Join(conn.PgConn().Exec(tb.Context(), sql).Close())
		}
		_, err := conn.Exec(tb.Context(), sql, args...)
		return err
	})
	if err != nil {
		tb.Fatalf("in %s: %v\n%s", db, err, sql)
	}
}
