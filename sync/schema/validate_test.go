package schema_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

const validateSQL = `
CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA sys; CREATE SCHEMA "We ird";
CREATE TYPE a.mood AS ENUM ('x'); CREATE TYPE b.mood AS ENUM ('x');
CREATE TABLE a.t (id serial PRIMARY KEY, v text, m a.mood);
CREATE TABLE b.t (v text, id serial PRIMARY KEY, m b.mood);
CREATE TABLE a.wider (id int, v text, m a.mood, w int);
CREATE TABLE a.other (id int, v varchar, m a.mood);
CREATE TABLE a.computed (id int, twice int GENERATED ALWAYS AS (id * 2) STORED, v text);
CREATE TABLE a.parted (id int, day date, v text) PARTITION BY RANGE (day);
CREATE TABLE a.parted_1 PARTITION OF a.parted DEFAULT;
CREATE TABLE a.by_month (day date, id int) PARTITION BY RANGE (extract(month from day));
CREATE TABLE a.base (id int, v text);
CREATE TABLE a.derived (w int) INHERITS (a.base);
CREATE TABLE a.identified (id int GENERATED ALWAYS AS IDENTITY);
CREATE VIEW a.view AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW a.mat AS SELECT 1 AS x;
CREATE SEQUENCE a.seq;
CREATE TABLE "We ird"."Tab" (id int);
CREATE TABLE sys.t (id int);
CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE a.far (id int) SERVER s;`

func names(list ...string) []schema.Name {
	var result []schema.Name
	for _, text := range list {
		result = append(result, n(text))
	}
	return result
}

func rule(table string, columns ...string) schema.TableRule {
	r := schema.TableRule{Table: n(table)}
	for _, c := range columns {
		from, to, _ := strings.Cut(c, " AS ")
		r.Columns = append(r.Columns, schema.ColumnRule{Name: from, As: to})
	}
	return r
}

func schemaMap(pairs ...string) (list []schema.SchemaMap) {
	for pair := range slices.Chunk(pairs, 2) {
		list = append(list, schema.SchemaMap{From: pair[0], To: pair[1]})
	}
	return list
}

func relationMap(pairs ...string) (list []schema.RelationMap) {
	for pair := range slices.Chunk(pairs, 2) {
		list = append(list, schema.RelationMap{From: n(pair[0]), To: n(pair[1])})
	}
	return list
}

