package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mapper rewrites statements of a source for the names that a selection gives in the destination, and leaves out the columns
// that are not selected. It changes parse trees, never text. It may be used by several goroutines.
//
// The parser is loaded by the first statement that has to be rewritten: that takes a second and, for a moment, a quarter of a gigabyte.
type Mapper struct {
	sel      Selection
	inv      *Inventory
	targets  map[Name]Name     // relations whose name in the destination is not just that of their mapped schema
	columns  map[Name]*columns // tables whose columns are not all the same in the destination
	fields   map[string]bool   // names of all such columns
	children map[Name][]Name   // inheritance, partitions included
	serial   map[Name]bool     // sequences: relations that are no types
	without  map[absent]bool   // what tables are made without
	marks    []string          // a statement without any of these texts names nothing that is mapped
}

// columns is what a mapping does to the columns of one table.
type columns struct {
	to      map[string]string // those with another name
	omitted map[string]bool
	order   []string // source names of all that are selected, in the destination's order
}

// absent is a constraint, or the default of a column, that a table has to be made without.
type absent struct {
	table      Name
	constraint bool
	name       string
}

// NotSelectedError says that an object needs a column which is not selected, so that the destination cannot have it.
type NotSelectedError struct {
	Column string
}

func (e *NotSelectedError) Error() string {
	return "needs column " + Name{Name: e.Column}.String() + ", which is not selected"
}

// NewMapper returns the mapper of a selection and the inventory that Read made for it.
func NewMapper(sel Selection, inv *Inventory) *Mapper {
	m := &Mapper{
		sel: sel, inv: inv, targets: map[Name]Name{}, columns: map[Name]*columns{}, fields: map[string]bool{},
		children: map[Name][]Name{}, serial: map[Name]bool{}, without: map[absent]bool{},
	}
	marks := map[string]bool{}
	for _, s := range sel.Map.Schemas {
		marks[mark(s.From)] = true
	}
	set := func(from, to Name) {
		if to != (Name{sel.TargetSchema(from.Schema), from.Name}) {
			m.targets[from] = to
			marks[mark(from.Schema)] = true
		}
	}
	for _, r := range sel.Map.Relations {
		set(r.From, r.To)
	}
	for i := range inv.Tables {
		t := &inv.Tables[i]
		set(t.Name, t.Target)
		for _, parent := range t.Parents {
			m.children[parent] = append(m.children[parent], t.Name)
		}
		for _, part := range inv.inline[t.OID] {
			m.without[absent{t.Name, part.id.class == classConstraint, part.name}] = true
			marks[mark(t.Name.Schema)] = true
		}
		if c := m.columnsOf(t); c != nil {
			m.columns[t.Name] = c
			marks[mark(t.Name.Schema)] = true
		}
	}
	for _, s := range inv.Sequences {
		set(s.Name, s.Target)
		m.serial[s.Name] = true
	}
	for _, v := range inv.Views {
		set(v.Name, v.Target)
	}
	for _, v := range inv.Matviews {
		set(v.Name, v.Target)
	}
	for text := range marks {
		m.marks = append(m.marks, text)
	}
	slices.Sort(m.marks)
	return m
}

func (m *Mapper) columnsOf(t *Table) *columns {
	c := &columns{to: map[string]string{}, omitted: map[string]bool{}}
	for _, col := range t.Columns {
		if col.Target != col.Name {
			c.to[col.Name] = col.Target
			m.fields[col.Name] = true
		}
	}
	for _, name := range t.Omitted {
		c.omitted[name] = true
		m.fields[name] = true
	}
	if len(c.to)+len(c.omitted) == 0 {
		return nil
	}
	c.order = m.inv.columnOrder(t)
	return c
}

// columnOrder lists the selected columns in the order of a new table: inherited ones come first there, in the order of the
// parents. A partition is created on its own and attached.
func (inv *Inventory) columnOrder(t *Table) []string {
	var order []string
	add := func(name string) {
		taken := slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Name == name })
		if taken && !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	if !t.Partition {
		for _, name := range t.Parents {
			if parent := inv.Table(name); parent != nil {
				for _, column := range inv.columnOrder(parent) {
					add(column)
				}
			}
		}
	}
	for _, c := range t.Columns {
		add(c.Name)
	}
	return order
}

// mark returns the longest part of a name that every way of quoting leaves as it is, in lower case.
func mark(name string) string {
	var longest string
	for _, run := range strings.FieldsFunc(strings.ToLower(name), func(c rune) bool { return strings.ContainsRune(`"'\$`, c) }) {
		if len(run) > len(longest) {
			longest = run
		}
	}
	return longest
}

