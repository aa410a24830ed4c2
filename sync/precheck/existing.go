package precheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"
)

// object is something with a name that CREATE would find taken.
type object struct{ Kind, Schema, Name string }

func (o object) String() string {
	return o.Kind + " " + schema.Name{Schema: o.Schema, Name: o.Name}.String()
}

// relationKinds spells pg_class.relkind.
const relationKinds = `CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
	WHEN 'S' THEN 'SEQUENCE' WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'c' THEN 'TYPE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'RELATION' END`

// sourceIndexesSQL lists the indexes of the relations $1. Those of mapped tables get other names.
const sourceIndexesSQL = `SELECT 'INDEX', n.nspname::text, c.relname::text
	FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE i.indrelid = ANY ($1)`

// sourceTypesSQL lists the types and functions of the schemas $1 that are no members of extensions.
const sourceTypesSQL = `
SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, n.nspname::text, t.typname::text
	FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	WHERE n.nspname = ANY ($1) AND (t.typtype IN ('e', 'd', 'r')
			OR t.typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'FUNCTION', n.nspname::text, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')'
	FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname = ANY ($1) AND p.oid >= 16384
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))`

// wanted lists what the task creates, by its names in the destination.
func (e *env) wanted(ctx context.Context) ([]object, error) {
	var list []object
	add := func(kind string, n schema.Name) { list = append(list, object{kind, n.Schema, n.Name}) }
	var unmapped []uint32
	for _, t := range e.inv.Tables {
		add("TABLE", t.Target)
		if t.Target == t.Name {
			unmapped = append(unmapped, t.OID)
		}
	}
	for _, s := range e.inv.Sequences {
		add("SEQUENCE", s.Target)
	}
	for _, v := range e.views() {
		add(v.Kind, v.Target)
		if v.Target == v.Name {
			unmapped = append(unmapped, v.OID)
		}
	}
	indexes, err := read[object](ctx, &e.src, sourceIndexesSQL, unmapped)
	if err != nil {
		return nil, err
	}
	types, err := read[object](ctx, &e.src, sourceTypesSQL, e.whole)
	if err != nil {
		return nil, err
	}
	for _, o := range types {
		list = append(list, object{o.Kind, e.in.Selection.TargetSchema(o.Schema), o.Name})
	}
	list = append(list, indexes...)
	slices.SortFunc(list, func(a, b object) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(list), nil
}

// takenSQL returns what the destination has under the names of $1 (kinds), $2
// (schemas) and $3 (names): relations share their names, and so do types.
const takenSQL = `
SELECT ` + relationKinds + `, w.schema, w.name
	FROM unnest($1::text[], $2::text[], $3::text[]) AS w (kind, schema, name)
	JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
	JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
	WHERE w.kind NOT IN ('FUNCTION', 'DOMAIN')
UNION ALL
SELECT w.kind, w.schema, w.name
	FROM unnest($1::text[], $2::text[], $3::text[]) AS w (kind, schema, name)
	JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
	JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = w.name AND t.typtype IN ('e', 'd', 'r')
	WHERE w.kind IN ('TYPE', 'DOMAIN')
UNION ALL
SELECT w.kind, w.schema, w.name
	FROM unnest($1::text[], $2::text[], $3::text[]) AS w (kind, schema, name)
	JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
	JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
		AND p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' = w.name
	WHERE w.kind = 'FUNCTION'
ORDER BY 1, 2, 3`

func existingObjects(ctx context.Context, e *env) (finding, error) {
	if e.in.Again {
		return passed("what the task made when it was begun before stays; its rows are copied anew")
	}
	wanted, err := e.wanted(ctx)
	if err != nil {
		return finding{}, err
	}
	var kinds, schemas, labels []string
	for _, o := range wanted {
		kinds, schemas, labels = append(kinds, o.Kind), append(schemas, o.Schema), append(labels, o.Name)
	}
	taken, err := read[object](ctx, &e.dst, takenSQL, kinds, schemas, labels)
	if err != nil {
		return finding{}, err
	}
	if len(taken) == 0 {
		return passed("none of the task's objects exists in the destination")
	}
	switch e.in.ExistingObjects {
	case ExistingReplace:
		return replaceable(ctx, e, taken)
	case ExistingUse, ExistingAppend:
		return usable(ctx, e, taken)
	}
	return failed("the destination has objects of the same names: "+enumerate(described(taken)),
		"Drop them:\n"+drops(taken)+"\nor set the task option existing_objects to use (they are right and empty), append or replace.")
}

func described(list []object) []string {
	texts := make([]string, len(list))
	for i, o := range list {
		texts[i] = o.String()
	}
	return texts
}

// drops writes the statements that remove what cannot go with something else.
func drops(list []object) string {
	var fix []string
	for _, kind := range []string{"VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "TABLE", "SEQUENCE", "TYPE", "DOMAIN"} {
		for _, o := range list {
			if o.Kind == kind {
				fix = append(fix, fmt.Sprintf("DROP %s IF EXISTS %s;", kind, schema.Name{Schema: o.Schema, Name: o.Name}))
			}
		}
	}
	for _, o := range list {
		if o.Kind == "FUNCTION" {
			fix = append(fix, fmt.Sprintf("DROP FUNCTION IF EXISTS %s.%s;", ident(o.Schema), functionSignature(o.Name)))
		}
	}
	return statements(fix)
}

// functionSignature quotes the name in front of the argument list.
func functionSignature(name string) string {
	for i := range name {
		if name[i] == '(' {
			return ident(name[:i]) + name[i:]
		}
	}
	return ident(name)
}

// replaceable tells whether the task's role may drop what it is to replace.
func replaceable(ctx context.Context, e *env, taken []object) (finding, error) {
	var kept, fix []string
	for _, o := range taken {
		if o.Kind == "FUNCTION" || o.Kind == "DOMAIN" || o.Kind == "TYPE" {
			continue
		}
		owners, err := column[string](ctx, &e.dst, `SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = $2 AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')`, o.Schema, o.Name)
		if err != nil {
			return finding{}, err
		}
		for _, owner := range owners {
			kept = append(kept, o.String())
			fix = append(fix, fmt.Sprintf("GRANT %s TO %s;", ident(owner), ident(e.dst.role)))
		}
	}
	if len(kept) > 0 {
		slices.Sort(fix)
		return failed(fmt.Sprintf("%s does not own, and so may not replace, %s", ident(e.dst.role), enumerate(kept)),
			"Make it a member of the owners:\n"+statements(slices.Compact(fix))+"\nor drop the objects yourself:\n"+drops(taken))
	}
	return passed("will be dropped and created anew: %s", enumerate(described(taken)))
}

// misfits are the columns in which the tables that exist could not take the rows of the source's.
func (e *env) misfits(ctx context.Context, existing *schema.Inventory) ([]string, error) {
	var wrong []string
	for i := range e.inv.Tables {
		if there := existing.Table(e.inv.Tables[i].Target); there != nil {
			wrong = append(wrong, e.differences(&e.inv.Tables[i], there)...)
		}
	}
	unfilled, err := e.unfilled(ctx, existing)
	return append(wrong, unfilled...), err
}

// usable tells whether the tables that exist can take the rows.
func usable(ctx context.Context, e *env, taken []object) (finding, error) {
	existing, err := e.existingTables(ctx)
	if err != nil {
		return finding{}, err
	}
	wrong, err := e.misfits(ctx, existing)
	if err != nil {
		return finding{}, err
	}
	var filled, fix []string
	for _, there := range existing.Tables {
		if e.in.ExistingObjects == ExistingAppend || there.Kind != schema.KindTable {
			continue
		}
		any, err := value[bool](ctx, &e.dst, "SELECT EXISTS (SELECT FROM ONLY "+there.Name.String()+")")
		if err != nil {
			return finding{}, err
		}
		if any {
			filled = append(filled, there.Name.String())
			fix = append(fix, fmt.Sprintf("TRUNCATE %s;", there.Name))
		}
	}
	switch {
	case len(wrong) > 0:
		return failed("tables of the destination do not fit: "+enumerate(wrong),
			"Bring their columns in line with the source, or drop them, or set existing_objects to replace.")
	case len(filled) > 0:
		return failed("tables of the destination are not empty: "+enumerate(filled),
			"Empty them:\n"+statements(fix)+"\nor set existing_objects to append to keep their rows.")
	}
	return passed("taken as they are: %s", enumerate(described(taken)))
}

// differences names the columns of a source table that the existing table lacks or
// has with another type.
func (e *env) differences(want, have *schema.Table) []string {
	var list []string
	for _, c := range want.Columns {
		i := slices.IndexFunc(have.Columns, func(h schema.Column) bool { return h.Name == c.Target })
		switch {
		case i < 0:
			list = append(list, fmt.Sprintf("%s has no column %s", have.Name, ident(c.Target)))
		case have.Columns[i].Type != c.Type && !e.mapped(c.Type, have.Columns[i].Type):
			list = append(list, fmt.Sprintf("column %s of %s is %s, not %s", ident(c.Target), have.Name, have.Columns[i].Type, c.Type))
		case have.Columns[i].Generated != "" && c.Generated == "":
			list = append(list, fmt.Sprintf("column %s of %s is generated", ident(c.Target), have.Name))
		case have.Columns[i].Generated == "" && c.Generated != "":
			list = append(list, fmt.Sprintf("column %s of %s is not generated", ident(c.Target), have.Name))
		}
	}
	return list
}

// mapped reports whether a type of the source has the other name in the destination.
func (e *env) mapped(source, destination string) bool {
	for _, m := range e.in.Selection.Map.Schemas {
		for _, from := range []string{m.From, ident(m.From)} {
			rest, ok := strings.CutPrefix(source, from+".")
			if ok && (destination == m.To+"."+rest || destination == ident(m.To)+"."+rest) {
				return true
			}
		}
	}
	return false
}

// unfilled names the columns of existing tables that must have a value and get none.
func (e *env) unfilled(ctx context.Context, existing *schema.Inventory) ([]string, error) {
	identity := "true"
	if e.dst.version >= 100000 {
		identity = "a.attidentity = ''"
	}
	type needed struct{ Schema, Table, Column string }
	there := env{inv: existing}
	list, err := read[needed](ctx, &e.dst, `SELECT n.nspname::text, c.relname::text, a.attname::text FROM pg_catalog.pg_attribute a
		JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND `+identity+`
		ORDER BY 1, 2, 3`, there.tableOIDs())
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, l := range list {
		name := schema.Name{Schema: l.Schema, Name: l.Table}
		for i := range e.inv.Tables {
			t := &e.inv.Tables[i]
			filled := slices.ContainsFunc(t.Columns, func(c schema.Column) bool { return c.Target == l.Column })
			if t.Target == name && t.Kind == schema.KindTable && !filled {
				wrong = append(wrong, fmt.Sprintf("column %s of %s is NOT NULL without a default, and %s does not fill it", ident(l.Column), name, t.Name))
			}
		}
	}
	return wrong, nil
}
