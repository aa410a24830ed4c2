package catalog

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// pinned are the settings of every session, given in the start-up packet, where they take precedence over what a role
// has set for itself. A client can change them for its session, and RESET leads back here.
var pinned = map[string]string{
	"search_path":                         "sync", // pg_catalog is searched first by itself
	"statement_timeout":                   "1h",   // the daemon keeps its own limits; these hold if it cannot
	"idle_in_transaction_session_timeout": "1h",
	"lock_timeout":                        "0",
	"work_mem":                            "4MB",
}

// settable are the start-up parameters that a client may give, in lower case.
var settable = map[string]string{
	"application_name":                    "application_name",
	"bytea_output":                        "bytea_output",
	"client_encoding":                     "client_encoding",
	"client_min_messages":                 "client_min_messages",
	"datestyle":                           "DateStyle",
	"extra_float_digits":                  "extra_float_digits",
	"geqo":                                "geqo",
	"idle_in_transaction_session_timeout": "idle_in_transaction_session_timeout",
	"intervalstyle":                       "IntervalStyle",
	"lock_timeout":                        "lock_timeout",
	"search_path":                         "search_path",
	"standard_conforming_strings":         "standard_conforming_strings",
	"statement_timeout":                   "statement_timeout",
	"timezone":                            "TimeZone",
}

// ParameterError says that a client gave a start-up parameter that it cannot set.
type ParameterError struct{ Name string }

// Error names the parameter.
func (e *ParameterError) Error() string {
	return fmt.Sprintf("start-up parameter %q is not supported", e.Name)
}

// Session opens a session for a client with the given privilege ("admin", "operator", "monitor") and hands out its raw
// connection, idle. params are the client's start-up parameters; user, database and protocol options (_pq_.*) are
// skipped, others that it cannot set are a *ParameterError, and a bad value is the server's *pgconn.PgError.
func (c *Catalog) Session(ctx context.Context, privilege string, params map[string]string) (*pgconn.HijackedConn, error) {
	role, err := c.roles.of(privilege)
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	cfg := c.pool.Config().ConnConfig.Config.Copy()
	cfg.User, cfg.Password = role, ""
	if c.cluster == nil {
		cfg.Password = c.rolePassword(role)
	}
	if cfg.RuntimeParams, err = sessionParams(params); err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open session as %s: %w", role, err)
	}
	if err := conn.SyncConn(ctx); err != nil {
		return nil, fmt.Errorf("open session as %s: %w", role, err)
	}
	hc, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("open session as %s: %w", role, err)
	}
	return hc, nil
}

func sessionParams(params map[string]string) (map[string]string, error) {
	set := maps.Clone(pinned)
	for name, value := range params {
		lower := strings.ToLower(name)
		if lower == "user" || lower == "database" || strings.HasPrefix(lower, "_pq_.") {
			continue
		}
		canonical, ok := settable[lower]
		if !ok {
			return nil, &ParameterError{Name: name}
		}
		set[canonical] = value
	}
	return set, nil
}

// CancelSession sends a cancel request for a session that Session opened. It may come too late to have an effect.
func (c *Catalog) CancelSession(ctx context.Context, hc *pgconn.HijackedConn) error {
	own := *hc // Construct replaces the front end of what it is given
	conn, err := pgconn.Construct(&own)
	if err != nil {
		return fmt.Errorf("cancel statement of session %d: %w", hc.PID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := conn.CancelRequest(ctx); err != nil {
		return fmt.Errorf("cancel statement of session %d: %w", hc.PID, err)
	}
	return nil
}
