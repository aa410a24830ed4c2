package precheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"
)

var typeChecks = []check{
	{"types", "column types", source | destination | inventory, copied, columnTypes},
}

// userType is a type of the source that columns of the task use, itself or through arrays, domains and composite types.
type userType struct {
	OID          uint32
	Schema, Name string
	Kind         string // pg_type.typtype
	Extension    string // that it is a member of; empty: none
	ExtSchema    string
	Definition   string // what follows CREATE TYPE name or CREATE DOMAIN name
}

// userTypesSQL lists them in the order in which they can be created. $1 and $2 are tables and column numbers.
const userTypesSQL = `
WITH RECURSIVE used (oid, depth) AS (
	SELECT a.atttypid, 0 FROM pg_catalog.pg_attribute a JOIN unnest($1::oid[], $2::int2[]) AS c (relation, number)
		ON a.attrelid = c.relation AND a.attnum = c.number
	UNION
	SELECT x.oid, u.depth + 1 FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
		CROSS JOIN LATERAL (
			SELECT t.typelem AS oid WHERE t.typelem <> 0 AND t.typlen = -1
			UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
			UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid {multirange}
			UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
				WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
		) x WHERE u.depth < 16
)
SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text, coalesce(x.extname::text, ''), coalesce(xn.nspname::text, ''),
	coalesce(CASE t.typtype
		WHEN 'e' THEN 'AS ENUM (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
			FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid) || ')'
		WHEN 'd' THEN 'AS ' || pg_catalog.format_type(t.typbasetype, t.typtypmod)
			|| coalesce(' DEFAULT ' || t.typdefault, '') || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END
			|| coalesce((SELECT pg_catalog.string_agg(' CONSTRAINT ' || pg_catalog.quote_ident(k.conname) || ' ' || pg_catalog.pg_get_constraintdef(k.oid), '')
				FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), '')
		WHEN 'c' THEN 'AS (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
			FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) || ')'
		WHEN 'r' THEN 'AS RANGE (SUBTYPE = ' || (SELECT pg_catalog.format_type(r.rngsubtype, NULL) FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid) || ')'
	END, '')
	FROM (SELECT oid, max(depth) AS depth FROM used GROUP BY oid) u JOIN pg_catalog.pg_type t ON t.oid = u.oid
	JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e'
	LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace xn ON xn.oid = x.extnamespace
	WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND t.typtype <> 'm' AND NOT (t.typelem <> 0 AND t.typlen = -1)
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.oid = ANY ($1))
	ORDER BY u.depth DESC, 2, 3`

// userTypes are what the selected columns need and the task does not bring along.
func (e *env) userTypes(ctx context.Context) ([]userType, error) {
	var relations []uint32
	var numbers []int16
	for _, t := range e.inv.Tables {
		for _, c := range t.Columns {
			relations, numbers = append(relations, t.OID), append(numbers, c.Number)
		}
	}
	multirange := ""
	if e.src.version >= 140000 {
		multirange = "OR r.rngmultitypid = t.oid"
	}
	list, err := read[userType](ctx, &e.src, strings.Replace(userTypesSQL, "{multirange}", multirange, 1), relations, numbers)
	return slices.DeleteFunc(list, func(t userType) bool {
		return t.Extension == "" && slices.Contains(e.whole, t.Schema) || t.Extension != "" && e.takesSchema(t.ExtSchema)
	}), err
}

// columnTypes concerns types that are not among the task's objects.
func columnTypes(ctx context.Context, e *env) (finding, error) {
	used, err := e.userTypes(ctx)
	if err != nil {
		return finding{}, err
	}
	var missing, fix []string
	for _, t := range used {
		n := schema.Name{Schema: e.in.Selection.TargetSchema(t.Schema), Name: t.Name}
		if t.Extension != "" {
			n.Schema = t.Schema
		}
		exists, err := value[bool](ctx, &e.dst, `SELECT EXISTS (SELECT FROM pg_catalog.pg_type t
			JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2)`, n.Schema, n.Name)
		if err != nil {
			return finding{}, err
		}
		if !exists || e.creating {
			missing = append(missing, n.String())
			fix = append(fix, t.create(n))
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		return failed("the destination lacks types that the tables use: "+enumerate(missing),
			"Create them in the destination, or select their schemas (FOR SCHEMA …):\n"+statements(distinct(fix)))
	}
	if len(used) == 0 {
		return passed("PostgreSQL's own, and those of the task's schemas")
	}
	return passed("the destination has them all")
}

// create writes the statements that make the type under that name.
func (t userType) create(n schema.Name) string {
	where := fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s;\n", ident(n.Schema))
	switch {
	case t.Extension != "":
		return fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %[1]s;\nCREATE EXTENSION IF NOT EXISTS %[2]s SCHEMA %[1]s;", ident(t.ExtSchema), ident(t.Extension))
	case t.Kind == "d":
		return fmt.Sprintf("%sCREATE DOMAIN %s %s;", where, n, t.Definition)
	case t.Definition == "":
		return fmt.Sprintf("-- %s is a base type: install what defines it", n)
	}
	return fmt.Sprintf("%sCREATE TYPE %s %s;", where, n, t.Definition)
}

// distinct removes what is said twice, and keeps the order.
func distinct(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
