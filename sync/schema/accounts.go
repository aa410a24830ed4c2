package schema

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// accounts reads what carrying owners and privileges needs besides the dump.
func (r *reader) accounts(ctx context.Context) error {
	if r.sel.Accounts.None() {
		return nil
	}
	superusers, err := query(ctx, r.q, "SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper", nil, pgx.RowTo[string])
	if err != nil {
		return err
	}
	r.inv.superusers = set(superusers)
	schemas := map[string]bool{}
	for oid := range r.inv.selected {
		if name := r.inv.relations[oid].Schema; name != "public" && !r.scope.whole(name) {
			schemas[name] = true
		}
	}
	type grant struct {
		Schema, Owner, Privilege string
		Grantable                bool
		Grantee, Grantor         *string
	}
	grants, err := query(ctx, r.q, schemaGrantsSQL, []any{slices.Collect(maps.Keys(schemas))}, pgx.RowToStructByPos[grant])
	if err != nil {
		return err
	}
	for _, g := range grants {
		quoted, grantee, option := Name{Name: g.Schema}.String(), "PUBLIC", ""
		if g.Grantee != nil {
			grantee = pgx.Identifier{*g.Grantee}.Sanitize()
		}
		if g.Grantable {
			option = " WITH GRANT OPTION"
		}
		sql := fmt.Sprintf("GRANT %s ON SCHEMA %s TO %s%s;", g.Privilege, quoted, grantee, option)
		if g.Grantor != nil {
			sql = fmt.Sprintf("SET SESSION AUTHORIZATION %s;\n%s\nRESET SESSION AUTHORIZATION;", pgx.Identifier{*g.Grantor}.Sanitize(), sql)
		}
		last := len(r.inv.schemaGrants) - 1
		if last >= 0 && r.inv.schemaGrants[last].Tag == "SCHEMA "+quoted {
			r.inv.schemaGrants[last].Definition += "\n" + sql
			continue
		}
		r.inv.schemaGrants = append(r.inv.schemaGrants, Entry{
			Section: SectionPreData, Desc: "ACL", Tag: "SCHEMA " + quoted, Owner: g.Owner, Definition: sql,
		})
	}
	return nil
}
