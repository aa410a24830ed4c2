package compare_test

import (
	"slices"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/google/uuid"
)

func name(s, n string) schema.Name { return schema.Name{Schema: s, Name: n} }

func rule(table, where string, pairs ...string) schema.TableRule {
	r := schema.TableRule{Table: name("public", table), Where: where}
	for pair := range slices.Chunk(pairs, 2) {
		r.Columns = append(r.Columns, schema.ColumnRule{Name: pair[0], As: pair[1]})
	}
	return r
}

func renamed(from, to string) schema.RelationMap {
	return schema.RelationMap{From: name("public", from), To: name("public", to)}
}

const (
	mappedSource = `CREATE TYPE mood AS ENUM ('sad', 'ok');
		CREATE TABLE plain (id int PRIMARY KEY, secret text, "Größe" mood, v text); INSERT INTO plain SELECT i, 's', 'ok', 'v' || i FROM generate_series(1, 9) i;
		CREATE TABLE tree (id int, v text) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF tree FOR VALUES FROM (0) TO (10);
		CREATE TABLE high (v text, id int); ALTER TABLE tree ATTACH PARTITION high FOR VALUES FROM (10) TO (20); INSERT INTO tree SELECT i, 'v' FROM generate_series(0, 19) i;
		CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (v text, id bigint PRIMARY KEY, more int DEFAULT 1); CREATE TABLE c (id int, v text) PARTITION BY LIST (id);
		CREATE TABLE c1 PARTITION OF c DEFAULT; INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES ('b', 2), ('b', 3); INSERT INTO c VALUES (4, 'c'), (5, 'c')`
	mappedDestination = `CREATE TABLE burn(); CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE SCHEMA "to";
		CREATE TABLE "to"."Pl.ain" (w text, size mood, id int PRIMARY KEY); INSERT INTO "to"."Pl.ain" SELECT 'v' || i, 'ok', i FROM generate_series(1, 9) i WHERE i % 2 = 0;
		CREATE TABLE "to".trunk (v text, number int) PARTITION BY LIST (number); CREATE TABLE "to".rest PARTITION OF "to".trunk DEFAULT;
		INSERT INTO "to".trunk SELECT 'v', i FROM generate_series(0, 19) i WHERE CASE WHEN i < 10 THEN i > 4 ELSE i % 2 = 0 END;
		CREATE TABLE d (v text, more int, id bigint); INSERT INTO d VALUES ('a', NULL, 1), ('b', 1, 2), ('b', 1, 3), ('c', NULL, 4), ('c', NULL, 5)`
)

func setupMapped(t *testing.T) *lab {
	t.Helper()
	l := setup(t)
	l.exec(l.s, mappedSource)
	l.exec(l.d, mappedDestination)
	l.create("mapped", schema.Selection{
		All: true,
		Map: schema.Mapping{Relations: []schema.RelationMap{
			{From: name("public", "plain"), To: name("to", "Pl.ain")},
			{From: name("public", "tree"), To: name("to", "trunk")},
			renamed("a", "d"), renamed("b", "d"), renamed("c", "d"),
		}},
		Rules: []schema.TableRule{
			rule("plain", "id % 2 = 0 -- even", "id", "", "Größe", "size", "v", "w"),
			rule("tree", "id > 4", "id", "number", "v", ""), rule("high", "id % 2 = 0", "id", "number", "v", ""),
		},
	}, completed...)
	return l
}

const abc = `"public"."a", "public"."b", "public"."c"`

func together(kind string, tables ...string) catalog.CompareRun {
	run := catalog.CompareRun{Type: kind, Tables: tables}
	if kind == compare.TypeRows {
		run.Options = map[string]string{"many_to_one": "true"}
	}
	return run
}

// finish runs a comparison and returns its results by source table.
func (l *lab) finish(run catalog.CompareRun) map[string]result {
	l.Helper()
	defer l.serve()()
	done := l.await(l.queue(run))
	if done.State != compare.StateFinished {
		l.Fatalf("%s: %s", done.State, done.Error)
	}
	return l.results(done.ID)
}

// Tables and columns have other names in the destination, rows and columns are left out, several tables are one.
func TestMapping(t *testing.T) {
	t.Parallel()
	l := setupMapped(t)
	for _, kind := range []string{compare.TypeRows, compare.TypeValues} {
		got := l.finish(together(kind))
		for table, rows := range map[string]int64{`"public"."plain"`: 4, `"public"."tree"`: 10, abc: 5} {
			if r := got[table]; r.Result != equal || *r.Source != rows || *r.Destination != rows {
				t.Errorf("%s of %s: %+v", kind, table, r)
			}
			delete(got, table)
		}
		if len(got) != 0 {
			t.Errorf("%s: further results %+v", kind, got)
		}
	}
	var target string
	if err := l.catalog.Pool().QueryRow(t.Context(), `SELECT string_agg(DISTINCT destination_table, ' ' ORDER BY destination_table) FROM sync.sync_compare_tables`).
		Scan(&target); err != nil || target != `"public"."d" "to"."Pl.ain" "to"."trunk"` {
		t.Errorf("destination tables: %s, %v", target, err)
	}
	if r := l.finish(together(compare.TypeValues))[abc]; !strings.Contains(r.Remarks, `"more"`) {
		t.Errorf("column that only one table has: %+v", r)
	}
	// Names are the source's; what is merged comes with what it is merged with.
	for _, tables := range [][]string{{`"public"."b"`}, {`"public"."c1"`}, {`"public"."a"`, `"public"."c"`}} {
		if got := l.finish(together(compare.TypeValues, tables...)); len(got) != 1 || got[abc].Result != equal {
			t.Errorf("%q: %+v", tables, got)
		}
	}
	if r := l.finish(together(compare.TypeRows, `"public"."low"`))[`"public"."low"`]; r.Result != undecided || !strings.Contains(r.Remarks, `compare "public"."tree"`) {
		t.Errorf("partition that is in another table: %+v", r)
	}
}

