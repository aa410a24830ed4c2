package precheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"
)

var selectionChecks = []check{
	{"selection", "selected tables", inventory, always, selectedTables},
	{"selection", "names in the destination", source | inventory | destination, always, targetNames},
	{"selection", "dependencies of views", source | inventory, copied, viewDependencies},
	{"selection", "names in functions", source | inventory, copied, functionBodies},
	{"selection", "names in columns", inventory, always, namesInColumns},
	{"selection", "shared tables", inventory, streamed, sharedTables},
}

// selectedTables reports every fault of the selection at once.
func selectedTables(_ context.Context, e *env) (finding, error) {
	if err := e.in.Selection.Validate(e.inv); err != nil {
		var found, hints []string
		for _, fault := range unjoin(err) {
			found = append(found, fault.Error())
			var wrong *schema.SelectionError
			if errors.As(fault, &wrong) && wrong.Hint() != "" {
				hints = append(hints, fmt.Sprintf("%s: %s", fault, wrong.Hint()))
			}
		}
		if len(hints) == 0 {
			hints = []string{"Correct it with ALTER SYNC TASK … SET FOR …"}
		}
		return failed(strings.Join(found, "; "), statements(hints))
	}
	var rows, bytes int64
	for _, t := range e.inv.Tables {
		rows, bytes = rows+t.Rows, bytes+t.Bytes
	}
	return passed("%s, about %d rows, %s", count(len(e.inv.Tables), "table", "tables"), rows, size(bytes))
}

// unjoin returns the parts of what errors.Join made, or the error itself.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// targetNames finds names that are longer in the destination's encoding than an identifier can be. Any other name is usable.
func targetNames(ctx context.Context, e *env) (finding, error) {
	src, dst, err := e.locales(ctx)
	if err != nil {
		return finding{}, err
	}
	target := dst.Encoding
	if e.creating {
		target = src.Encoding
	}
	if src.Encoding == target || src.Encoding == "SQL_ASCII" || target == "SQL_ASCII" {
		return passed("any name can be kept")
	}
	list, err := column[string](ctx, &e.src, `SELECT DISTINCT name FROM (
			SELECT relname::text FROM pg_catalog.pg_class WHERE oid = ANY ($2)
				OR relnamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1))
			UNION ALL SELECT attname::text FROM pg_catalog.pg_attribute WHERE attrelid = ANY ($2) AND attnum > 0 AND NOT attisdropped
			UNION ALL SELECT conname::text FROM pg_catalog.pg_constraint WHERE conrelid = ANY ($2)
			UNION ALL SELECT nspname::text FROM pg_catalog.pg_namespace WHERE oid >= 16384
		) AS names (name) WHERE pg_catalog.octet_length(pg_catalog.convert_to(name, $3)) > 63 ORDER BY 1`, e.whole, e.tableOIDs(), target)
	if err != nil {
		return finding{}, err
	}
	if len(list) > 0 {
		return failed(fmt.Sprintf("longer than 63 bytes in %s, the encoding of the destination: %s", target, enumerate(quoted(list))),
			"Rename them in the source (ALTER … RENAME TO …), or give tables and schemas other names in the task with AS.")
	}
	return passed("all fit into %s", target)
}

func quoted(list []string) []string {
	texts := []string{}
	for _, name := range list {
		texts = append(texts, ident(name))
	}
	return texts
}

// viewDependenciesSQL returns the relations outside the task ($2) that the views among $1 look at. What belongs to an extension
// or to PostgreSQL is there in any case.
const viewDependenciesSQL = `
SELECT DISTINCT r.ev_class::pg_catalog.regclass::text || ' uses ' || d.refobjid::pg_catalog.regclass::text
	FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
	JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind <> 'c' -- which is a type
	WHERE r.rulename = '_RETURN' AND r.ev_class = ANY ($1) AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
		AND d.refobjid <> r.ev_class AND d.refobjid >= 16384 AND NOT d.refobjid = ANY ($2)
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
			WHERE x.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND x.objid = d.refobjid AND x.deptype = 'e')
	ORDER BY 1`

