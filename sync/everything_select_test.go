package sync_test

import (
	"strings"
	"testing"

	"pgsyncd/testenv/everything"
)

// prepare makes, in the destination, what the tables of package everything need and a task without database-level objects does
// not bring.
func (l *lab) prepare() {
	l.Helper()
	l.destination("CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler; CREATE SCHEMA ext")
	for _, extension := range []string{"hstore", "citext", "ltree", "pg_trgm", "btree_gist", "bloom", "unaccent", "dict_int"} {
		l.destination("CREATE EXTENSION " + extension + " SCHEMA ext")
	}
	l.create("MODE FULL FOR (SCHEMA typ, SCHEMA fun) START NOW CONFIRM ALL")
	l.reach("completed")
	l.want("left out of whole schemas", l.objects(), "")
	l.objectsEqual()
	l.sql("DROP SYNC TASK %[1]s")
}

// objects are those of the task that are not there.
func (l *lab) objects() string {
	l.Helper()
	return l.sql("SELECT type, source_name, state, error FROM sync_objects WHERE task = '%[1]s' AND state <> 'created' ORDER BY 1, 2")
}

// Tables alone come with indexes, constraints and rules, into a database that has what they use; what else hangs on them is
// named.
func TestEverythingTableByTable(t *testing.T) {
	t.Parallel()
	l := everythingBetween(t, everything.Create)
	l.prepare()
	// These use types and functions of the tables' own schemas.
	l.source("DROP TABLE tab.of_view_type, tab.typed; ALTER TABLE tab.everything ALTER code DROP DEFAULT; ALTER TABLE tab.circular ALTER b DROP DEFAULT")
	l.create(`MODE FULL FOR (TABLES MATCHING 'tab.*', TABLES MATCHING 'part.*', VIEW view.next, VIEW view.first, MATERIALIZED VIEW view.clustered, SEQUENCE tab.big)
		START NOW CONFIRM ALL`)
	l.reach("completed")
	golden(t, "everything-tables.txt", l.objects())
	l.objectsEqual()
	l.want("relations", l.one(l.d, "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text IN ('tab', 'part') AND relkind IN ('r', 'p')"),
		l.one(l.s, "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text IN ('tab', 'part') AND relkind IN ('r', 'p')"))
	l.want("others", l.one(l.d, "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'view'::regnamespace AND relkind IN ('v', 'm')"), "clustered first next")
	l.want("rows", l.one(l.d, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM tab.everything e"), l.one(l.s, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM tab.everything e"))
}

// Seven schemas become one, as far as no two objects want one name.
func TestEverythingIntoOneSchema(t *testing.T) {
	t.Parallel()
	l := everythingBetween(t, everything.Create)
	l.source("DROP TABLE tab.regs") // values of its types name mapped objects
	const task = `MODE FULL FOR ALL MAP (SCHEMA tab AS one, SCHEMA typ AS one, SCHEMA fun AS one, SCHEMA part AS one, SCHEMA "Mixed Case" AS one, SCHEMA view AS one, SCHEMA ext AS one)
		START NOW CONFIRM ALL`
	l.create(task)
	l.fails("start failed")
	l.contains(l.sql("SELECT found FROM sync_prechecks WHERE task = '%[1]s' AND result = 'failed'"), `"view"."no_columns" would have the name of table "tab"."no_columns"`)
	l.sql("DROP SYNC TASK %[1]s")
	l.source("ALTER VIEW view.no_columns RENAME TO without_columns")
	l.create(task)
	l.reach("completed")
	l.want("missing", l.objects(), "")
	l.objectsEqual()
	l.want("schemas", l.one(l.d, "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'"), "one")
	const objects = `SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I') AND relnamespace <> 'pg_toast'::regnamespace), (SELECT count(*) FROM pg_proc WHERE oid >= 16384),
		(SELECT count(*) FROM pg_type WHERE oid >= 16384), (SELECT count(*) FROM pg_constraint WHERE oid >= 16384), (SELECT count(*) FROM pg_trigger WHERE oid >= 16384), (SELECT count(*) FROM pg_rewrite WHERE oid >= 16384)`
	l.want("objects", l.one(l.d, objects), l.one(l.s, objects))
	const rows = "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM %s.everything e"
	l.want("rows", l.one(l.d, strings.Replace(rows, "%s", "one", 1)), l.one(l.s, strings.Replace(rows, "%s", "tab", 1)))
}