// concerns reports whether the statement may name something mapped.
func (m *Mapper) concerns(sql string) bool {
	if len(m.marks) == 0 {
		return false
	}
	lower := strings.ToLower(sql)
	return slices.ContainsFunc(m.marks, func(text string) bool { return strings.Contains(lower, text) })
}

// relation returns the destination's name of a table, view, materialized view, sequence or composite type.
func (m *Mapper) relation(n Name) Name {
	if to, ok := m.targets[n]; ok {
		return to
	}
	return Name{m.sel.TargetSchema(n.Schema), n.Name}
}

// rowType returns the destination's name of a type. That of a relation has the relation's name.
func (m *Mapper) rowType(n Name) Name {
	if m.serial[n] {
		return Name{m.sel.TargetSchema(n.Schema), n.Name}
	}
	return m.relation(n)
}

// index returns the destination's name of an index.
func (m *Mapper) index(n Name) (Name, error) {
	x, ok := m.inv.indexes[n]
	switch {
	case !m.sel.Maps():
		return n, nil
	case !ok:
		return Name{}, fmt.Errorf("the table of index %s is not known", n)
	case x.constraint:
		return Name{m.relation(x.table).Schema, m.ConstraintName(x.table, n.Name)}, nil
	default:
		return Name{m.relation(x.table).Schema, m.IndexName(x.table, n.Name)}, nil
	}
}

// indexOf returns the destination's name of a table's index, which shares that of its constraint if it has one.
func (m *Mapper) indexOf(table Name, original string) string {
	if m.inv.indexes[Name{table.Schema, original}].constraint {
		return m.ConstraintName(table, original)
	}
	return m.IndexName(table, original)
}

// entry rewrites all statements of an entry. The only error is a *NotSelectedError; any other reason becomes Entry.Refused.
func (m *Mapper) entry(e *Entry) error {
	if e.Target == "" {
		e.Target = m.Target(e)
	}
	for _, sql := range []*string{&e.Definition, &e.Drop, &e.IndexDefinition, &e.UsingIndex} {
		to, err := m.Statement(e, *sql)
		var missing *NotSelectedError
		switch {
		case errors.As(err, &missing):
			return err
		case err != nil:
			e.Refused = err.Error()
		default:
			*sql = to
		}
	}
	return nil
}

// Statement rewrites one or several statements of an entry. Where the mapping does not concern them they come back as they are. The
// error says why they cannot be rewritten; it is a *NotSelectedError if all they do is about columns that are not selected.
func (m *Mapper) Statement(e *Entry, sql string) (string, error) {
	if sql == "" || !m.concerns(sql) {
		return sql, nil
	}
	if e.Desc == "SCHEMA" && !strings.HasPrefix(sql, "DROP ") {
		// Several schemas may become one, or one that is there.
		return createSchema(m.sel.TargetSchema(e.Tag)), nil
	}
	return m.rewrite(sql)
}

// Target returns an entry's name in the destination as Entry.Target has it.
func (m *Mapper) Target(e *Entry) string {
	name, table := Name{m.sel.TargetSchema(e.Namespace), e.Tag}, m.relation(e.Table)
	switch {
	case e.Desc == "SCHEMA":
		name.Name = m.sel.TargetSchema(e.Tag)
	case e.Desc == "INDEX" && e.Table != (Name{}):
		name = Name{table.Schema, m.IndexName(e.Table, e.Tag)}
	case e.ClassOID == classRelation, e.Desc == "TABLE ATTACH", e.Desc == "ROW SECURITY":
		name = m.relation(Name{e.Namespace, e.Tag})
	case e.Table != (Name{}):
		if own, ok := strings.CutPrefix(e.Tag, e.Table.Name+" "); ok {
			name = Name{table.Schema, table.Name + " " + m.partName(e, own)}
		}
	}
	return objectName(e.Desc, name, table)
}

// partName returns the destination's name of a constraint, default, trigger, rule or policy of a table.
func (m *Mapper) partName(e *Entry, own string) string {
	switch {
	case e.ClassOID == classConstraint:
		return m.ConstraintName(e.Table, own)
	case e.Desc == "DEFAULT" && m.columns[e.Table] != nil:
		if to, ok := m.columns[e.Table].to[own]; ok {
			return to
		}
	}
	return own
}