func TestValidate(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), validateSQL)
	long := strings.Repeat("x", 64)
	for name, test := range map[string]struct {
		sel  schema.Selection
		want []string
		hint string
	}{
		"everything":       {sel: schema.Selection{All: true}},
		"whole schemas":    {sel: schema.Selection{Schemas: []string{"a", "We ird"}}},
		"one by one":       {sel: schema.Selection{Tables: names("a.t"), Views: names("a.view"), Matviews: names("a.mat"), Sequences: names("a.seq")}},
		"by patterns":      {sel: schema.Selection{Patterns: []string{"a.t*", `"We ird".*`}}},
		"with exceptions":  {sel: schema.Selection{All: true, Except: schema.Exception{Schemas: []string{"b"}, Tables: names("a.t"), Patterns: []string{"a.by*"}}}},
		"other names":      {sel: schema.Selection{All: true, Map: schema.Mapping{Schemas: schemaMap("a", "x"), Relations: relationMap("b.t", "y.z", "a.seq", "y.s")}}},
		"sequence of key":  {sel: schema.Selection{Sequences: names("a.t_id_seq")}},
		"partition alone":  {sel: schema.Selection{Tables: names("a.parted_1"), Rules: []schema.TableRule{rule("a.parted_1", "id")}}},
		"columns":          {sel: schema.Selection{Tables: names("a.t"), Rules: []schema.TableRule{rule("a.t", "id", "v AS w")}}},
		"two into one":     {sel: schema.Selection{Tables: names("a.t", "b.t"), Map: schema.Mapping{Schemas: schemaMap("a", "x", "b", "x")}}},
		"narrow into one":  {sel: schema.Selection{Tables: names("a.t", "a.wider"), Rules: []schema.TableRule{rule("a.wider", "id", "v", "m")}, Map: schema.Mapping{Relations: relationMap("a.wider", "a.t")}}},
		"swapped names":    {sel: schema.Selection{Tables: names("a.t", "b.t"), Map: schema.Mapping{Relations: relationMap("a.t", "b.t", "b.t", "a.t")}}},
		"misspelled":       {schema.Selection{Tables: names("a.tt"), Views: names("a.viev")}, []string{`table "a"."tt" does not exist in the source`, `view "a"."viev" does not exist in the source`}, `Did you mean "a"."t" or "b"."t"?`},
		"wrong kind":       {schema.Selection{Tables: names("a.view", "a.seq")}, []string{`table "a"."view" is a view: name it as VIEW "a"."view"`, `table "a"."seq" is a sequence: name it as SEQUENCE "a"."seq"`}, ""},
		"table as matview": {schema.Selection{Matviews: names("a.t")}, []string{`materialized view "a"."t" is a table: name it as TABLE "a"."t"`}, ""},
		"unsupported":      {schema.Selection{Tables: names("a.far", "sys.t", "pg_catalog.pg_class")}, []string{`table "a"."far" cannot be synchronized: foreign tables are not synchronized`, `table "sys"."t" cannot be synchronized: schema "sys" is not synchronized`, `table "pg_catalog"."pg_class" cannot be synchronized: system schemas are not synchronized`}, ""},
		"identity":         {schema.Selection{Sequences: names("a.identified_id_seq")}, []string{`sequence "a"."identified_id_seq" cannot be synchronized: it belongs to an identity column of a table that is not selected`}, ""},
		"orphan":           {schema.Selection{Tables: names("a.derived")}, []string{`table "a"."derived" cannot be synchronized: it inherits from "a"."base", which is not selected`}, ""},
		"no such schema":   {schema.Selection{Schemas: []string{"A", "sys"}}, []string{`schema "A" does not exist in the source`, `schema "sys" cannot be synchronized: schema "sys" is not synchronized`}, `Did you mean "a" or "b"?`},
		"patterns":         {schema.Selection{Patterns: []string{"b.z*", "a.b.c"}}, []string{`pattern "b.z*": matches no table of the source`, `pattern "a.b.c": improper pattern "a.b.c": at most one dot outside double quotes, as in schema.table`}, ""},
		"exceptions":       {schema.Selection{All: true, Except: schema.Exception{Schemas: []string{"none"}, Tables: names("a.none_at_all"), Patterns: []string{"none.*"}}}, []string{`table "a"."none_at_all" does not exist in the source`, `schema "none" does not exist in the source`, `pattern "none.*": matches no table of the source`}, ""},
		"rules": {schema.Selection{Tables: names("a.t", "a.parted"), Rules: []schema.TableRule{rule("a.t", "idd", "id AS v", "v", "v"), rule("b.t", "id"), rule("a.t", "id"), rule("a.parted_1", "id")}}, []string{
			`column "idd" of table "a"."t" does not exist in the source`, `column "v" of table "a"."t" would have the name of column "id"`, `column "v" of table "a"."t" is named twice`,
			`table "b"."t" has a list of columns or a filter, but is not selected`, `table "a"."t" has two lists of columns or filters`, `table "a"."parted_1" is a partition of "a"."parted", whose columns and filter hold for it`,
		}, `Did you mean "id"?`},
		"needed columns": {schema.Selection{Schemas: []string{"a"}, Rules: []schema.TableRule{rule("a.computed", "twice", "v"), rule("a.parted", "id"), rule("a.by_month", "id")}}, []string{
			`table "a"."computed" computes column "twice" from column "id", which is not selected`, `table "a"."parted" is partitioned by column "day", which is not selected`, `table "a"."by_month" is partitioned by column "day", which is not selected`,
		}, ""},
		"inherited columns": {schema.Selection{Tables: names("a.base", "a.derived"), Rules: []schema.TableRule{rule("a.base", "id AS key"), rule("a.derived", "w", "id", "v")}}, []string{
			`table "a"."derived" inherits column "id" from "a"."base" and must take it as that does`, `table "a"."derived" inherits column "v" from "a"."base", where it is not selected`,
		}, ""},
		"mapping": {schema.Selection{All: true, Map: schema.Mapping{Schemas: schemaMap("none_such", "x", "a", "pg_x", "b", "pgsyncd", "b", "y"), Relations: relationMap("a.t", "information_schema.t", "a.nothing_like", "a.y", "a.seq", "a."+long, "a.seq", "a.s2")}}, []string{
			`schema "none_such" does not exist in the source`, `schema "a" cannot go to schema "pg_x" of the destination, which is not for users' objects`,
			`schema "b" cannot go to schema "pgsyncd" of the destination, which is not for users' objects`, `schema "b" is mapped twice`,
			`table "a"."t" cannot go to schema "information_schema" of the destination, which is not for users' objects`, `relation "a"."nothing_like" does not exist in the source`,
			`sequence "a"."seq" cannot be named "` + long + `" in the destination: names have 1 to 63 bytes`, `sequence "a"."seq" is mapped twice`,
		}, ""},
		"shapes": {schema.Selection{Tables: names("a.other", "a.t", "a.wider", "a.parted", "a.view"), Map: schema.Mapping{Relations: relationMap("a.other", "x.t", "a.t", "x.t", "a.wider", "x.t", "a.parted", "x.t")}}, []string{
			`table "a"."view" is a view: name it as VIEW "a"."view"`,
			`table "a"."parted" cannot share table "x"."t" of the destination with "a"."other": "a"."parted" is partitioned`,
			`table "a"."t" cannot share table "x"."t" of the destination with "a"."other": column "v" is of type character varying in one and of text in the other`,
			`table "a"."wider" cannot share table "x"."t" of the destination with "a"."other": column "v" is of type character varying in one and of text in the other`,
		}, ""},
		"shape of two": {schema.Selection{Tables: names("a.t", "a.wider"), Map: schema.Mapping{Relations: relationMap("a.t", "x.t", "a.wider", "x.t")}}, []string{
			`table "a"."wider" cannot share table "x"."t" of the destination with "a"."t": column "w" is in "a"."wider" only`,
		}, ""},
		"owned sequence": {schema.Selection{Tables: names("a.t"), Map: schema.Mapping{Relations: relationMap("a.t_id_seq", "x.s")}}, []string{
			`sequence "a"."t_id_seq" belongs to table "a"."t" and must go to its schema "a"`,
		}, ""},
		"kinds": {schema.Selection{Schemas: []string{"a"}, Map: schema.Mapping{Relations: relationMap("a.view", "a.t", "a.mat", "a.x", "a.seq", "a.x")}}, []string{
			`view "a"."view" would have the name of table "a"."t" in the destination: "a"."t"`, `sequence "a"."seq" would have the name of "a"."mat" in the destination: "a"."x"`,
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.sel.Validate(src.read(t, test.sel))
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var first *schema.SelectionError
			if errors.As(err, &first) && test.hint != "" && first.Hint() != test.hint {
				t.Errorf("hint %q, want %q", first.Hint(), test.hint)
			}
		})
	}
}

func TestIncludes(t *testing.T) {
	t.Parallel()
	sel := schema.Selection{
		Schemas: []string{"a"}, Tables: names("b.t"), Patterns: []string{"c.x*"},
		Except: schema.Exception{Tables: names("a.not"), Patterns: []string{"*.never"}},
	}
	for table, want := range map[string]bool{
		"a.t": true, "a.not": false, "a.never": false, "b.t": true, "b.u": false, "c.xy": true, "c.y": false, "d.t": false,
	} {
		if got := sel.Includes(n(table)); got != want {
			t.Errorf("%s: %v", table, got)
		}
	}
	if !sel.Includes(n("d.leaf"), n("d.middle"), n("b.t")) || sel.Includes(n("a.leaf"), n("a.not")) || sel.Includes(n("a.never"), n("b.t")) {
		t.Error("a partition does not go with its root")
	}
}
