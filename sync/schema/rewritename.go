package schema

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	pq "github.com/pganalyze/pg_query_go/v6"
)

// inSchema maps the schema of a qualified name of something that is no relation.
func (r *rewriter) inSchema(name []*pq.Node) {
	if len(name) >= 2 {
		if schema := name[len(name)-2].GetString_(); schema != nil {
			schema.Sval = r.sel.TargetSchema(schema.Sval)
		}
	}
}

// qualified returns the schema and the name in a list of names, nil when there is no schema.
func qualified(name []*pq.Node) (schema, object *pq.String) {
	if len(name) < 2 {
		return nil, nil
	}
	schema, object = name[len(name)-2].GetString_(), name[len(name)-1].GetString_()
	if schema == nil || object == nil {
		return nil, nil
	}
	return schema, object
}

// relationName maps the qualified name of a relation in a list of names and returns the original.
func (r *rewriter) relationName(name []*pq.Node) Name {
	schema, object := qualified(name)
	if schema == nil {
		return Name{}
	}
	original := Name{schema.Sval, object.Sval}
	to := r.relation(original)
	schema.Sval, object.Sval = to.Schema, to.Name
	return original
}

// columnName maps a list of relation and column.
func (r *rewriter) columnName(name []*pq.Node) {
	if len(name) < 3 {
		return
	}
	table := r.relationName(name[:len(name)-1])
	if column := name[len(name)-1].GetString_(); column != nil {
		column.Sval = r.column(r.columns[table], column.Sval)
	}
}

// rangeVar maps a relation that is named in a statement and returns its original name. A name without schema is that of a
// common table expression, a transition table or a system relation.
func (r *rewriter) rangeVar(n *pq.RangeVar) Name {
	if n == nil || n.Schemaname == "" {
		return Name{}
	}
	original := Name{n.Schemaname, n.Relname}
	to := r.relation(original)
	n.Schemaname, n.Relname = to.Schema, to.Name
	return original
}

func (r *rewriter) indexVar(n *pq.RangeVar) {
	if n == nil || n.Schemaname == "" {
		return
	}
	to, err := r.index(Name{n.Schemaname, n.Relname})
	if err != nil {
		r.fail("%w", err)
		return
	}
	n.Schemaname, n.Relname = to.Schema, to.Name
}

func (r *rewriter) typeName(n *pq.TypeName) {
	if n.PctType {
		r.columnName(n.Names)
		return
	}
	r.typeNames(n.Names)
}

func (r *rewriter) typeNames(name []*pq.Node) {
	if schema, object := qualified(name); schema != nil {
		to := r.rowType(Name{schema.Sval, object.Sval})
		schema.Sval, object.Sval = to.Schema, to.Name
	}
}

// typeOptions are the attributes of CREATE TYPE, OPERATOR and AGGREGATE that name types; all others name objects in schemas.
var typeOptions = map[string]bool{
	"leftarg": true, "rightarg": true, "basetype": true, "stype": true, "stype1": true, "mstype": true, "subtype": true,
	"element": true, "like": true, "multirange_type_name": true,
}

// definition maps the attributes of a CREATE or ALTER statement with a list of them. There the parser reads every name as that of a type.
func (r *rewriter) definition(options []*pq.Node) {
	for _, option := range options {
		d := option.GetDefElem()
		if d == nil {
			continue
		}
		if t := d.Arg.GetTypeName(); t != nil && !typeOptions[strings.ToLower(d.Defname)] {
			r.inSchema(t.Names)
		} else if list := d.Arg.GetList(); list != nil {
			r.inSchema(list.Items)
		} else if d.Arg != nil {
			r.walk(d.Arg, nil)
		}
	}
}

