package accounts

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// Role is a role of the source with everything about it that could be carried.
type Role struct {
	OID                                  uint32
	Name                                 string
	Superuser, Replication, BypassRLS    bool
	Inherit, CreateRole, CreateDB, Login bool
	ConnectionLimit                      int     // −1: none
	ValidUntil                           *string // of the password, as timestamptz prints it; nil: for ever
	Comment                              *string
	Settings                             []string // ALTER ROLE … SET, as name=value
	DatabaseSettings                     []string // ALTER ROLE … IN DATABASE … SET, for the source's database
	Labelled                             bool     // it has security labels
	PasswordReadable                     bool

	password *string // as stored; behind a pointer so that printing a Role does not show it; nil: none, or not readable
}

// System says why a role is no business of a task, or is empty.
func (r Role) System() string {
	switch {
	case strings.HasPrefix(r.Name, "pg_"):
		return "Names that begin with pg_ belong to PostgreSQL's own roles."
	case r.OID < firstOrdinary:
		return "It is a system role."
	}
	return ""
}

// firstOrdinary is the first OID that initdb does not assign (access/transam.h, FirstNormalObjectId).
const firstOrdinary = 16384

// Read returns the chosen roles of the source by name, and the names of those that do not exist there. All means every
// role that is no system role.
func Read(ctx context.Context, src schema.Querier, sel schema.Accounts) (roles []Role, missing []string, err error) {
	if sel.None() {
		return nil, nil, nil
	}
	version, err := schema.ServerVersion(ctx, src)
	if err != nil {
		return nil, nil, err
	}
	var readable bool
	err = src.QueryRow(ctx, `SELECT pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')
		AND pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'oid', 'SELECT')`).Scan(&readable)
	if err != nil {
		return nil, nil, fmt.Errorf("read roles: %w", err)
	}
	rowSecurity, verifier := "false", "NULL::text"
	if version >= 90500 {
		rowSecurity = "r.rolbypassrls"
	}
	if readable {
		verifier = "(SELECT a.rolpassword::text FROM pg_catalog.pg_authid a WHERE a.oid = r.oid)"
	}
	rows, err := src.Query(ctx, `
SELECT r.oid, r.rolname::text, r.rolsuper, r.rolreplication, `+rowSecurity+`, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
       r.rolconnlimit, r.rolvaliduntil::text, pg_catalog.shobj_description(r.oid, 'pg_authid'),
       coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0), '{}'),
       coalesce((SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
                  WHERE s.setrole = r.oid AND d.datname = pg_catalog.current_database()), '{}'),
       EXISTS (SELECT FROM pg_catalog.pg_shseclabel l
                WHERE l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND l.objoid = r.oid), `+verifier+`
  FROM pg_catalog.pg_roles r
 WHERE r.rolname = ANY ($1) OR $2 AND r.oid >= $3 AND r.rolname NOT LIKE 'pg\_%'
 ORDER BY r.rolname::text COLLATE "C"`, append([]string{}, sel.Roles...), sel.All, uint32(firstOrdinary))
	if err != nil {
		return nil, nil, fmt.Errorf("read roles: %w", err)
	}
	missing = slices.Clone(sel.Roles)
	r := Role{PasswordReadable: readable}
	into := []any{
		&r.OID, &r.Name, &r.Superuser, &r.Replication, &r.BypassRLS, &r.Inherit, &r.CreateRole, &r.CreateDB, &r.Login,
		&r.ConnectionLimit, &r.ValidUntil, &r.Comment, &r.Settings, &r.DatabaseSettings, &r.Labelled, &r.password,
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		roles = append(roles, r)
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == r.Name })
		r = Role{PasswordReadable: readable}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read roles: %w", err)
	}
	return roles, missing, nil
}
