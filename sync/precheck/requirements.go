package precheck

import (
	"context"
	"fmt"
	"slices"
)

var requirementChecks = []check{
	{"selection", "functions of tables", source | destination | database | inventory, copied, requiredFunctions},
	{"selection", "access methods", source | destination | database | inventory, copied, requiredMethods},
}

// requirement is something outside the tables that they cannot be made without.
type requirement struct {
	Kind, Name string
	Schema     string // of the extension that it belongs to, else its own
	Table      string // one that needs it
}

// requiredFunctionsSQL lists the functions and operators that defaults, constraints, indexes and partition keys of the tables $1 use, as
// names that the destination can look up.
const requiredFunctionsSQL = `
WITH part (class, oid, relation) AS (
	SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, d.adrelid FROM pg_catalog.pg_attrdef d WHERE d.adrelid = ANY ($1)
	UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid, c.conrelid FROM pg_catalog.pg_constraint c WHERE c.conrelid = ANY ($1)
	UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, i.indrelid FROM pg_catalog.pg_index i WHERE i.indrelid = ANY ($1)
	UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.oid FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1)),
used (kind, name, class, oid, schema, relation) AS (
	SELECT 'function', p.oid::pg_catalog.regprocedure::text, d.refclassid, p.oid, p.pronamespace, t.relation FROM part t JOIN pg_catalog.pg_depend d
		ON d.classid = t.class AND d.objid = t.oid AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid
	UNION ALL
	SELECT 'operator', p.oid::pg_catalog.regoperator::text, d.refclassid, p.oid, p.oprnamespace, t.relation FROM part t JOIN pg_catalog.pg_depend d
		ON d.classid = t.class AND d.objid = t.oid AND d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass JOIN pg_catalog.pg_operator p ON p.oid = d.refobjid)
SELECT u.kind, u.name, coalesce(xn.nspname, n.nspname)::text, min(u.relation::pg_catalog.regclass::text) FROM used u
	JOIN pg_catalog.pg_namespace n ON n.oid = u.schema
	LEFT JOIN pg_catalog.pg_depend m ON m.classid = u.class AND m.objid = u.oid AND m.deptype = 'e'
	LEFT JOIN pg_catalog.pg_extension x ON x.oid = m.refobjid LEFT JOIN pg_catalog.pg_namespace xn ON xn.oid = x.extnamespace
	WHERE u.oid >= 16384 GROUP BY 1, 2, 3 ORDER BY 1, 2`

// requiredFunctions finds what a task of tables needs and does not bring.
func requiredFunctions(ctx context.Context, e *env) (finding, error) {
	list, err := read[requirement](ctx, &e.src, requiredFunctionsSQL, e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	list = e.notBrought(list)
	var wanted, kinds []string
	for _, r := range list {
		wanted, kinds = append(wanted, r.Name), append(kinds, r.Kind)
	}
	missing, err := column[string](ctx, &e.dst, `SELECT w.name FROM unnest($1::text[], $2::text[]) AS w (name, kind)
		WHERE CASE w.kind WHEN 'function' THEN pg_catalog.to_regprocedure(w.name) IS NULL ELSE pg_catalog.to_regoperator(w.name) IS NULL END`, wanted, kinds)
	if err != nil {
		return finding{}, err
	}
	if found := needed(list, missing); len(found) > 0 {
		return failed("the destination lacks functions or operators that tables use: "+enumerate(found),
			"Create them in the destination, or select their schemas or the whole database.")
	}
	return passed("%s, all there or brought along", count(len(wanted), "function or operator", "functions and operators"))
}

// requiredMethodsSQL lists how the relations $1 and their indexes are stored.
const requiredMethodsSQL = `
SELECT 'access method', a.amname::text, coalesce(xn.nspname, '')::text, min(t.relation::pg_catalog.regclass::text)
	FROM (SELECT c.oid, c.oid FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1)
		UNION ALL SELECT i.indexrelid, i.indrelid FROM pg_catalog.pg_index i WHERE i.indrelid = ANY ($1)) AS t (oid, relation)
	JOIN pg_catalog.pg_class c ON c.oid = t.oid JOIN pg_catalog.pg_am a ON a.oid = c.relam
	LEFT JOIN pg_catalog.pg_depend m ON m.classid = 'pg_catalog.pg_am'::pg_catalog.regclass AND m.objid = a.oid AND m.deptype = 'e'
	LEFT JOIN pg_catalog.pg_extension x ON x.oid = m.refobjid LEFT JOIN pg_catalog.pg_namespace xn ON xn.oid = x.extnamespace
	GROUP BY 1, 2, 3 ORDER BY 2`

// requiredMethods finds access methods that a selection of schemas or tables does not bring.
func requiredMethods(ctx context.Context, e *env) (finding, error) {
	oids := e.tableOIDs()
	for _, v := range e.views() {
		oids = append(oids, v.OID)
	}
	list, err := read[requirement](ctx, &e.src, requiredMethodsSQL, oids)
	if err != nil {
		return finding{}, err
	}
	list = e.notBrought(list)
	there, err := column[string](ctx, &e.dst, "SELECT amname::text FROM pg_catalog.pg_am")
	if err != nil {
		return finding{}, err
	}
	var missing []string
	for _, r := range list {
		if !slices.Contains(there, r.Name) {
			missing = append(missing, r.Name)
		}
	}
	if found := needed(list, missing); len(found) > 0 {
		return failed("the destination lacks access methods of tables or indexes: "+enumerate(found),
			"Create their extension in the destination (CREATE EXTENSION …), or select the whole database.")
	}
	return passed("all are there or brought along")
}

// notBrought leaves out what the task brings with a schema, or with everything.
func (e *env) notBrought(list []requirement) []requirement {
	return slices.DeleteFunc(list, func(r requirement) bool { return e.in.Selection.All || e.takesSchema(r.Schema) })
}

// needed names what is missing with one table that needs it.
func needed(list []requirement, missing []string) (found []string) {
	for _, r := range list {
		if slices.Contains(missing, r.Name) {
			found = append(found, fmt.Sprintf("%s (for %s)", r.Name, r.Table))
		}
	}
	return found
}
