package fullcopy

import (
	"context"
	"fmt"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// PolicyError says that row-level security stands between the task's user and some rows of a table. They are never left out in
// silence: all sessions set row_security to off, under which the server refuses to apply policies.
type PolicyError struct {
	Side  string // source or destination
	Table schema.Name
}

func (e *PolicyError) Error() string {
	return fmt.Sprintf("row-level security of table %s in the %s applies to the task's user", e.Table, e.Side)
}

// Permanent reports that somebody has to change the user or the table.
func (e *PolicyError) Permanent() bool { return true }

// Detail is empty; it comes with Hint.
func (e *PolicyError) Detail() string { return "" }

// Hint says how a user is exempted.
func (e *PolicyError) Hint() string {
	return "On the " + e.Side + ", ALTER ROLE … BYPASSRLS for the task's user, or make it the owner of the table; " +
		"owners are exempt unless the table has FORCE ROW LEVEL SECURITY."
}

// checkPolicies finds the units with a table whose policies would apply to the task's user on either side.
func (j *job) checkPolicies(ctx context.Context, source *pgx.Conn, dest *schema.Inventory, units []*unit) error {
	var feeding []uint32
	for _, u := range units {
		for _, f := range u.feeds {
			feeding = append(feeding, f.source.OID)
		}
	}
	var filled []uint32
	for _, t := range dest.Tables {
		filled = append(filled, t.OID)
	}
	there, err := restricted(ctx, source, j.sourceVersion, feeding)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	here, err := restricted(ctx, j.dst, j.destinationVersion, filled)
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	for _, u := range units {
		for _, f := range u.feeds {
			target := dest.Table(f.target)
			switch {
			case u.misfit != nil:
			case there[f.source.OID]:
				u.misfit = &PolicyError{"source", f.source.Name}
			case target != nil && here[target.OID]:
				u.misfit = &PolicyError{"destination", f.target}
			}
		}
	}
	return nil
}

// restricted returns the tables whose policies apply to the session's user; before 9.5 there are none.
func restricted(ctx context.Context, conn *pgx.Conn, version int, oids []uint32) (map[uint32]bool, error) {
	tables := map[uint32]bool{}
	if version < 90500 {
		return tables, nil
	}
	rows, err := conn.Query(ctx, `SELECT oid FROM pg_catalog.pg_class WHERE oid = ANY ($1) AND relrowsecurity AND pg_catalog.row_security_active(oid)`, oids)
	if err != nil {
		return nil, fmt.Errorf("look for row-level security: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return nil, fmt.Errorf("look for row-level security: %w", err)
	}
	for _, oid := range list {
		tables[oid] = true
	}
	return tables, nil
}
