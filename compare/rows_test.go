package compare_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/schema"

	"github.com/google/go-cmp/cmp"
)

// outcome is what a comparison of table t found.
type outcome struct {
	Result                    string
	Missing, Extra, Different int64
	Remarks                   string
	Rows                      []string // kind, key, columns
}

// outcome compares values with options.
func (l *lab) outcome(options map[string]string) (o outcome) {
	l.Helper()
	defer l.serve()()
	run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeValues, Options: options, Tables: []string{table}}))
	if run.State != compare.StateFinished {
		l.Fatalf("%s %s", run.State, run.Error)
	}
	if err := l.catalog.Pool().QueryRow(l.Context(), `SELECT result, coalesce(rows_missing, -1), coalesce(rows_extra, -1), coalesce(rows_different, -1),
		coalesce(remarks, '') FROM sync.sync_compare_tables WHERE run_id = $1`, run.ID).Scan(&o.Result, &o.Missing, &o.Extra, &o.Different, &o.Remarks); err != nil {
		l.Fatal(err)
	}
	if sum := o.Missing + o.Extra + o.Different; o.Result == different && sum >= 0 && run.RowsDifferent != sum {
		l.Errorf("the run has %d rows different, its table %d", run.RowsDifferent, sum)
	}
	rows, err := l.catalog.CompareRows(l.Context(), run.ID, table, math.MaxInt32)
	if err != nil {
		l.Fatal(err)
	}
	for _, r := range rows {
		var key []string
		for _, name := range keys(r.Key) {
			key = append(key, name+"="+*r.Key[name])
		}
		o.Rows = append(o.Rows, fmt.Sprintf("%s %s %s", r.Kind, strings.Join(key, ","), strings.Join(r.Columns, ",")))
	}
	return o
}

// paces are the ways to read a table.
var paces = map[string]map[string]string{
	"unlimited": {}, "rows": {"max_rows_per_second": "100000000"}, "bytes": {"max_mb_per_second": "100000"},
}

// TestLargeTable is one that is divided into buckets, with rows of every kind among them.
func TestLargeTable(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both(`CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 70000) AS i`)
	l.exec(l.d, `UPDATE t SET v = 'x' WHERE id IN (17, 4711); DELETE FROM t WHERE id = 69999; INSERT INTO t VALUES (70001, 'v70001');
		UPDATE t SET v = CASE id WHEN 1 THEN 'v2' ELSE 'v1' END WHERE id IN (1, 2)`)
	for name, options := range paces {
		got := l.outcome(options)
		rows := map[string]bool{}
		for _, r := range got.Rows {
			rows[r] = true
		}
		want := map[string]bool{
			"different id=17 v": true, "different id=4711 v": true, "different id=1 v": true, "different id=2 v": true,
			"missing id=69999 ": true, "extra id=70001 ": true,
		}
		if diff := cmp.Diff(want, rows); diff != "" || got.Missing != 1 || got.Extra != 1 || got.Different != 4 || got.Remarks != "" {
			t.Errorf("%s: %+v\n%s", name, got, diff)
		}
	}
}