// viewDependencies finds views that cannot be created, because what they look at is not selected.
func viewDependencies(ctx context.Context, e *env) (finding, error) {
	taken := e.tableOIDs()
	var oids []uint32
	for _, s := range e.inv.Sequences {
		taken = append(taken, s.OID)
	}
	for _, v := range e.views() {
		oids, taken = append(oids, v.OID), append(taken, v.OID)
	}
	list, err := column[string](ctx, &e.src, viewDependenciesSQL, oids, taken)
	if err != nil {
		return finding{}, err
	}
	if len(list) > 0 {
		return confirm("views that are left out, because what they use is not selected: "+enumerate(list),
			"Select what they use too, or confirm that the destination does without these views.")
	}
	return passed("%s, whose tables are selected", count(len(oids), "view", "views"))
}

// functionBodiesSQL finds the functions of the schemas $1 whose bodies hold one of the words $2. Bodies are text to
// PostgreSQL, so nobody can rewrite them with certainty.
const functionBodiesSQL = `
SELECT DISTINCT p.oid::pg_catalog.regprocedure::text || ' (' || pg_catalog.quote_ident(w.word) || ')'
	FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	JOIN pg_catalog.pg_language l ON l.oid = p.prolang CROSS JOIN unnest($2::text[]) AS w (word)
	WHERE n.nspname = ANY ($1) AND l.lanname NOT IN ('c', 'internal')
		AND p.prosrc ~* ('(^|[^[:alnum:]_$])' || pg_catalog.regexp_replace(w.word, '([^[:alnum:]_])', E'\\\\\\1', 'g') || '([^[:alnum:]_$]|$)')
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
	ORDER BY 1`

// functionBodies finds functions that may use names which are others in the destination.
func functionBodies(ctx context.Context, e *env) (finding, error) {
	sel := e.in.Selection
	if !sel.Maps() || len(e.whole) == 0 {
		return passed("no names are mapped, or no functions are synchronized")
	}
	var words []string
	for _, m := range sel.Map.Schemas {
		words = append(words, m.From)
	}
	for _, m := range sel.Map.Relations {
		words = append(words, m.From.Name)
	}
	for _, r := range sel.Rules {
		for _, c := range r.Columns {
			if c.As != "" && c.As != c.Name {
				words = append(words, c.Name)
			}
		}
	}
	list, err := column[string](ctx, &e.src, functionBodiesSQL, e.whole, words)
	if err != nil {
		return finding{}, err
	}
	if len(list) > 0 {
		return confirm("bodies of functions are carried as they are, and mention names that are others in the destination: "+enumerate(list),
			"Change these functions in the destination after the full synchronization with CREATE OR REPLACE FUNCTION.")
	}
	return passed("no body of a function mentions a mapped name")
}

// nameTypes are the types whose values name objects; a value without its object is refused.
var nameTypes = []string{
	"regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator", "regproc", "regprocedure", "regtype",
}

// namesInColumns concerns values that name objects, where these have other names in the destination or may be missing there.
func namesInColumns(_ context.Context, e *env) (finding, error) {
	if !e.in.Selection.Maps() && e.in.Selection.All {
		return passed("every object has the same name in the destination")
	}
	var list []string
	for _, t := range e.tables() {
		for _, c := range t.Columns {
			if slices.Contains(nameTypes, strings.TrimSuffix(c.Type, "[]")) {
				list = append(list, fmt.Sprintf("%s of %s (%s)", ident(c.Name), t.Name, c.Type))
			}
		}
	}
	if len(list) > 0 {
		return confirm("a row stops the task if a value of these columns names an object that the destination does not have under that name: "+enumerate(list),
			"Leave the columns out with a list of columns, or confirm that they name only what both sides have.")
	}
	return passed("no column names objects")
}

// sharedTables concerns several tables of the source that are one in the destination.
func sharedTables(_ context.Context, e *env) (finding, error) {
	sources := map[schema.Name][]string{}
	for _, t := range e.inv.Tables {
		if t.Root == t.Name {
			sources[t.Target] = append(sources[t.Target], t.Name.String())
		}
	}
	var list []string
	for target, names := range sources {
		if len(names) > 1 {
			list = append(list, fmt.Sprintf("%s from %s", target, enumerate(names)))
		}
	}
	if len(list) > 0 {
		slices.Sort(list)
		return confirm("several tables become one: "+strings.Join(list, "; "),
			"Confirm that their keys do not overlap: of rows with one key the first stays, and later changes of any of them change it. "+
				"TRUNCATE of one of these tables alone stops the task.")
	}
	return passed("each table has its own in the destination")
}
