package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"
)

// ConnectError is a failure to open a session. Its text holds no secret.
type ConnectError struct {
	endpoint    Endpoint
	replication bool
	err         error
}

func (e *ConnectError) Error() string {
	d := Diagnose(e.err)
	return e.endpoint.Redact(fmt.Sprintf("connect to %s: %s: %s", e.endpoint, d.Cause, d.Message))
}

// Unwrap returns what the driver reported, with one error per attempt.
func (e *ConnectError) Unwrap() error { return e.err }

// Connect opens a session with the settings of pins.go. application becomes its
// application_name. Descriptions of statements are cached on the client only, so
// that no server-side plan outlives a change of the tables.
func (e Endpoint) Connect(ctx context.Context, application string) (*pgx.Conn, error) {
	config, err := e.config(application, startup(0))
	if err != nil {
		return nil, err
	}
	config.AfterConnect = pinSession
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, e.failed(ctx, err, false)
	}
	return conn, nil
}

// ConnectRaw is Connect for users of the wire protocol: COPY, pipelines,
// hijacking.
func (e Endpoint) ConnectRaw(ctx context.Context, application string) (*pgconn.PgConn, error) {
	config, err := e.config(application, startup(0))
	if err != nil {
		return nil, err
	}
	config.AfterConnect = pinSession
	conn, err := pgconn.ConnectConfig(ctx, &config.Config)
	if err != nil {
		return nil, e.failed(ctx, err, false)
	}
	return conn, nil
}

// ConnectReplication opens a session for logical replication (replication =
// database) with the same settings. It accepts SQL from PostgreSQL 10 on.
func (e Endpoint) ConnectReplication(ctx context.Context, application string) (*pgconn.PgConn, error) {
	connect := func(parameters map[string]string) (*pgconn.PgConn, error) {
		parameters["replication"] = "database"
		config, err := e.config(application, parameters)
		if err != nil {
			return nil, err
		}
		conn, err := pgconn.ConnectConfig(ctx, &config.Config)
		if err != nil {
			return nil, e.failed(ctx, err, true)
		}
		return conn, nil
	}
	conn, err := connect(startup(0))
	if err != nil {
		return nil, err
	}
	version := reportedVersion(conn)
	if version < 1000 && later(version) != "" {
		// This walsender understands no SET; now that its version is known, all
		// settings fit into the start-up packet.
		if err := conn.Close(ctx); err != nil {
			return nil, e.failed(ctx, err, true)
		}
		return connect(startup(version))
	}
	if version >= 1000 {
		if err := pinSession(ctx, conn); err != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			return nil, e.failed(ctx, errors.Join(err, conn.Close(closing)), true)
		}
	}
	return conn, nil
}

// Configured returns the values of settings that the server gives to other
// sessions of this role in this database: those without the settings of pins.go, time-outs aside.
func (e Endpoint) Configured(ctx context.Context, application string, names ...string) (map[string]string, error) {
	config, err := e.config(application, map[string]string{"client_encoding": "UTF8", "statement_timeout": "0", "lock_timeout": "0"})
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, e.failed(ctx, err, false)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // the answer is already known
	}()
	rows, err := conn.Query(ctx, "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY ($1)", names)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	values := map[string]string{}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { values[name] = value; return nil }); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return values, nil
}