// One changed value, one missing and one additional row of each.
func TestDifferencesUnderOtherNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ table, sql, rows string }{
		{`"public"."plain"`, `UPDATE "to"."Pl.ain" SET size = 'sad' WHERE id = 2`, equal},
		{`"public"."plain"`, `DELETE FROM "to"."Pl.ain" WHERE id = 2`, different},
		{`"public"."plain"`, `INSERT INTO "to"."Pl.ain" VALUES ('v1', 'ok', 1)`, different}, // not selected
		{`"public"."tree"`, `UPDATE "to".trunk SET v = 'w' WHERE number = 18`, equal},
		{`"public"."tree"`, `INSERT INTO "to".trunk VALUES ('v', 3)`, different},
		{abc, `UPDATE d SET v = CASE id WHEN 1 THEN 'b' ELSE 'a' END WHERE id IN (1, 2)`, equal},
		{abc, `DELETE FROM d WHERE id = 4`, different},
	} {
		t.Run(c.sql, func(t *testing.T) {
			t.Parallel()
			l := setupMapped(t)
			l.exec(l.d, c.sql)
			for kind, want := range map[string]string{compare.TypeRows: c.rows, compare.TypeValues: different} {
				for table, r := range l.finish(together(kind)) {
					if (table == c.table && r.Result != want) || (table != c.table && r.Result != equal) {
						t.Errorf("%s: %+v, want %s of %s", kind, r, want, c.table)
					}
				}
			}
		})
	}
}

// Without many_to_one nothing can be said of one of several tables.
func TestCountingEachTableByItself(t *testing.T) {
	t.Parallel()
	l := setupMapped(t)
	got := l.finish(catalog.CompareRun{Type: compare.TypeRows, Options: map[string]string{"many_to_one": "false"}})
	for table, rows := range map[string]int64{`"public"."a"`: 1, `"public"."b"`: 2, `"public"."c"`: 2} {
		if r := got[table]; r.Result != undecided || *r.Source != rows || *r.Destination != 5 || !strings.Contains(r.Remarks, "many_to_one") {
			t.Errorf("%s: %+v", table, r)
		}
	}
}

// A difference is told with what is known to cause one.
func TestWhyRowsDiffer(t *testing.T) {
	t.Parallel()
	l := setupMapped(t)
	l.exec(l.d, `DELETE FROM d WHERE id = 5; INSERT INTO "to"."Pl.ain" VALUES ('theirs', 'ok', 11)`)
	if err := l.catalog.SaveTables(t.Context(), l.task.ID, []catalog.TableStatus{
		{SourceSchema: "public", SourceTable: "c1", State: "done", RowsIgnored: 1}, {SourceSchema: "public", SourceTable: "plain", State: "done"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := ledger.Ensure(t.Context(), l.d); err != nil {
		t.Fatal(err)
	}
	if err := ledger.MarkObject(t.Context(), l.d, uuid.NewString(), ledger.ClaimPrefix+`"to"."Pl.ain"`); err != nil {
		t.Fatal(err)
	}
	got := l.finish(together(compare.TypeValues))
	if r := got[abc]; r.Result != different || !strings.Contains(r.Remarks, "(full_conflicts = ignore): 1") || strings.Contains(r.Remarks, "others as well") {
		t.Errorf("rows that were left out: %+v", r)
	}
	if r := got[`"public"."plain"`]; r.Result != undecided || strings.Contains(r.Remarks, "left out") || !strings.Contains(r.Remarks, "rows of others as well") {
		t.Errorf("rows of another task: %+v", r)
	}
	if r := got[`"public"."tree"`]; r.Result != equal || r.Remarks != "" {
		t.Errorf("nothing: %+v", r)
	}
}

// A partition that is not selected is not compared with its tree, whatever it holds.
func TestPartitionThatIsNotSelected(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.exec(l.s, `CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
		CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (1), (11);
		CREATE TABLE q (id int) PARTITION BY RANGE (id); CREATE TABLE q1 PARTITION OF q FOR VALUES FROM (10) TO (20); INSERT INTO q VALUES (11)`)
	l.exec(l.d, `CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1);
		CREATE TABLE q (id int) PARTITION BY RANGE (id)`)
	l.create("excepting", schema.Selection{All: true, Except: schema.Exception{Tables: []schema.Name{name("public", "p2"), name("public", "q1")}}}, completed...)
	for _, kind := range []string{compare.TypeRows, compare.TypeValues} {
		if got := l.finish(together(kind)); len(got) != 2 || got[`"public"."p"`].Result != equal || got[`"public"."q"`].Result != equal {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}
