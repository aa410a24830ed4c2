package compare_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgsyncd/compare"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// plant is a pair of tables called t.
type plant struct {
	name                string
	source, destination string // SQL with %[1]s for the table's name
	rows, values        string // results
	remark              string // part of the remark
}

const (
	equal     = compare.ResultEqual
	different = compare.ResultDifferent
	failed    = compare.ResultFailed
)

// one is a pair of tables with one column of a type and one row each.
func one(name, typ, source, destination, values string) plant {
	const create = "CREATE TABLE %%[1]s(id int PRIMARY KEY, v %s); INSERT INTO %%[1]s VALUES (1, %s)"
	return plant{name, fmt.Sprintf(create, typ, source), fmt.Sprintf(create, typ, destination), equal, values, ""}
}

// many is a pair of tables with columns (id int, v text) and the given rows.
func many(name, source, destination, rows, values string) plant {
	const create = "CREATE TABLE %%[1]s(id int, v text); INSERT INTO %%[1]s VALUES %s"
	return plant{name, fmt.Sprintf(create, source), fmt.Sprintf(create, destination), rows, values, ""}
}

// types makes user-defined types. In the destination they are made in another order, so that no OID agrees.
const (
	typesSource = `CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TYPE pair AS (a int, b text, m mood);
		CREATE DOMAIN price AS numeric CHECK (VALUE >= 0); CREATE DOMAIN code AS char(5); CREATE DOMAIN weight AS float8;
		CREATE TYPE span AS RANGE (subtype = float8); CREATE DOMAIN moods AS mood[];
		CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE FUNCTION shout(pair) RETURNS text LANGUAGE sql AS 'SELECT ''always the same''';
		CREATE CAST (pair AS text) WITH FUNCTION shout(pair);`
	typesDestination = `CREATE TABLE burn(); CREATE DOMAIN weight AS float8; CREATE TYPE span AS RANGE (subtype = float8);
		CREATE TABLE burn_more(); CREATE DOMAIN code AS char(5); CREATE DOMAIN price AS numeric CHECK (VALUE >= 0);
		CREATE TYPE mood AS ENUM ('happy', 'ok', 'sad'); CREATE TYPE pair AS (a int, b text, m mood); CREATE DOMAIN moods AS mood[];
		CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE FUNCTION shout(pair) RETURNS text LANGUAGE sql AS 'SELECT ''always the same''';
		CREATE CAST (pair AS text) WITH FUNCTION shout(pair); DROP TABLE burn, burn_more;`
)

// manyColumns makes a table of columns that are two fields of a row each.
const manyColumns = `DO $$ BEGIN EXECUTE 'CREATE TABLE %[1]s(' ||
	(SELECT string_agg('c' || i || ' char DEFAULT ''x''', ',') FROM generate_series(1, 900) AS i) || ')'; END $$; `

