package sqlapi

import (
	"slices"
	"strings"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"
)

// publicSchema is where a relation without schema is looked for.
const publicSchema = "public"

// selectionOf resolves FOR and ACCOUNTS to what a task synchronizes. Errors are of type [*Error], with the position of the object that
// is wrong.
func selectionOf(s Scope, a Accounts) (schema.Selection, error) {
	r := &resolver{Selection: schema.Selection{All: s.All}, relations: map[schema.Name]bool{}, targets: map[schema.Name]target{}}
	named := slices.Concat(s.Objects, s.Map)
	for _, o := range named {
		if o.Kind == Schema {
			r.schema(o)
		}
	}
	for _, o := range named {
		switch o.Kind {
		case Schema:
		case TablesMatching:
			r.pattern(o, &r.Patterns)
		default:
			r.relation(o)
		}
	}
	for _, o := range s.Except {
		r.except(o)
	}
	r.Accounts = schema.Accounts{All: a.All, Roles: a.Roles}
	if r.err != nil {
		return schema.Selection{}, r.err
	}
	return r.Selection, nil
}

// resolver makes a selection and keeps the first error.
type resolver struct {
	schema.Selection
	schemas   []string               // given so far
	relations map[schema.Name]bool   // given so far
	targets   map[schema.Name]target // names that are given in the destination
	err       *Error
}

// target is who gets a name in the destination.
type target struct {
	kind ObjectKind
	from schema.Name
}

func (r *resolver) fail(position int, e *Error) {
	if r.err == nil && e != nil {
		e.Position = position
		r.err = e
	}
}

func (r *resolver) schema(o Object) {
	from, to := o.Name.Schema, o.As.Schema
	r.fail(o.Position, sourceSchema(from))
	if slices.Contains(r.schemas, from) {
		r.fail(o.Position, twice("schema "+quoteIdentifier(from)))
	}
	r.schemas = append(r.schemas, from)
	if !r.All {
		r.Schemas = append(r.Schemas, from)
	}
	switch to {
	case "":
	case from:
		r.fail(o.Position, invalid("schema %q is mapped onto itself", from).WithHint("Leave AS out."))
	default:
		r.fail(o.Position, destinationSchema(to))
		r.Map.Schemas = append(r.Map.Schemas, schema.SchemaMap{From: from, To: to})
	}
}

// relation takes a table, view, materialized view or sequence. In FOR ALL it is only named to be mapped.
func (r *resolver) relation(o Object) {
	from := qualified(o.Name)
	r.fail(o.Position, sourceSchema(from.Schema))
	if r.relations[from] {
		r.fail(o.Position, twice(display(from)))
	}
	r.relations[from] = true
	if o.As.Name != "" {
		r.rename(o, from)
	}
	list := map[ObjectKind]*[]schema.Name{Table: &r.Tables, View: &r.Views, MaterializedView: &r.Matviews, Sequence: &r.Sequences}[o.Kind]
	if !r.All {
		*list = append(*list, from)
	}
	if o.Columns != nil || o.Where.Text != "" {
		r.Rules = append(r.Rules, schema.TableRule{Table: from, Columns: r.columns(o), Where: o.Where.Text})
	}
}

// rename maps a relation. A name without schema stays in the relation's own, under the name that has in the destination.
func (r *resolver) rename(o Object, from schema.Name) {
	to := schema.Name{Schema: o.As.Schema, Name: o.As.Name}
	if to.Schema == "" {
		to.Schema = r.TargetSchema(from.Schema)
	} else {
		r.fail(o.Position, destinationSchema(to.Schema))
	}
	if to == from && r.TargetSchema(from.Schema) == from.Schema {
		r.fail(o.Position, invalid("%s is mapped onto itself", display(from)).WithHint("Leave AS out."))
	}
	if other, taken := r.targets[to]; taken && (o.Kind != Table || other.kind != Table) {
		r.fail(o.Position, Errorf(CodeDuplicate, "%s and %s are both mapped onto %s", display(other.from), display(from), display(to)).
			WithDetail("Only tables can be brought together under one name."))
	}
	r.targets[to] = target{o.Kind, from}
	r.Map.Relations = append(r.Map.Relations, schema.RelationMap{From: from, To: to})
}

