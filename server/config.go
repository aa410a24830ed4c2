package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgx/v5/pgconn"
)

// DefaultPort is the daemon's port; the Unix socket is named after it.
const DefaultPort = 7432

// Config says where to listen and what a client may take. A limit of zero means the default named beside it, a negative time limit
// means none.
type Config struct {
	Listen      []string    // TCP addresses, host:port
	SocketDir   string      // directory of the Unix socket .s.PGSQL.7432, whatever the TCP ports are; empty: no socket
	TLS         *tls.Config // certificates to offer; nil: TLS is declined
	TLSRequired bool        // TCP clients must use TLS

	MaxSessions      int // 100; sessions that are logged in
	ReservedSessions int // 3; of them kept free for the Unix socket
	MaxPending       int // 100; connections that have not logged in yet

	LoginTimeout             time.Duration // 60 s from accept to the end of authentication
	StatementTimeout         time.Duration // 10 min of wall-clock time for one forwarded statement
	ControlTimeout           time.Duration // none; for one control statement, WAIT among them
	IdleInTransactionTimeout time.Duration // 10 min
	MaxSessionAge            time.Duration // none

	// MockSecret keys the salts that are made up for unknown users. It should stay the same over restarts and be unknown to
	// clients; by default it is random, and a restart then tells unknown users from known ones.
	MockSecret []byte

	Logger *slog.Logger // required
}

// Validate names the first field that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.Logger == nil:
		return errors.New("server: Logger is missing")
	case len(c.Listen) == 0 && c.SocketDir == "":
		return errors.New("server: neither Listen nor SocketDir is set")
	case c.TLSRequired && c.TLS == nil:
		return errors.New("server: TLSRequired needs TLS")
	case c.MaxSessions < 0:
		return fmt.Errorf("server: MaxSessions is %d", c.MaxSessions)
	case c.ReservedSessions < 0:
		return fmt.Errorf("server: ReservedSessions is %d", c.ReservedSessions)
	case c.MaxPending < 0:
		return fmt.Errorf("server: MaxPending is %d", c.MaxPending)
	}
	for _, addr := range c.Listen {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("server: Listen: %w", err)
		}
	}
	return nil
}

// withDefaults returns c with every zero limit replaced, and with zero for the time limits that are off.
func (c Config) withDefaults() Config {
	setDefault(&c.MaxSessions, 100)
	setDefault(&c.ReservedSessions, 3)
	setDefault(&c.MaxPending, 100)
	setDefault(&c.LoginTimeout, time.Minute)
	setDefault(&c.StatementTimeout, 10*time.Minute)
	setDefault(&c.IdleInTransactionTimeout, 10*time.Minute)
	for _, d := range []*time.Duration{
		&c.LoginTimeout, &c.StatementTimeout, &c.ControlTimeout, &c.IdleInTransactionTimeout, &c.MaxSessionAge,
	} {
		*d = max(*d, 0)
	}
	return c
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Control executes control statements.
type Control interface {
	// Prepare parses and checks one control statement. It changes nothing.
	Prepare(s *sqlapi.Session, text string) (*sqlapi.Prepared, error)
	// Run does what the statement says. The context ends when the client cancels or leaves.
	Run(ctx context.Context, s *sqlapi.Session, p *sqlapi.Prepared) error
	// Release forgets what was kept for the session.
	Release(s *sqlapi.Session)
}

// Backend gives access to the catalog database.
type Backend interface {
	// Open returns a connection with the rights of the privilege. It must be idle, and nothing may be reading from it any more:
	// pgconn's SyncConn comes before Hijack. The parameters are the client's, filtered. A *sqlapi.Error, and a PgError about the value
	// of a parameter, are shown to the client.
	Open(ctx context.Context, p sqlapi.Privilege, params map[string]string) (*pgconn.HijackedConn, error)
	// Cancel asks the database to cancel what the connection is executing, and returns when it has been asked.
	Cancel(ctx context.Context, conn *pgconn.HijackedConn) error
	// Refresh brings live figures into the catalog before they are read. It is called for every query, so it does no more than is
	// needed for figures of the present, and gives up soon where that cannot be had.
	Refresh(ctx context.Context)
	// Credential looks a user up; false means there is none.
	Credential(ctx context.Context, user string) (Credential, bool, error)
}

// Credential is what is known of a user at login.
type Credential struct {
	Verifier  string // as in pg_authid: SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey
	Privilege sqlapi.Privilege
}