var plants = []plant{
	many("nothing", "(1, 'a')", "(1, 'a')", equal, equal),
	many("other order", "(1, 'a'), (2, 'b')", "(2, 'b'), (1, 'a')", equal, equal),
	many("missing row", "(1, 'a'), (2, 'b')", "(1, 'a')", different, different),
	many("extra row", "(1, 'a')", "(1, 'a'), (2, 'b')", different, different),
	many("changed bit", "(1, 'a'), (2, 'b')", "(1, 'a'), (2, 'c')", equal, different),
	many("swapped values", "(1, 'a'), (2, 'b')", "(1, 'b'), (2, 'a')", equal, different),
	many("duplicate pair", "(1, 'a'), (1, 'a'), (2, 'b'), (2, 'b')", "(1, 'a'), (1, 'a'), (1, 'a'), (1, 'a')", equal, different),
	many("other duplicate", "(1, 'a'), (1, 'a'), (2, 'b')", "(1, 'a'), (2, 'b'), (2, 'b')", equal, different),
	many("duplicates", "(1, 'a'), (1, 'a')", "(1, 'a'), (1, 'a')", equal, equal),
	many("pair against none", "(1, 'a'), (2, 'b'), (2, 'b')", "(1, 'a')", different, different),
	many("null or empty", "(1, NULL)", "(1, '')", equal, different),
	many("null", "(1, NULL)", "(1, NULL)", equal, equal),
	many("shifted between columns", "(1, '12')", "(11, '2')", equal, different),
	{
		"empty", "CREATE TABLE %[1]s(id int)", "CREATE TABLE %[1]s(id int)", equal, equal, "",
	},
	one("scale", "numeric", "1.0", "1.00", different),
	one("nan numeric", "numeric", "'NaN'", "'NaN'", equal),
	one("long numeric", "numeric", "repeat('9', 5000)::numeric", "repeat('9', 5000)::numeric", equal),
	one("minus zero", "float8", "'-0'", "'0'", different),
	one("nan", "float8", "'NaN'", "'NaN'", equal),
	one("nan or null", "float8", "'NaN'", "NULL", different),
	one("last digit", "float8", "0.1", "0.10000000000000002", different),
	one("hashed alike", "bigint", "5000000000", "705032705", different),
	one("sign", "bigint", "-1", "0", different),
	one("case", "text COLLATE ci", "'Ada'", "'ADA'", different),
	one("same case", "text COLLATE ci", "'Ada'", "'Ada'", equal),
	one("combining", "text", `E'\u00e9'`, `E'e\u0301'`, different),
	one("trailing blank", "varchar(5)", "'a'", "'a '", different),
	one("padding", "char(5)", "'a'", "'a  '", equal),
	one("money", "money", "12.34::numeric::money", "12.34::numeric::money", equal),
	one("other money", "money", "12.34::numeric::money", "12.35::numeric::money", different),
	one("timestamp", "timestamptz", "'2024-03-31 02:30:00+02'", "'2024-03-31 00:30:00+00'", equal),
	one("microsecond", "timestamp", "'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00:00.000002'", different),
	one("infinity", "date", "'infinity'", "'-infinity'", different),
	one("interval", "interval", "'1 day'", "'24 hours'", different),
	one("bytea", "bytea", `'\x00ff'`, `'\x00fe'`, different),
	one("json text", "json", `'{"a":1}'`, `'{"a": 1}'`, different),
	one("jsonb", "jsonb", `'{"b":1,"a":2}'`, `'{"a": 2, "b": 1}'`, equal),
	one("xml", "xml", "'<a/>'", "'<a></a>'", different),
	one("array", "int[]", "'{1,2}'", "'{1,2}'", equal),
	one("array bounds", "int[]", "'{1,2}'", "'[0:1]={1,2}'", different),
	one("empty array", "int[]", "'{}'", "NULL", different),
	one("regclass", "regclass", "'pg_catalog.pg_class'", "'pg_catalog.pg_class'", equal),
	one("regtype", "regtype", "'mood'", "'mood'", equal),
	one("enum", "mood", "'ok'", "'ok'", equal),
	one("other enum", "mood", "'ok'", "'sad'", different),
	one("enum array", "mood[]", "'{ok,sad}'", "'{ok,sad}'", equal),
	one("swapped enum array", "mood[]", "'{ok,sad}'", "'{sad,ok}'", different),
	one("composite", "pair", "'(1,x,ok)'", "'(1,x,ok)'", equal),
	one("composite despite its cast", "pair", "'(1,x,ok)'", "'(1,y,ok)'", different),
	one("null composite", "pair", "'(,,)'", "NULL", different),
	one("composite array", "pair[]", `'{"(1,\"x y\",sad)"}'`, `'{"(1,\"x y\",sad)"}'`, equal),
	one("domain", "price", "9.90", "9.90", equal),
	one("other domain", "price", "9.90", "9.9", different),
	one("domain of char", "code", "'ab'", "'ab '", equal),
	one("domain of float", "weight", "'-0'", "'0'", different),
	one("domain of array", "moods", "'{ok}'", "'{ok}'", equal),
	one("range", "int4range", "'[1,3]'", "'[1,4)'", equal),
	one("user range", "span", "'[1,3]'", "'[1,3]'", equal),
	one("other user range", "span", "'[1,3]'", "'[1,3)'", different),
	one("blanks that count", "bpchar", "'a'", "'a  '", different),
	one("blanks of another character", "char(5)", "'a'", `E'a\u00a0'`, different),
	one("true", "boolean", "true", "NULL", different),
	{
		"null elsewhere", "CREATE TABLE %[1]s(a int, b int, c text); INSERT INTO %[1]s VALUES (1, NULL, ''), (NULL, NULL, 'x')",
		"CREATE TABLE %[1]s(a int, b int, c text); INSERT INTO %[1]s VALUES (NULL, 1, ''), (NULL, NULL, 'x')", equal, different, "",
	},
	{
		"swapped numbers", "CREATE TABLE %[1]s(id int, a int, b bool); INSERT INTO %[1]s VALUES (1, 7, true), (2, 8, true)",
		"CREATE TABLE %[1]s(id int, a int, b bool); INSERT INTO %[1]s VALUES (1, 8, true), (2, 7, true)", equal, different, "",
	},
	{
		"many columns", manyColumns + "INSERT INTO %[1]s DEFAULT VALUES", manyColumns + "INSERT INTO %[1]s (c1) VALUES ('y')", equal, different, "",
	},
	{
		"columns in another order", "CREATE TABLE %[1]s(a int, b text, c mood); INSERT INTO %[1]s VALUES (1, 'x', 'ok')",
		"CREATE TABLE %[1]s(c mood, b text, a int); INSERT INTO %[1]s VALUES ('ok', 'x', 1)", equal, equal, "",
	},
	{
		"dropped column", "CREATE TABLE %[1]s(a int, gone int, b text); ALTER TABLE %[1]s DROP gone; INSERT INTO %[1]s VALUES (1, 'x')",
		"CREATE TABLE %[1]s(a int, b text); INSERT INTO %[1]s VALUES (1, 'x')", equal, equal, "",
	},
	{
		"no columns", "CREATE TABLE %[1]s(); INSERT INTO %[1]s DEFAULT VALUES; INSERT INTO %[1]s DEFAULT VALUES",
		"CREATE TABLE %[1]s(); INSERT INTO %[1]s DEFAULT VALUES; INSERT INTO %[1]s DEFAULT VALUES", equal, equal, "",
	},
	{
		"no columns, a row less", "CREATE TABLE %[1]s(); INSERT INTO %[1]s DEFAULT VALUES",
		"CREATE TABLE %[1]s()", different, different, "",
	},
	{
		"generated column", "CREATE TABLE %[1]s(a int, b int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO %[1]s VALUES (1)",
		"CREATE TABLE %[1]s(a int, b int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO %[1]s VALUES (1)", equal, equal, "",
	},
	{
		"generated otherwise", "CREATE TABLE %[1]s(a int, b int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO %[1]s VALUES (1)",
		"CREATE TABLE %[1]s(a int, b int GENERATED ALWAYS AS (a * 3) STORED); INSERT INTO %[1]s VALUES (1)", equal, different, "",
	},
	{
		"missing table", "CREATE TABLE %[1]s(a int); INSERT INTO %[1]s VALUES (1)", "", different, different, "no such table",
	},
	{
		"missing column", "CREATE TABLE %[1]s(a int, b int); INSERT INTO %[1]s VALUES (1)",
		"CREATE TABLE %[1]s(a int); INSERT INTO %[1]s VALUES (1)", equal, different, `column "b" does not exist`,
	},
	{
		"partitioned otherwise", `CREATE TABLE %[1]s(a int) PARTITION BY RANGE (a);
			CREATE TABLE "%[2]s low" PARTITION OF %[1]s FOR VALUES FROM (0) TO (10);
			CREATE TABLE "%[2]s high" PARTITION OF %[1]s FOR VALUES FROM (10) TO (20) PARTITION BY LIST (a);
			CREATE TABLE "%[2]s eleven" PARTITION OF "%[2]s high" DEFAULT; INSERT INTO %[1]s VALUES (1), (11)`,
		`CREATE TABLE %[1]s(a int) PARTITION BY HASH (a); CREATE TABLE "%[2]s all" PARTITION OF %[1]s FOR VALUES WITH (MODULUS 1, REMAINDER 0);
			INSERT INTO %[1]s VALUES (11), (1)`, equal, equal, "",
	},
	{
		"partitioned in the destination", "CREATE TABLE %[1]s(a int); INSERT INTO %[1]s VALUES (1), (2)",
		`CREATE TABLE %[1]s(a int) PARTITION BY LIST (a); CREATE TABLE "%[2]s rest" PARTITION OF %[1]s DEFAULT; INSERT INTO %[1]s VALUES (1), (2)`,
		equal, equal, "",
	},
	{
		"partitioned in the source", `CREATE TABLE %[1]s(a int) PARTITION BY LIST (a); CREATE TABLE "%[2]s only" PARTITION OF %[1]s DEFAULT;
			INSERT INTO %[1]s VALUES (1), (2)`, "CREATE TABLE %[1]s(a int); INSERT INTO %[1]s VALUES (1), (3)", equal, different, "",
	},
	{
		"inheritance", `CREATE TABLE %[1]s(a int); INSERT INTO %[1]s VALUES (1); CREATE TABLE "%[2]s child"() INHERITS (%[1]s);
			INSERT INTO "%[2]s child" VALUES (2)`,
		`CREATE TABLE %[1]s(a int); INSERT INTO %[1]s VALUES (1); CREATE TABLE "%[2]s child"() INHERITS (%[1]s)`, equal, equal, "",
	},
	{
		"row security", "CREATE TABLE %[1]s(a int); ALTER TABLE %[1]s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
		"CREATE TABLE %[1]s(a int)", equal, equal, "",
	},
	{
		"broken in the destination", "CREATE TABLE %[1]s(a int); INSERT INTO %[1]s VALUES (1)",
		"CREATE VIEW %[1]s AS SELECT 1 / (random() * 0)::int AS a", failed, failed, "division by zero",
	},
}