// TestManyDifferences are counted beyond what is listed.
func TestManyDifferences(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both(`CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 70000) AS i`)
	l.exec(l.d, `UPDATE t SET v = v || 'x' WHERE id <= 60000; DELETE FROM t WHERE id > 69000`)
	for name, options := range paces {
		options = map[string]string{"max_reported_rows": "120", "max_rows_per_second": options["max_rows_per_second"], "max_mb_per_second": options["max_mb_per_second"]}
		for option, value := range options {
			if value == "" {
				delete(options, option)
			}
		}
		got := l.outcome(options)
		if got.Missing != 1000 || got.Extra != 0 || got.Different != 60000 || len(got.Rows) != 120 ||
			got.Remarks != "120 of 61000 rows that differ are listed (max_reported_rows)" {
			got.Rows = got.Rows[:min(3, len(got.Rows))]
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := l.outcome(map[string]string{"max_reported_rows": "0"}); got.Missing != 1000 || got.Different != 60000 || got.Rows != nil {
		t.Errorf("none listed: %d", len(got.Rows))
	}
}

// TestDuplicates without a key are counted one by one.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both(`CREATE TABLE t(a int, b text)`)
	l.exec(l.s, "INSERT INTO t SELECT 1, 'a' FROM generate_series(1, 5); INSERT INTO t VALUES (2, NULL), (2, '')")
	l.exec(l.d, "INSERT INTO t SELECT 1, 'a' FROM generate_series(1, 3); INSERT INTO t VALUES (2, ''), (2, ''), (2, '')")
	for name, options := range paces {
		if got := l.outcome(options); got.Missing != 3 || got.Extra != 2 || got.Different != 0 || len(got.Rows) != 5 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestMappedRows have the destination's names, several tables of the source in one, and a filter.
func TestMappedRows(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.exec(l.s, `CREATE TABLE a(id int PRIMARY KEY, v text, w int); CREATE TABLE b(id int PRIMARY KEY, v text, w int);
		INSERT INTO a VALUES (1, 'a', 0), (2, 'b', 0), (9, 'not selected', 0); INSERT INTO b VALUES (1, 'A', 0), (3, 'c', 0)`)
	l.exec(l.d, `CREATE SCHEMA store; CREATE TABLE store."all"(key int, value text); INSERT INTO store."all" VALUES (1, 'A'), (1, 'x'), (2, 'b'), (4, 'd')`)
	columns := []schema.ColumnRule{{Name: "id", As: "key"}, {Name: "v", As: "value"}}
	l.create("mapped", schema.Selection{
		Tables: []schema.Name{name("public", "a"), name("public", "b")},
		Rules:  []schema.TableRule{{Table: name("public", "a"), Columns: columns, Where: "id < 9"}, {Table: name("public", "b"), Columns: columns}},
		Map: schema.Mapping{Relations: []schema.RelationMap{
			{From: name("public", "a"), To: name("store", "all")}, {From: name("public", "b"), To: name("store", "all")},
		}},
	}, completed...)
	defer l.serve()()
	run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeValues}))
	rows, err := l.catalog.CompareRows(t.Context(), run.ID, `"public"."a", "public"."b"`, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		text := func(row map[string]*string) string {
			if row == nil {
				return "-"
			}
			return *row["key"] + *row["value"]
		}
		got = append(got, fmt.Sprintf("%s %s %s %s %s", r.Kind, *r.Key["key"], r.Columns, text(r.SourceRow), text(r.DestinationRow)))
	}
	slices.Sort(got)
	if want := []string{"different 1 [value] 1a 1x", "extra 4 [] - 4d", "missing 3 [] 3c -"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestLongValues are shown in part.
func TestLongValues(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both(`CREATE TABLE t(id int PRIMARY KEY, v text, b bytea)`)
	l.exec(l.s, `INSERT INTO t VALUES (1, repeat('é', 65537), 'x'), (2, repeat('é', 65536), 'y')`)
	l.exec(l.d, `INSERT INTO t VALUES (1, repeat('é', 65538), 'x')`)
	defer l.serve()()
	run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeValues}))
	rows, err := l.catalog.CompareRows(t.Context(), run.ID, table, math.MaxInt32)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		v := *r.SourceRow["v"]
		if v != strings.Repeat("é", 65536) || r.Shortened != (*r.Key["id"] == "1") {
			t.Errorf("row %s: %d bytes, shortened: %v", *r.Key["id"], len(v), r.Shortened)
		}
	}
}

// TestRowsOfView are found though they have no place.
func TestRowsOfView(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.exec(l.s, `CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')`)
	l.exec(l.d, `CREATE VIEW t AS SELECT * FROM (VALUES (1, 'a'::text), (3, 'c'), (2, 'B')) AS r (id, v)`)
	for name, options := range paces {
		got := l.outcome(options)
		slices.Sort(got.Rows)
		if want := []string{"different id=2 v", "extra id=3 "}; !slices.Equal(got.Rows, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestPacedRows counts rows at a limited pace.
func TestPacedRows(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE a(id int, v text); CREATE TABLE b(); INSERT INTO a SELECT i, 'v' FROM generate_series(1, 1000) AS i; INSERT INTO b DEFAULT VALUES")
	l.exec(l.d, "ALTER TABLE a DROP v; DELETE FROM a WHERE id = 7")
	defer l.serve()()
	for name, options := range paces {
		run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeRows, Options: options}))
		got := l.results(run.ID)
		if a := got[`"public"."a"`]; a.Result != different || *a.Source != 1000 || *a.Destination != 999 {
			t.Errorf("%s: %+v", name, a)
		}
		if b := got[`"public"."b"`]; b.Result != equal || *b.Source != 1 {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

// TestRowsThatCannotBeSorted: that a server has no room to sort does not make the table less different, nor disturbs the others.
func TestRowsThatCannotBeSorted(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE t(id int PRIMARY KEY, v int); CREATE TABLE u(id int); INSERT INTO t SELECT i, i FROM generate_series(1, 50000) AS i")
	l.exec(l.d, "UPDATE t SET v = 0 WHERE id = 7")
	for _, set := range []string{"temp_file_limit = 64", "work_mem = 64"} {
		l.exec(l.d, "DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET ', current_database()) || $$"+set+"$$; END $do$")
	}
	results := l.compare(compare.TypeValues)
	if r := results[table]; r.Result != different || !strings.Contains(r.Remarks, "its differing rows are not known") || !strings.Contains(r.Remarks, "temp_file_limit") {
		t.Errorf("%+v", r)
	}
	if r := results[`"public"."u"`]; r.Result != equal {
		t.Errorf("%+v", r)
	}
}
