package everything_test

import (
	"strings"
	"testing"

	"pgsyncd/testenv"
	"pgsyncd/testenv/everything"

	"github.com/jackc/pgx/v5"
)

// without are the catalogs of a database that the fixture leaves empty: a provider of security labels is no part of PostgreSQL,
// the others belong to subscriptions that copy and to initdb.
var without = []string{"pg_seclabel", "pg_subscription_rel", "pg_init_privs"}

// The database has objects in every catalog, every table of its own has rows, and Diff sees one that is changed.
func TestEverythingIsThere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c := testenv.Shared(t)
	database := c.Database(t)
	conn := c.Connect(t, database)
	if err := everything.CreateRoles(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if err := everything.CreateWithExcluded(ctx, conn); err != nil {
		t.Fatal(err)
	}
	// In a catalog without OIDs rows refer to objects by one.
	missing := column(t, conn, `SELECT c.relname FROM pg_class c, LATERAL (SELECT string_agg(format('%I >= 16384', attname), ' OR ') FROM pg_attribute
			WHERE attrelid = c.oid AND attnum > 0 AND atttypid IN ('oid'::regtype, 'regproc'::regtype)) a(own)
		WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared AND has_table_privilege(c.oid, 'SELECT')
		AND (xpath('//own/text()', query_to_xml(format('SELECT count(*) AS own FROM %s WHERE %s', c.oid::regclass, own), false, true, '')))[1]::text = '0' ORDER BY 1`)
	for _, name := range without {
		missing = strings.ReplaceAll(missing, name+" ", "")
	}
	if missing != "" {
		t.Errorf("nothing in %s", missing)
	}
	empty := column(t, conn, `SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text IN ('tab', 'part', '"Mixed Case"')
		AND c.oid <> ALL ('{part.empty_root}'::regclass[])
		AND (xpath('//own/text()', query_to_xml(format('SELECT count(*) AS own FROM %s', c.oid::regclass), false, true, '')))[1]::text = '0' ORDER BY 1`)
	if empty != "" {
		t.Errorf("no rows in %s", empty)
	}
	before, err := everything.ReadDump(ctx, c, database)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "ALTER TABLE tab.tree ALTER parent SET STATISTICS 3; DROP VIEW view.no_columns"); err != nil {
		t.Fatal(err)
	}
	after, err := everything.ReadDump(ctx, c, database)
	if err != nil {
		t.Fatal(err)
	}
	const want = `- Name: no_columns; Type: VIEW; Schema: view; Owner: postgres
~ Name: tree; Type: TABLE; Schema: tab; Owner: Every "Rôle".x
    + ALTER TABLE ONLY tab.tree ALTER COLUMN parent SET STATISTICS 3;
`
	if got := everything.Diff(before, after); got != want {
		t.Errorf("got\n%s", got)
	}
}

// column returns the only column of a query, each value with a blank behind it.
func column(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(append(values, ""), " ")
}