func (p plant) on(sql string) string {
	return strings.NewReplacer("%[1]s", schema.Name{Name: p.name}.String(), "%[2]s", p.name).Replace(sql) + ";"
}

func TestPlantedDifferences(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.exec(l.s, typesSource)
	l.exec(l.d, typesDestination)
	// Settings of the databases that change how values print.
	for _, set := range []string{
		"DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kathmandu'",
		"extra_float_digits = -10", "bytea_output = 'escape'", "lc_monetary = 'C.UTF-8'", "search_path = 'nowhere'",
		"statement_timeout = 1", "xmloption = document", "default_transaction_read_only = on",
	} {
		l.exec(l.d, "DO $do$ BEGIN EXECUTE format('ALTER DATABASE %I SET ', current_database()) || $$"+set+"$$; END $do$")
	}
	for _, p := range plants {
		l.exec(l.s, p.on(p.source))
		l.exec(l.d, p.on(p.destination))
	}
	for kind, want := range map[string]func(plant) string{
		compare.TypeRows:   func(p plant) string { return p.rows },
		compare.TypeValues: func(p plant) string { return p.values },
	} {
		results := l.compare(kind)
		for _, p := range plants {
			name := schema.Name{Schema: "public", Name: p.name}.String()
			got, ok := results[name]
			switch {
			case !ok:
				t.Errorf("%s %s: not compared; compared are %q", kind, p.name, keys(results))
			case got.Result != want(p):
				t.Errorf("%s %s: %s, want %s (%s)", kind, p.name, got.Result, want(p), got.Remarks)
			case p.remark != "" && got.Result != equal && !strings.Contains(got.Remarks, p.remark):
				t.Errorf("%s %s: remark %q lacks %q", kind, p.name, got.Remarks, p.remark)
			}
			delete(results, name)
		}
		// What is left are children by inheritance; partitions are part of their root.
		if child := results[`"public"."inheritance child"`]; len(results) != 1 || child.Result != different || *child.Source != 1 || *child.Destination != 0 {
			t.Errorf("%s: further results %+v", kind, results)
		}
	}
}