// option maps an option of a statement where its meaning does not depend on the statement.
func (r *rewriter) option(d *pq.DefElem, sc *level) {
	list := d.Arg.GetList()
	switch d.Defname {
	case "sequence_name":
		r.relationName(list.GetItems())
	case "owned_by":
		r.columnName(list.GetItems())
	case "support":
		r.inSchema(list.GetItems())
	case "schema": // of CREATE EXTENSION
		if s := d.Arg.GetString_(); s != nil {
			s.Sval = r.sel.TargetSchema(s.Sval)
		}
	case "schemas": // of ALTER DEFAULT PRIVILEGES
		r.schemas(list.GetItems())
	default:
		if d.Arg != nil {
			r.walk(d.Arg, sc)
		}
	}
}

func (r *rewriter) schemas(names []*pq.Node) {
	for _, n := range names {
		if s := n.GetString_(); s != nil {
			s.Sval = r.sel.TargetSchema(s.Sval)
		}
	}
}

// setting maps the search_path that a function sets.
func (r *rewriter) setting(n *pq.VariableSetStmt) {
	if !strings.EqualFold(n.Name, "search_path") {
		return
	}
	for _, arg := range n.Args {
		if s := arg.GetAConst().GetSval(); s != nil {
			s.Sval = r.sel.TargetSchema(s.Sval)
		}
	}
}

// regConstant maps the constants of types that name an object, such as 's.q'::regclass.
func (r *rewriter) regConstant(n *pq.TypeCast) {
	names := n.TypeName.GetNames()
	if len(names) == 0 {
		return
	}
	kind := names[len(names)-1].GetString_().GetSval()
	if !strings.HasPrefix(kind, "reg") {
		return
	}
	arg := n.Arg
	for arg.GetTypeCast() != nil { // 's.q'::text::regclass
		arg = arg.GetTypeCast().Arg
	}
	text := arg.GetAConst().GetSval()
	if text == nil || !r.concerns(text.Sval) {
		return
	}
	if len(n.TypeName.ArrayBounds) > 0 {
		r.fail("a constant array of %s names objects", kind)
		return
	}
	to, err := r.object(kind, text.Sval)
	if err != nil {
		r.fail("constant %s of type %s: %w", Literal(text.Sval), kind, err)
		return
	}
	text.Sval = to
}

// object maps the text of a constant that names an object.
func (r *rewriter) object(kind, text string) (string, error) {
	switch kind {
	case "regtype":
		return r.within("SELECT NULL::", text)
	case "regprocedure":
		return r.within("DROP FUNCTION ", text)
	case "regoperator":
		return r.within("DROP OPERATOR ", text)
	case "regoper":
		schema, operator, ok := cutIdentifier(text)
		if !ok || !strings.HasPrefix(operator, ".") {
			return text, nil
		}
		return pgx.Identifier{r.sel.TargetSchema(schema)}.Sanitize() + operator, nil
	}
	parts, err := splitName(text)
	switch {
	case err != nil:
		return "", err
	case kind == "regnamespace" && len(parts) == 1:
		return pgx.Identifier{r.sel.TargetSchema(parts[0])}.Sanitize(), nil
	case len(parts) != 2:
		return text, nil
	}
	name := Name{parts[0], parts[1]}
	switch {
	case kind != "regclass":
		name.Schema = r.sel.TargetSchema(name.Schema)
	case r.inv.indexes[name] != ownedIndex{}:
		if name, err = r.index(name); err != nil {
			return "", err
		}
	default:
		name = r.relation(name)
	}
	return name.String(), nil
}

// within maps the rest of a statement that begins in a certain way.
func (r *rewriter) within(head, text string) (string, error) {
	sql, err := r.rewrite(head + text)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimPrefix(sql, head), ";"), nil
}

// splitName splits a qualified name as PostgreSQL reads it.
func splitName(text string) ([]string, error) {
	var parts []string
	for rest := text; ; rest = rest[1:] {
		part, after, ok := cutIdentifier(rest)
		if !ok || after != "" && after[0] != '.' {
			return nil, fmt.Errorf("%q is no name", text)
		}
		if !strings.HasPrefix(rest, `"`) {
			part = strings.ToLower(part)
		}
		parts = append(parts, part)
		if rest = after; rest == "" {
			return parts, nil
		}
	}
}
