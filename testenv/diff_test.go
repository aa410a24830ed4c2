package testenv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

const diffTables = `
CREATE SCHEMA "We ird.s";
CREATE TABLE k (id int PRIMARY KEY, v text, f float8, n numeric);
INSERT INTO k SELECT i, 'v' || i, i / 3.0, i / 7.0 FROM generate_series(1, 500) i;
INSERT INTO k VALUES (1000, NULL, 'NaN', 'NaN'), (1001, '', '-0', 0), (1002, E'tab\tnl\nback\\', 'infinity', 1e100);
CREATE TABLE "We ird.s"."T ""q" (a int, b text);
INSERT INTO "We ird.s"."T ""q" VALUES (1, 'x'), (1, 'x'), (2, 'y'), (NULL, NULL);
CREATE TABLE p (a int, b text) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
INSERT INTO p VALUES (1, 'one');
CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2);
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE c (x char(5), m money, t timestamptz);
INSERT INTO c VALUES ('ab', 12.5, '2020-01-01 00:00+05');
CREATE SCHEMA pgsyncd; CREATE TABLE pgsyncd.progress (a int); INSERT INTO pgsyncd.progress VALUES (random() * 1e9);
`

// pair makes two equal databases whose sessions write values differently by default.
func pair(t *testing.T) (cb *Cluster, a, b *pgx.Conn) {
	t.Helper()
	ca, cb := SharedPair(t)
	da, db := ca.Database(t), cb.Database(t)
	ca.Exec(t, da, diffTables)
	cb.Exec(t, db, diffTables)
	ca.Exec(t, da, fmt.Sprintf("ALTER DATABASE %s SET datestyle = 'German'; ALTER DATABASE %s SET timezone = 'Asia/Kolkata'", da, da))
	cb.Exec(t, db, fmt.Sprintf("ALTER DATABASE %s SET extra_float_digits = -10; ALTER DATABASE %s SET search_path = \"We ird.s\"", db, db))
	return cb, ca.Connect(t, da), cb.Connect(t, db)
}

func TestDiffFindsPlantedDifferences(t *testing.T) {
	t.Parallel()
	cb, a, b := pair(t)
	MustEqual(t, a, b)
	MustEqual(t, a, b, "public.k")
	for _, tc := range []struct {
		name, change string
		want         []string // parts, each of one difference
	}{
		{"missing row", "DELETE FROM public.k WHERE id = 7", []string{"public.k: row only in a: id=7, v=v7"}},
		{"extra row", "INSERT INTO public.k VALUES (-1)", []string{`public.k: row only in b: id=-1, v=\N`}},
		{"last bit", "UPDATE public.k SET f = f + 1e-15 WHERE id = 1", []string{"only in a: id=1,", "only in b: id=1,"}},
		{"numeric scale", "UPDATE public.k SET n = 0.00 WHERE id = 1001", []string{"n=0", "n=0.00"}},
		{"minus zero", "UPDATE public.k SET f = 0 WHERE id = 1001", []string{"f=-0", "f=0"}},
		{"null and empty", "UPDATE public.k SET v = '' WHERE id = 1000", []string{`v=\N`, "v=,"}},
		{
			"swapped values", "UPDATE public.k SET v = CASE id WHEN 1 THEN 'v2' ELSE 'v1' END WHERE id IN (1, 2)",
			[]string{"only in a: id=1, v=v1", "only in a: id=2, v=v2", "only in b: id=1, v=v2", "only in b: id=2, v=v1"},
		},
		{"duplicate lost", `DELETE FROM "T ""q" WHERE ctid = (SELECT min(ctid) FROM "T ""q")`, []string{`"We ird.s"."T ""q": row only in a: a=1, b=x`}},
		{"duplicate pair", `INSERT INTO "T ""q" VALUES (2, 'y'), (2, 'y')`, []string{"only in b: a=2, b=y", "only in b: a=2, b=y"}},
		{"partition", "DELETE FROM public.p1", []string{"public.p: row only in a: a=1, b=one"}},
		{"child row in parent", "WITH d AS (DELETE FROM public.child RETURNING a) INSERT INTO public.parent SELECT a FROM d", []string{
			"public.child: row only in a: a=2", "public.parent: row only in b: a=2",
		}},
		{"row without columns", "INSERT INTO public.nothing DEFAULT VALUES", []string{"public.nothing: row only in b: "}},
		{"table", "DROP TABLE public.c", []string{"public.c: missing in b"}},
		{"column", "ALTER TABLE public.c DROP m, ADD z int", []string{"public.c: column m only in a", "public.c: column z only in b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := t.Context()
			tx, err := b.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(ctx, tc.change); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			got, err := Diff(ctx, a, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tc.want) {
				t.Errorf("%d differences, want %d: %s", len(got), len(tc.want), strings.Join(got, "\n"))
			}
			for _, part := range tc.want {
				if !slices.ContainsFunc(got, func(d string) bool { return strings.Contains(d, part) }) {
					t.Errorf("no difference with %q in:\n%s", part, strings.Join(got, "\n"))
				}
			}
			cb.Exec(t, b.Config().Database, `DROP SCHEMA public, "We ird.s", pgsyncd CASCADE; CREATE SCHEMA public; SET search_path = public; `+diffTables)
		})
	}
}