// TestSelection compares single tables of a task, partitions and what exists no more among them.
func TestSelection(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both(`CREATE TABLE a(id int); CREATE TABLE b(id int); CREATE TABLE gone(id int);
		CREATE TABLE p(id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY LIST (id);
		CREATE TABLE p11 PARTITION OF p1 DEFAULT; CREATE TABLE p2 PARTITION OF p DEFAULT; INSERT INTO p VALUES (1), (2)`)
	name := func(n string) schema.Name { return schema.Name{Schema: "public", Name: n} }
	l.create("some tables", schema.Selection{Tables: []schema.Name{name("a"), name("p1"), name("gone")}}, completed...)
	l.exec(l.s, "DROP TABLE gone")
	l.exec(l.d, "DELETE FROM p WHERE id = 2")
	got := l.compare(compare.TypeValues)
	if want := []string{`"public"."a"`, `"public"."gone"`, `"public"."p1"`}; strings.Join(keys(got), " ") != strings.Join(want, " ") {
		t.Fatalf("compared are %q", keys(got))
	}
	if r := got[`"public"."gone"`]; r.Result != failed || !strings.Contains(r.Remarks, "does not exist") {
		t.Errorf("table that is gone: %+v", r)
	}
	if r := got[`"public"."p1"`]; r.Result != equal || *r.Source != 1 {
		t.Errorf("partition: %+v", r)
	}
	if got = l.compare(compare.TypeRows, `"public"."p11"`); len(got) != 1 || got[`"public"."p11"`].Result != equal {
		t.Errorf("one partition: %+v", got)
	}
	defer l.serve()()
	run := l.await(l.queue(count(`"public"."b"`)))
	if run.State != compare.StateFailed || !strings.Contains(run.Error, `"public"."b" does not belong`) {
		t.Errorf("foreign table: %s %s", run.State, run.Error)
	}
}