// failed wraps an error of the driver without the configuration that the
// driver's own type carries. A cancelled context stays recognizable.
func (e Endpoint) failed(ctx context.Context, err error, replication bool) error {
	var attempt *pgconn.ConnectError
	if errors.As(err, &attempt) {
		err = attempt.Unwrap()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return &ConnectError{endpoint: e, replication: replication, err: err}
}

// config makes a configuration of pgx from explicit values alone.
func (e Endpoint) config(application string, parameters map[string]string) (*pgx.ConnConfig, error) {
	template, err := emptyConfig()
	if err != nil {
		return nil, fmt.Errorf("prepare connection settings: %w", err)
	}
	s := e.settings
	config := template.Copy()
	config.Database, config.User, config.Password = s.database, s.user, s.password
	config.ConnectTimeout = s.connectTimeout
	config.DialFunc = s.dial
	config.SSLNegotiation, config.SSLCertMode = s.tls.negotiation, s.tls.certMode
	config.ChannelBinding, config.RequireAuth = s.channelBinding, s.requireAuth
	config.MinProtocolVersion, config.MaxProtocolVersion = s.minProtocol, s.maxProtocol
	if config.MaxProtocolVersion == "" && s.minProtocol != "" && s.minProtocol != "3.0" {
		config.MaxProtocolVersion = "latest"
	}
	config.ValidateConnect = validators[s.sessionAttrs]
	config.RuntimeParams = parameters
	config.RuntimeParams["application_name"] = application
	if s.options != "" {
		// The server applies options before the other parameters: pins win.
		config.RuntimeParams["options"] = s.options
	}
	var attempts []*pgconn.FallbackConfig
	for _, h := range s.ordered() {
		for _, t := range s.tls.attempts(h) {
			attempts = append(attempts, &pgconn.FallbackConfig{Host: h.address, Port: h.port, TLSConfig: t})
		}
	}
	config.Host, config.Port, config.TLSConfig = attempts[0].Host, attempts[0].Port, attempts[0].TLSConfig
	config.Fallbacks = attempts[1:]
	return config, nil
}

func (s *settings) ordered() []host {
	if !s.shuffle {
		return s.hosts
	}
	hosts := slices.Clone(s.hosts)
	//nolint:gosec // spreads load, keeps no secret
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	return hosts
}

func (s *settings) dialer() *net.Dialer {
	dialer := &net.Dialer{KeepAlive: -1, KeepAliveConfig: s.keepAlive}
	if s.userTimeout > 0 {
		milliseconds := int(s.userTimeout.Milliseconds())
		dialer.Control = func(network, _ string, raw syscall.RawConn) (err error) {
			if network == "unix" {
				return nil
			}
			controlErr := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds)
			})
			return errors.Join(controlErr, err)
		}
	}
	return dialer
}

var validators = map[string]pgconn.ValidateConnectFunc{
	"read-write":     pgconn.ValidateConnectTargetSessionAttrsReadWrite,
	"read-only":      pgconn.ValidateConnectTargetSessionAttrsReadOnly,
	"primary":        pgconn.ValidateConnectTargetSessionAttrsPrimary,
	"standby":        pgconn.ValidateConnectTargetSessionAttrsStandby,
	"prefer-standby": pgconn.ValidateConnectTargetSessionAttrsPreferStandby,
}

// emptyConfig returns the configuration that all others are copied from. pgx
// accepts only what its own parser made, and that parser reads the environment;
// so it is given every keyword that a variable could supply, and config replaces
// them all.
var emptyConfig = sync.OnceValues(func() (*pgx.ConnConfig, error) {
	explicit := "host=/ port=1 user=none password=none dbname=none passfile='' connect_timeout=0 " +
		"sslmode=disable sslkey='' sslcert='' sslcertmode=allow sslsni=1 sslrootcert='' sslpassword='' " +
		"sslnegotiation=postgres target_session_attrs=any min_protocol_version='' max_protocol_version='' " +
		"channel_binding=prefer require_auth=''"
	if os.Getenv("PGSERVICE") != "" { // the one that cannot be overridden by an empty value
		file, err := os.CreateTemp("", "pgsyncd-service-")
		if err != nil {
			return nil, err
		}
		defer func() { _, _ = file.Close(), os.Remove(file.Name()) }() // an empty file in the temporary directory
		if _, err := file.WriteString("[none]\n"); err != nil {
			return nil, err
		}
		explicit += " service=none servicefile=" + quote(file.Name())
	}
	return pgx.ParseConfig(explicit)
})
