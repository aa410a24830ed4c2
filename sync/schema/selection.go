package schema

import "slices"

// Selection says which objects of the source a task synchronizes, and under which names. Its JSON form is stored and must stay
// readable.
type Selection struct {
	// All takes the whole database; the lists of objects are then empty.
	All bool `json:"all,omitempty"`
	// Schemas are taken with every kind of object in them.
	Schemas []string `json:"schemas,omitempty"`
	// Tables are taken one by one. The partitions of a selected partitioned table belong to it.
	Tables []Name `json:"tables,omitempty"`
	// Patterns take tables as psql's \dt does.
	Patterns []string `json:"patterns,omitempty"`
	// Views, Matviews and Sequences are taken one by one.
	Views     []Name `json:"views,omitempty"`
	Matviews  []Name `json:"matviews,omitempty"`
	Sequences []Name `json:"sequences,omitempty"`
	// Except is left out of what All takes.
	Except Exception `json:"except,omitzero"`
	// Rules restrict single tables, at most one rule for each. The rule of a partitioned table holds for its partitions.
	Rules []TableRule `json:"rules,omitempty"`
	// Map gives names in the destination.
	Map Mapping `json:"map,omitzero"`
	// Accounts are the roles to carry, and with them owners and privileges.
	Accounts Accounts `json:"accounts,omitzero"`
}

// Exception is what a whole database is taken without.
type Exception struct {
	Schemas  []string `json:"schemas,omitempty"`
	Tables   []Name   `json:"tables,omitempty"`
	Patterns []string `json:"patterns,omitempty"`
}

// TableRule restricts one table.
type TableRule struct {
	Table   Name         `json:"table"`
	Columns []ColumnRule `json:"columns,omitempty"` // none: all
	Where   string       `json:"where,omitempty"`   // boolean expression; empty: every row
}

// ColumnRule takes one column.
type ColumnRule struct {
	Name string `json:"name"`
	As   string `json:"as,omitempty"` // its name in the destination; empty: the same
}

// Mapping gives schemas and relations other names in the destination. A relation's own entry goes before that of its schema.
type Mapping struct {
	Schemas   []SchemaMap   `json:"schemas,omitempty"`
	Relations []RelationMap `json:"relations,omitempty"`
}

// SchemaMap renames one schema. Several may get the same name.
type SchemaMap struct { //nolint:revive // it maps a schema, it is no map of the package
	From string `json:"from"`
	To   string `json:"to"`
}

// RelationMap renames one table, view, materialized view or sequence. Several tables may get the same name.
type RelationMap struct {
	From Name `json:"from"`
	To   Name `json:"to"`
}

// Accounts are the roles a task carries to the destination; the zero value is none. Without roles no owner and no privilege
// is carried either: all objects belong to the destination's user.
type Accounts struct {
	All   bool     `json:"all,omitempty"`
	Roles []string `json:"roles,omitempty"`
}

// None reports whether no account is carried.
func (a Accounts) None() bool { return !a.All && len(a.Roles) == 0 }

// TargetSchema returns a schema's name in the destination.
func (s Selection) TargetSchema(name string) string {
	for _, m := range s.Map.Schemas {
		if m.From == name {
			return m.To
		}
	}
	return name
}

// Target returns a relation's name in the destination.
func (s Selection) Target(n Name) Name {
	for _, m := range s.Map.Relations {
		if m.From == n {
			return m.To
		}
	}
	return Name{s.TargetSchema(n.Schema), n.Name}
}

// renames reports whether a relation is mapped by its own name.
func (s Selection) renames(n Name) bool {
	return slices.ContainsFunc(s.Map.Relations, func(m RelationMap) bool { return m.From == n })
}

// Maps reports whether any name in the destination differs from that in the source, columns included.
func (s Selection) Maps() bool {
	return len(s.Map.Schemas) > 0 || len(s.Map.Relations) > 0 || slices.ContainsFunc(s.Rules, func(r TableRule) bool {
		return slices.ContainsFunc(r.Columns, func(c ColumnRule) bool { return c.As != "" && c.As != c.Name })
	})
}

// rule returns the rule of the first of the tables that has one, nil when none has.
func (s Selection) rule(tables ...Name) *TableRule {
	for _, t := range tables {
		for i := range s.Rules {
			if s.Rules[i].Table == t {
				return &s.Rules[i]
			}
		}
	}
	return nil
}

// column returns a column's name in the destination, and whether the rule takes the column; a nil rule takes all.
func (r *TableRule) column(name string) (target string, taken bool) {
	if r == nil || len(r.Columns) == 0 {
		return name, true
	}
	for _, c := range r.Columns {
		if c.Name == name {
			if c.As != "" {
				return c.As, true
			}
			return name, true
		}
	}
	return "", false
}

// Includes reports whether the table is selected. Of a partition, its partitioned ancestors have to be given too, those that are known:
// it is selected with them and left out with them.
func (s Selection) Includes(table Name, ancestors ...Name) bool {
	return newScope(s).table('r', table, ancestors...)
}

// OnlyRelations reports whether all objects are selected one by one or by patterns, so that nothing is taken but relations and what
// belongs to them.
func (s Selection) OnlyRelations() bool { return !s.All && len(s.Schemas) == 0 }
