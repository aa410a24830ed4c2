package precheck

import (
	"context"
	"fmt"
	"slices"

	"pgsyncd/sync/schema"
)

var objectChecks = []check{
	{"objects", "existing objects", source | destination | database | inventory, false, existingObjects},
	{"objects", "unsupported objects", inventory, false, unsupportedObjects},
	{"objects", "large objects", source, false, largeObjects},
}

// object is something with a name that CREATE would find taken.
type object struct{ Kind, Schema, Name string }

func (o object) String() string {
	return o.Kind + " " + schema.Name{Schema: o.Schema, Name: o.Name}.String()
}

// relationKinds spells pg_class.relkind.
const relationKinds = `CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
	WHEN 'S' THEN 'SEQUENCE' WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' WHEN 'c' THEN 'TYPE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'RELATION' END`

// sourceObjectsSQL lists what the task creates: with $1 everything that is no
// member of an extension, else the tables of $2, their indexes and sequences.
const sourceObjectsSQL = `
SELECT ` + relationKinds + `, n.nspname, c.relname
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I', 'c') AND c.relpersistence <> 't' AND c.oid >= 16384
		AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
		AND ($1 OR c.oid = ANY ($2) OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid AND i.indrelid = ANY ($2))
			OR c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend d
				WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
				AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = ANY ($2) AND d.deptype IN ('a', 'i')))
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, n.nspname, t.typname
	FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	WHERE $1 AND t.typtype IN ('e', 'd', 'r') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'FUNCTION', n.nspname, p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')'
	FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE $1 AND p.oid >= 16384 AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
ORDER BY 1, 2, 3`

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
	wanted, err := read[object](ctx, &e.src, sourceObjectsSQL, e.in.Selection.All, e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	var kinds, schemas, labels []string
	for _, o := range wanted {
		if schema.ExcludedSchema(o.Schema) == "" {
			kinds, schemas, labels = append(kinds, o.Kind), append(schemas, o.Schema), append(labels, o.Name)
		}
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

// usable tells whether the tables that exist can take the rows.
func usable(ctx context.Context, e *env, taken []object) (finding, error) {
	existing, err := e.existingTables(ctx)
	if err != nil {
		return finding{}, err
	}
	var wrong, filled, fix []string
	for _, there := range existing.Tables {
		wrong = append(wrong, differences(e.inv.Table(there.Name), &there)...)
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
func differences(want, have *schema.Table) []string {
	if want == nil {
		return nil
	}
	var list []string
	for _, c := range want.Columns {
		i := slices.IndexFunc(have.Columns, func(h schema.Column) bool { return h.Name == c.Name })
		switch {
		case i < 0:
			list = append(list, fmt.Sprintf("%s has no column %s", have.Name, ident(c.Name)))
		case have.Columns[i].Type != c.Type:
			list = append(list, fmt.Sprintf("column %s of %s is %s, not %s", ident(c.Name), have.Name, have.Columns[i].Type, c.Type))
		case have.Columns[i].Generated != "" && c.Generated == "":
			list = append(list, fmt.Sprintf("column %s of %s is generated", ident(c.Name), have.Name))
		case have.Columns[i].Generated == "" && c.Generated != "":
			list = append(list, fmt.Sprintf("column %s of %s is not generated", ident(c.Name), have.Name))
		}
	}
	return list
}

func unsupportedObjects(_ context.Context, e *env) (finding, error) {
	var list, silent []string
	for _, x := range e.inv.Excluded {
		name := x.Name.Name
		if x.Name.Schema != "" {
			name = x.Name.String()
		}
		text := fmt.Sprintf("%s %s (%s)", x.Kind, name, x.Reason)
		if schema.ExcludedSchema(x.Name.Schema) != "" || isMember(x.Reason) {
			silent = append(silent, text)
		} else {
			list = append(list, text)
		}
	}
	if len(list) > 0 {
		return confirm("not synchronized, nor any table or other object that depends on them: "+enumerate(list),
			"Create them in the destination by hand where they are needed. What was left out shows in sync_objects.")
	}
	if len(silent) > 0 {
		return passed("only parts of extensions and of system schemas: %s", enumerate(silent))
	}
	return passed("none")
}

// largeObjects are the contents of pg_largeobject, which no table owns.
func largeObjects(ctx context.Context, e *env) (finding, error) {
	n, err := value[int64](ctx, &e.src, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata")
	if err != nil {
		return finding{}, err
	}
	if n > 0 && e.in.Selection.All {
		return confirm(fmt.Sprintf("%s not synchronized", count(int(n), "large object is", "large objects are")),
			"Copy them by other means, such as pg_dump --large-objects, or confirm that the destination does without.")
	}
	return passed("none to be synchronized")
}