func TestDiffCountsWhatItDoesNotShow(t *testing.T) {
	t.Parallel()
	_, a, b := pair(t)
	if _, err := b.Exec(t.Context(), "DELETE FROM public.k WHERE id <= 30"); err != nil {
		t.Fatal(err)
	}
	got, err := Diff(t.Context(), a, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != maxReported+1 || !strings.Contains(got[maxReported], "10 more") {
		t.Errorf("%d lines, the last: %s", len(got), got[len(got)-1])
	}
}

func TestDiffAcrossEncodings(t *testing.T) {
	t.Parallel()
	a, b := SharedPair(t)
	da := a.Database(t)
	a.Exec(t, "postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	a.Exec(t, "postgres", "ALTER DATABASE latin SET client_encoding = 'UTF8'")
	t.Cleanup(func() {
		if err := a.DropDatabase(context.WithoutCancel(t.Context()), "latin"); err != nil {
			t.Error(err)
		}
	})
	db := b.Database(t)
	const table = "CREATE TABLE t (a text); INSERT INTO t VALUES ('grün'), ('été'), ('plain')"
	a.Exec(t, "latin", table)
	a.Exec(t, da, table)
	b.Exec(t, db, table)
	latin, err := a.open(t.Context(), "latin")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = latin.Close(t.Context()) }()
	MustEqual(t, latin, b.Connect(t, db))
	MustEqual(t, a.Connect(t, da), b.Connect(t, db))
	b.Exec(t, db, "UPDATE t SET a = 'grun' WHERE a = 'grün'")
	got, err := Diff(t.Context(), latin, b.Connect(t, db), nil)
	if err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDiffSequences(t *testing.T) {
	t.Parallel()
	ca, cb := SharedPair(t)
	da, db := ca.Database(t), cb.Database(t)
	const sequences = `CREATE SEQUENCE up; SELECT setval('up', 5); CREATE SEQUENCE down INCREMENT -1; SELECT setval('down', -5);`
	ca.Exec(t, da, sequences+"CREATE SEQUENCE lost")
	cb.Exec(t, db, sequences)
	a, b := ca.Connect(t, da), cb.Connect(t, db)
	check := func(margin int64, want ...string) {
		t.Helper()
		got, err := DiffSequences(t.Context(), a, b, margin)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("want differences in %v, got %s", want, strings.Join(got, "\n"))
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("want a difference in %s, got %s", want[i], got[i])
			}
		}
	}
	check(0, "public.lost: missing in b")
	cb.Exec(t, db, "CREATE SEQUENCE lost; SELECT setval('up', 105), setval('down', -105)")
	check(0, "public.down", "public.up")
	cb.Exec(t, db, "SELECT setval('lost', 101)")
	check(100)
}