// TestTypesThatDiffer: what has another type is another value, even where the types' own hashes agree.
func TestTypesThatDiffer(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.exec(l.s, "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 705032705)")
	l.exec(l.d, "CREATE TABLE t (id int PRIMARY KEY, v bigint); INSERT INTO t VALUES (1, 5000000000)")
	if o := l.outcome(nil); o.Result != different || !slices.Equal(o.Rows, []string{"different id=1 v"}) {
		t.Errorf("%+v", o)
	}
}

// TestEncodings compares databases that encode text differently.
func TestEncodings(t *testing.T) {
	t.Parallel()
	l := setup(t)
	_, cluster := testenv.SharedPair(t)
	const latin = "latin of comparisons"
	cluster.Exec(t, "postgres", `CREATE DATABASE "`+latin+`" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`)
	t.Cleanup(func() {
		if err := cluster.DropDatabase(context.WithoutCancel(t.Context()), latin); err != nil {
			t.Error(err)
		}
	})
	l.target, l.d = parse(t, cluster.ConnString(latin)), cluster.Connect(t, latin)
	l.exec(l.d, "SET client_encoding = 'UTF8'")
	l.both(`CREATE TABLE t (k text PRIMARY KEY, n name, v varchar, c char(9), x "char", i int);
		INSERT INTO t SELECT 'Schlüssel ' || i, 'Größe', 'été' || i, 'grün', 'x', i FROM generate_series(1, 9) i`)
	if o := l.outcome(nil); o.Result != equal {
		t.Errorf("%+v", o)
	}
	l.exec(l.d, "UPDATE t SET v = 'ete5' WHERE i = 5")
	if o := l.outcome(nil); o.Result != different || !slices.Equal(o.Rows, []string{"different k=Schlüssel 5 v"}) {
		t.Errorf("%+v", o)
	}
}
