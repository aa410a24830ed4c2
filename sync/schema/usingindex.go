package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// uniqueConstraint is a row of constraints.sql.
type uniqueConstraint struct {
	OID                uint32
	Name               string
	Primary            bool
	Deferrable         bool
	Deferred           bool
	NullsNotDistinct   bool
	Options            []string // reloptions of the index
	Columns, Including []string
}

// constraints reads what the indexes behind primary keys and unique constraints are made of. A constraint of a partitioned table
// cannot be made of an index, nor one WITHOUT OVERLAPS.
func (r *reader) constraints(ctx context.Context) error {
	var oids []uint32
	for _, t := range r.inv.Tables {
		if t.Kind == KindTable {
			oids = append(oids, t.OID)
		}
	}
	list, err := query(ctx, r.q, forVersion(constraintsSQL, r.inv.Version), []any{oids}, pgx.RowToStructByPos[uniqueConstraint])
	r.inv.constraints = make(map[uint32]uniqueConstraint, len(list))
	for _, c := range list {
		r.inv.constraints[c.OID] = c
	}
	return err
}

// splitConstraint says how a primary key or unique constraint is made of its index. What else pg_dump does with the constraint, such as
// CLUSTER ON, stays with it.
func (p *planner) splitConstraint(e *Entry) {
	c, ok := p.inv.constraints[e.OID]
	statements := splitStatements(e.Definition)
	if e.Desc != "CONSTRAINT" || !ok || len(statements) == 0 {
		return
	}
	var index strings.Builder
	fmt.Fprintf(&index, "CREATE UNIQUE INDEX %s ON %s USING btree (%s)", Name{Name: c.Name}, e.Table, identifiers(c.Columns))
	if len(c.Including) > 0 {
		fmt.Fprintf(&index, " INCLUDE (%s)", identifiers(c.Including))
	}
	if c.NullsNotDistinct {
		index.WriteString(" NULLS NOT DISTINCT")
	}
	if len(c.Options) > 0 {
		options := make([]string, len(c.Options))
		for i, o := range c.Options {
			name, value, _ := strings.Cut(o, "=")
			options[i] = name + " = " + Literal(value)
		}
		fmt.Fprintf(&index, " WITH (%s)", strings.Join(options, ", "))
	}
	kind := "UNIQUE"
	if c.Primary {
		kind = "PRIMARY KEY"
	}
	constraint := fmt.Sprintf("ALTER TABLE ONLY %s ADD CONSTRAINT %s %s USING INDEX %[2]s", e.Table, Name{Name: c.Name}, kind)
	if c.Deferrable {
		constraint += " DEFERRABLE"
	}
	if c.Deferred {
		constraint += " INITIALLY DEFERRED"
	}
	e.IndexDefinition = index.String() + ";"
	e.UsingIndex = strings.Join(append([]string{constraint}, statements[1:]...), ";\n") + ";"
}

// identifiers quotes a list of names.
func identifiers(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = Name{Name: n}.String()
	}
	return strings.Join(quoted, ", ")
}
