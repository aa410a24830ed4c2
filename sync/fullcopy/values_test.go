package fullcopy_test

import (
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
	"pgsyncd/testenv/everything"

	"github.com/jackc/pgx/v5"
)

// Trap 11: what travels in binary form does so whatever its value is. Each type has a table of its own, because one that is not safe
// makes a table travel as text.
func TestValuesInBinary(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE SCHEMA one")
	if err := everything.CreateValues(t.Context(), w.src); err != nil {
		t.Fatal(err)
	}
	rows, err := w.src.Query(t.Context(), `SELECT format('CREATE TABLE one.%I AS SELECT id, %I FROM %s', c.relname || '_' || a.attname, a.attname, c.oid::regclass)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.oid IN ('val.builtin'::regclass, 'val.arrays'::regclass) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'id'`)
	if err != nil {
		t.Fatal(err)
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range statements {
		exec(t, w.src, sql)
	}
	w.cfg.Selection = schema.Selection{Schemas: []string{"one"}}
	if _, err := fullcopy.Run(t.Context(), w.cfg); err != nil {
		t.Fatal(tablesError(t, err).Detail())
	}
	tables := value[[]string](t, w.src, "SELECT array_agg(oid::regclass::text) FROM pg_class WHERE relnamespace = 'one'::regnamespace AND relkind = 'r'")
	if len(tables) < 50 {
		t.Errorf("only %d tables", len(tables))
	}
	testenv.MustEqual(t, w.src, w.dst, tables...)
}
