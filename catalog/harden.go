package catalog

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// sessionLimit is the CONNECTION LIMIT of each session role.
const sessionLimit = 150

// roles are the login roles of sessions, one per privilege. They read the views of schema sync and can do nothing else;
// what the privileges differ in, the daemon decides before a statement comes here.
type roles struct{ admin, operator, monitor string }

var plainRoles = roles{admin: "pgsyncd_admin", operator: "pgsyncd_operator", monitor: "pgsyncd_monitor"}

// withSuffix names the roles of one catalog among others on the same server.
func (r roles) withSuffix(s string) roles {
	return roles{admin: r.admin + "_" + s, operator: r.operator + "_" + s, monitor: r.monitor + "_" + s}
}

func (r roles) names() []string { return []string{r.admin, r.operator, r.monitor} }

// of gives the login role of a privilege.
func (r roles) of(privilege string) (string, error) {
	switch privilege {
	case "admin":
		return r.admin, nil
	case "operator":
		return r.operator, nil
	case "monitor":
		return r.monitor, nil
	}
	return "", fmt.Errorf("no such privilege %q", privilege)
}

// list is the names for GRANT and REVOKE.
func (r roles) list() string {
	var quoted []string
	for _, name := range r.names() {
		quoted = append(quoted, pgx.Identifier{name}.Sanitize())
	}
	return strings.Join(quoted, ", ")
}

// forbidden matches the functions of pg_catalog that PUBLIC may execute and sessions may not: they write, take locks,
// wait, signal other sessions, reach for files or programs, or keep the server's resources beyond their statement.
const forbidden = `^(lo_.*|loread|lowrite|pg_notify|pg_logical_emit_message|pg_sleep.*|pg_terminate_backend` +
	`|pg_cancel_backend|pg_(try_)?advisory_.*|pg_export_snapshot|pg_stat_reset.*|txid_current|pg_current_xact_id` +
	`|pg_create_.*|pg_drop_replication_slot|pg_copy_.*_slot|pg_logical_slot_.*|pg_replication_slot_advance` +
	`|pg_sync_replication_slots|pg_log_.*|pg_import_system_collations|pg_nextoid|binary_upgrade_.*` +
	`|gin_clean_pending_list|brin_.*summarize.*|pg_restore_.*|pg_clear_.*)$`

// harden makes the session roles and takes from PUBLIC what they must not inherit from it. Everything is checked first, so
// that a catalog that is in order is not written to.
func (c *Catalog) harden(ctx context.Context, conn *pgx.Conn) error {
	c.roles = plainRoles
	if c.cluster == nil {
		c.roles = plainRoles.withSuffix(c.key.fingerprint()[:8])
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, role := range c.roles.names() {
			if err := c.ensureRole(ctx, tx, role); err != nil {
				return err
			}
		}
		if err := c.grant(ctx, tx); err != nil {
			return err
		}
		return c.revokeFunctions(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("make session roles: %w", err)
	}
	return c.verifyRoles(ctx, conn)
}

// ensureRole makes one login role. In a private cluster it logs in by its OS user, elsewhere by a password that every
// daemon derives from the shared key; the server learns only its verifier.
func (c *Catalog) ensureRole(ctx context.Context, tx pgx.Tx, role string) error {
	var exists bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role).Scan(&exists)
	if err != nil || exists {
		return err
	}
	sql := fmt.Sprintf("CREATE ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS CONNECTION LIMIT %d",
		pgx.Identifier{role}.Sanitize(), sessionLimit)
	if c.cluster == nil {
		verifier, err := Verifier(c.rolePassword(role))
		if err != nil {
			return err
		}
		sql += " PASSWORD '" + verifier + "'" // base64, nothing to quote
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("create role %s: %w", role, err)
	}
	return nil
}

// MockSecret is what makes up the salts of users that do not exist: the same after every start, unknown to clients.
func (c *Catalog) MockSecret() []byte { return []byte(c.key.derive("mock authentication")) }

