package schema

import (
	"context"
	"crypto/sha256"
	_ "embed" // the query
	"encoding/hex"
)

//go:embed sql/names.sql
var namesSQL string

// ownedIndex says to which relation an index belongs, and whether it is the index of a constraint, which shares its name.
type ownedIndex struct {
	table      Name
	constraint bool
}

// inheritable is a constraint that children of its table may have too, under the same name.
type inheritable struct {
	table      Name
	constraint string
}

// names reads the names which follow those of tables. Only a mapping asks for them.
func (r *reader) names(ctx context.Context) error {
	if !r.sel.Maps() {
		return nil
	}
	rows, err := r.q.Query(ctx, namesSQL)
	if err != nil {
		return err
	}
	r.inv.indexes, r.inv.inheritable = map[Name]ownedIndex{}, map[inheritable]bool{}
	var kind string
	var name Name
	var oid uint32
	var constraint bool
	for rows.Next() {
		if err := rows.Scan(&kind, &name.Schema, &name.Name, &oid, &constraint); err != nil {
			return err
		}
		rel, ok := r.inv.relations[oid]
		switch {
		case !ok: // of a TOAST table
		case kind == "i":
			r.inv.indexes[name] = ownedIndex{rel.name(), constraint}
		default:
			r.inv.inheritable[inheritable{rel.name(), name.Name}] = true
		}
	}
	return rows.Err()
}

// IndexName returns the name of a table's index in the destination. With a mapped schema or table it carries a hash, because
// the indexes of several schemas may meet in one.
func (m *Mapper) IndexName(table Name, original string) string {
	if m.relation(table) == table {
		return original
	}
	return hashedName("i_", table, original)
}

// ConstraintName returns the name of a table's constraint in the destination. A constraint that a table inherits keeps one name
// over all of them, or they would no longer be the same constraint.
func (m *Mapper) ConstraintName(table Name, original string) string {
	table = m.topmost(table, original)
	if m.relation(table) == table {
		return original
	}
	return hashedName("c_", table, original)
}

// hashedName is the prefix, a hash over schema, table and name, and as much of the name as fits. The parts are quoted for the hash, so
// that a_b.c and a.b_c differ.
func hashedName(prefix string, table Name, original string) string {
	sum := sha256.Sum256([]byte(Name{Name: table.Schema}.String() + "_" + Name{Name: table.Name}.String() + "_" + original))
	head, tail := prefix+hex.EncodeToString(sum[:6])+"_", "_key"
	return head + clip(original, min(len(original), maxIdentifier-len(head)-len(tail))) + tail
}

// topmost finds the table after which a constraint is named: of the tables that share it by inheritance, the first without a parent
// among them.
func (m *Mapper) topmost(table Name, constraint string) Name {
	if !m.inv.inheritable[inheritable{table, constraint}] {
		return table
	}
	shared := map[Name]bool{table: true}
	var top Name
	for todo := []Name{table}; len(todo) > 0; {
		t := todo[0]
		todo = todo[1:]
		isTop := true
		for i, next := range append(m.parents(t), m.children[t]...) {
			if !m.inv.inheritable[inheritable{next, constraint}] {
				continue
			}
			isTop = isTop && i >= len(m.parents(t))
			if !shared[next] {
				shared[next] = true
				todo = append(todo, next)
			}
		}
		if isTop && (top == Name{} || t.Compare(top) < 0) {
			top = t
		}
	}
	return top
}

func (m *Mapper) parents(table Name) []Name {
	if t := m.inv.Table(table); t != nil {
		return t.Parents[:len(t.Parents):len(t.Parents)]
	}
	return nil
}