func (r *resolver) columns(o Object) []schema.ColumnRule {
	var rules []schema.ColumnRule
	names := map[string]string{} // in the destination
	for _, c := range o.Columns {
		as := c.As
		switch as {
		case "":
			as = c.Name
		case c.Name:
			r.fail(o.Position, invalid("column %q of %s is mapped onto itself", c.Name, display(qualified(o.Name))).WithHint("Leave AS out."))
		}
		if other, taken := names[as]; taken {
			r.fail(o.Position, Errorf(CodeDuplicateColumn, "columns %q and %q of %s both get the name %q", other, c.Name, display(qualified(o.Name)), as))
		}
		names[as] = c.Name
		rules = append(rules, schema.ColumnRule{Name: c.Name, As: c.As})
	}
	return rules
}

func (r *resolver) pattern(o Object, list *[]string) {
	if slices.Contains(*list, o.Pattern) {
		r.fail(o.Position, twice("pattern "+quoteLiteral(o.Pattern)))
	}
	*list = append(*list, o.Pattern)
}

// except takes what FOR ALL leaves out.
func (r *resolver) except(o Object) {
	switch o.Kind {
	case TablesMatching:
		r.pattern(o, &r.Except.Patterns)
	case Schema:
		s := o.Name.Schema
		if slices.Contains(r.Except.Schemas, s) {
			r.fail(o.Position, twice("schema "+quoteIdentifier(s)))
		}
		if slices.Contains(r.schemas, s) {
			r.fail(o.Position, contradiction("schema "+quoteIdentifier(s)))
		}
		r.Except.Schemas = append(r.Except.Schemas, s)
	default:
		n := qualified(o.Name)
		if slices.Contains(r.Except.Tables, n) {
			r.fail(o.Position, twice(display(n)))
		}
		if r.relations[n] {
			r.fail(o.Position, contradiction(display(n)))
		}
		r.Except.Tables = append(r.Except.Tables, n)
	}
}

func twice(what string) *Error {
	return Errorf(CodeDuplicate, "%s is given twice", what).
		WithDetail("A name without schema is one of schema public; tables, views and sequences of one schema share their names.").
		WithHint("Name each object once, with everything that applies to it.")
}

func contradiction(what string) *Error {
	return invalid("%s is both mapped and left out", what).WithHint("Take it out of MAP or out of EXCEPT.")
}

// sourceSchema says why a schema of the source cannot be synchronized.
func sourceSchema(name string) *Error {
	if reservedSchema(name) {
		return invalid("schema %q cannot be synchronized", name).WithDetail("It belongs to PostgreSQL or to pgsyncd.").WithHint("Every server has its own; leave it out.")
	}
	return nil
}

// destinationSchema says why nothing can be put into a schema of the destination.
func destinationSchema(name string) *Error {
	if reservedSchema(name) {
		return invalid("destination schema %q is reserved", name).
			WithDetail("Names that start with \"pg_\", and information_schema, belong to PostgreSQL; pgsyncd keeps its position in schema pgsyncd.").
			WithHint("Choose another name.")
	}
	return nil
}

func reservedSchema(name string) bool {
	return strings.HasPrefix(name, "pg_") || name == "information_schema" || name == "pgsyncd"
}

func qualified(n Name) schema.Name {
	if n.Schema == "" {
		return schema.Name{Schema: publicSchema, Name: n.Name}
	}
	return schema.Name{Schema: n.Schema, Name: n.Name}
}

// display writes a name as a statement would.
func display(n schema.Name) string { return name(Name{n.Schema, n.Name}) }

// mappings lists the names that a selection changes, for display.
func mappings(s schema.Selection) []catalog.Mapping {
	var list []catalog.Mapping
	for _, m := range s.Map.Schemas {
		list = append(list, catalog.Mapping{Kind: "schema", Source: []string{m.From}, Destination: []string{m.To}})
	}
	for _, m := range s.Map.Relations {
		if m.From == m.To { // an exception from its schema's mapping
			continue
		}
		kind := Table
		for other, names := range map[ObjectKind][]schema.Name{View: s.Views, MaterializedView: s.Matviews, Sequence: s.Sequences} {
			if slices.Contains(names, m.From) {
				kind = other
			}
		}
		list = append(list, catalog.Mapping{
			Kind: strings.ToLower(string(kind)), Source: []string{m.From.Schema, m.From.Name}, Destination: []string{m.To.Schema, m.To.Name},
		})
	}
	for _, rule := range s.Rules {
		to := s.Target(rule.Table)
		for _, c := range rule.Columns {
			if c.As != "" {
				list = append(list, catalog.Mapping{
					Kind: "column", Source: []string{rule.Table.Schema, rule.Table.Name, c.Name}, Destination: []string{to.Schema, to.Name, c.As},
				})
			}
		}
	}
	return list
}