func (c *Catalog) rolePassword(role string) string { return c.key.derive("role " + role) }

// grant sets privileges on the database and on schemas.
func (c *Catalog) grant(ctx context.Context, tx pgx.Tx) error {
	var database string
	if err := tx.QueryRow(ctx, "SELECT current_database()").Scan(&database); err != nil {
		return err
	}
	database = pgx.Identifier{database}.Sanitize()
	list := c.roles.list()
	for _, sql := range []string{
		"REVOKE TEMPORARY, CREATE ON DATABASE " + database + " FROM PUBLIC",
		"REVOKE ALL ON SCHEMA pgsyncd, sync FROM PUBLIC",
		"REVOKE USAGE ON LANGUAGE plpgsql, sql FROM PUBLIC",
		"GRANT CONNECT ON DATABASE " + database + " TO " + list,
		"GRANT USAGE ON SCHEMA sync TO " + list,
		"GRANT SELECT ON ALL TABLES IN SCHEMA sync TO " + list,
		"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sync TO " + list,
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	var hasPublic bool
	if err := tx.QueryRow(ctx, "SELECT to_regnamespace('public') IS NOT NULL").Scan(&hasPublic); err != nil || !hasPublic {
		return err
	}
	if _, err := tx.Exec(ctx, "REVOKE ALL ON SCHEMA public FROM PUBLIC"); err != nil {
		return fmt.Errorf("close schema public: %w", err)
	}
	return nil
}

// executable lists the forbidden functions that a session role could execute.
const executable = `SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
	WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proname ~ $1
	AND has_function_privilege($2::text, p.oid, 'EXECUTE') ORDER BY 1`

func (c *Catalog) revokeFunctions(ctx context.Context, tx pgx.Tx) error {
	functions, err := c.executable(ctx, tx)
	if err != nil || len(functions) == 0 {
		return err
	}
	// Without ownership this is a warning, not an error; verifyRoles tells.
	_, err = tx.Exec(ctx, "REVOKE EXECUTE ON FUNCTION "+strings.Join(functions, ", ")+" FROM PUBLIC")
	if err != nil {
		return fmt.Errorf("revoke functions: %w", err)
	}
	return nil
}

func (c *Catalog) executable(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.Query(ctx, executable, forbidden, c.roles.monitor)
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	functions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	return functions, nil
}

// querier is a connection, a transaction or a pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// verifyRoles refuses roles that have more than they should, and warns where the server's owner alone can take it away.
func (c *Catalog) verifyRoles(ctx context.Context, conn *pgx.Conn) error {
	const excess = `SELECT count(*) FROM pg_roles r WHERE r.rolname = ANY ($1) AND (r.rolsuper OR r.rolcreaterole
		OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))`
	var n int
	if err := conn.QueryRow(ctx, excess, c.roles.names()).Scan(&n); err != nil {
		return fmt.Errorf("verify session roles: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("roles %s: one of them is a member of another role or has attributes beyond LOGIN; revoke them",
			c.roles.list())
	}
	functions, err := c.executable(ctx, conn)
	if err != nil {
		return fmt.Errorf("verify session roles: %w", err)
	}
	if len(functions) > 0 {
		c.log.Warn("clients can execute functions that only a superuser of the catalog's server can take from them",
			"statement", "REVOKE EXECUTE ON FUNCTION "+strings.Join(functions, ", ")+" FROM PUBLIC; GRANT EXECUTE ON FUNCTION "+
				"pg_notify(text, text), pg_advisory_lock(bigint), pg_advisory_unlock(bigint) TO "+
				pgx.Identifier{conn.Config().User}.Sanitize())
	}
	if c.cluster != nil {
		return nil
	}
	hc, err := c.Session(ctx, "monitor", nil)
	if err != nil {
		return fmt.Errorf("%w: the catalog's pg_hba.conf must let %s log in by password from here", err, c.roles.list())
	}
	return hc.Conn.Close()
}
