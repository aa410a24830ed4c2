package compare

import (
	"context"
	"fmt"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// unseen are the tables of the destination that pg_dump cannot look at, because it has to lock them and the task's user may not.
type unseen struct {
	names   []schema.Name
	targets map[string]string // why, by their quoted names and those of sequences that belong to them
	sources map[schema.Name]string
}

// unseenSQL lists which of some tables the user may not lock in ACCESS SHARE mode, and what that takes.
const unseenSQL = `SELECT n.nspname::text, c.relname::text, pg_catalog.quote_ident(current_user::text), pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
	pg_catalog.has_table_privilege(c.oid, 'SELECT, UPDATE, DELETE, TRUNCATE')
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = ANY ($1) AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT, UPDATE, DELETE, TRUNCATE'))
	ORDER BY 1, 2`

// unseenTables finds them among the tables of the destination.
func unseenTables(ctx context.Context, conn *pgx.Conn, inv, there *schema.Inventory) (unseen, error) {
	u := unseen{targets: map[string]string{}, sources: map[schema.Name]string{}}
	var oids []uint32
	for _, t := range there.Tables {
		oids = append(oids, t.OID)
	}
	rows, err := conn.Query(ctx, unseenSQL, oids)
	if err != nil {
		return u, fmt.Errorf("read privileges in the destination: %w", err)
	}
	var name schema.Name
	var user string
	var usage, table bool
	if _, err := pgx.ForEachRow(rows, []any{&name.Schema, &name.Name, &user, &usage, &table}, func() error {
		grant := ""
		if !usage {
			grant += fmt.Sprintf(" GRANT USAGE ON SCHEMA %s TO %s;", schema.Name{Name: name.Schema}, user)
		}
		if !table {
			grant += fmt.Sprintf(" GRANT SELECT ON %s TO %s;", name, user)
		}
		u.names = append(u.names, name)
		u.targets[name.String()] = fmt.Sprintf("the task's user may not lock %s in the destination, which pg_dump has to:%s", name, grant)
		return nil
	}); err != nil {
		return u, fmt.Errorf("read privileges in the destination: %w", err)
	}
	for _, t := range inv.Tables {
		if why := u.targets[t.Target.String()]; why != "" {
			u.sources[t.Name] = why
		}
	}
	for _, q := range inv.Sequences {
		if q.OwnedBy != nil && u.sources[*q.OwnedBy] != "" {
			u.targets[q.Target.String()] = u.sources[*q.OwnedBy]
		}
	}
	return u, nil
}

// why tells of an object of the source why it cannot be said whether the destination has it; empty: it can.
func (u unseen) why(e *schema.Entry) string {
	if why := u.targets[e.Target]; why != "" {
		return why
	}
	return u.sources[e.Table]
}
