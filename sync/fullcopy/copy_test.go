package fullcopy_test

import (
	"fmt"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

const shop = `
CREATE SCHEMA "We ird";
CREATE TYPE "We ird".mood AS ENUM ('sad', 'ok', 'it''s "fine"');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i * 2';
CREATE TABLE customers (
	id bigint GENERATED ALWAYS AS IDENTITY (START 100) PRIMARY KEY,
	name text NOT NULL, email varchar(80) UNIQUE, born date, seen timestamptz, gone text, mood "We ird".mood,
	CONSTRAINT named CHECK (name <> ''));
ALTER TABLE customers DROP COLUMN gone;
CREATE TABLE "We ird"."Ta.b""le" (
	"Key" serial PRIMARY KEY, n numeric, f8 float8, f4 float4, b bytea, j jsonb, js json, x xml, a int[], ta text[], ma "We ird".mood[],
	p pair, r int4range, mr int4multirange, u uuid, i inet, c cidr, m macaddr, iv interval, t time, tz timetz, ts timestamp, bits bit varying,
	mo money, g point, pg polygon, tsv tsvector, tsq tsquery, o oid, rc regclass, d posint, ch "char", bo bool, l pg_lsn,
	doubled int GENERATED ALWAYS AS (twice(d)) STORED);
CREATE TABLE orders (id int PRIMARY KEY, customer bigint REFERENCES customers ON DELETE CASCADE, total numeric(10,2) DEFAULT 0);
CREATE INDEX ON orders (customer) WHERE total > 10;
CREATE INDEX lower_name ON customers (lower(name));
CREATE TABLE empty ();
CREATE TABLE parent (id int, note text);
CREATE TABLE child (extra int) INHERITS (parent);
CREATE UNLOGGED TABLE volatile (id int);
CREATE VIEW rich AS SELECT c.name, sum(o.total) AS total FROM customers c JOIN orders o ON o.customer = c.id GROUP BY 1;
CREATE MATERIALIZED VIEW summary AS SELECT * FROM rich;
CREATE UNIQUE INDEX ON summary (name);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO volatile VALUES (NEW.id); RETURN NEW; END';
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
COMMENT ON TABLE customers IS 'who pays';
CREATE STATISTICS st ON born, mood FROM customers;

INSERT INTO customers (name, email, born, seen, mood)
	SELECT 'n' || i, CASE WHEN i % 7 > 0 THEN i || '@x' END, date '2000-01-01' + i, now(), (ARRAY['sad','ok','it''s "fine"'])[i % 3 + 1]::"We ird".mood
	  FROM generate_series(1, 3000) i;
INSERT INTO customers (name, born, seen) VALUES ('bc', '4713-01-01 BC', 'infinity'), ('far', 'infinity', '-infinity'), (E'tab\t\\N\n', '5874897-12-31', NULL);
INSERT INTO orders SELECT i, 100 + i % 3000, i / 7.0 FROM generate_series(1, 5000) i;
INSERT INTO "We ird"."Ta.b""le" (n, f8, f4, b, j, js, x, a, ta, ma, p, r, mr, u, i, c, m, iv, t, tz, ts, bits, mo, g, pg, tsv, tsq, o, rc, d, ch, bo, l)
VALUES ('NaN', 'NaN', '-0', '\x00ff', '{"a": [1, null]}', ' { "a" :1 , "a":2}', '<a>ü</a>', '{{1,2},{3,NULL}}', '{"a,b","\"",NULL,""}', '{sad,ok}',
	ROW(1, 'x"y'), 'empty', '{[1,3),[5,)}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '1 mon -1 day 00:00:01.5',
	'24:00:00', '24:00:00+15:59', '294276-12-31 23:59:59.999999', B'101', '-12.34', '(1e300,-1e-300)', '((0,0),(1,1),(2,0))', 'a:1A b', 'a & b', 4294967295,
	'customers', 7, 'x', true, '16/B374D848'),
	('1e131071', 'infinity', '1e-45', '', 'null', 'null', NULL, '{}', '{}', '{}', NULL, '(,)', '{}', NULL, NULL, NULL, NULL, '-178000000 years', '00:00', NULL,
	'4713-01-01 BC', '', 0, NULL, NULL, '', '', 0, NULL, 1, '', NULL, '0/0');
INSERT INTO empty SELECT FROM generate_series(1, 3);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c', 3);
REFRESH MATERIALIZED VIEW summary;
SELECT setval('"We ird"."Ta.b""le_Key_seq"', 77);
`

func TestEverything(t *testing.T) {
	t.Parallel()
	for _, format := range []fullcopy.Format{fullcopy.FormatAuto, fullcopy.FormatText} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			w := setup(t, shop)
			w.incremental()
			w.cfg.Format = format
			w.cfg.SplitAbove, w.cfg.Workers = 64<<10, 8
			result := w.run(t)
			testenv.MustEqual(t, w.src, w.dst)
			if result.HighestLSN == 0 {
				t.Error("no position")
			}
			equal(t, "position of the slot", value[string](t, w.dst, "SELECT lsn::text FROM pgsyncd.progress"), result.HighestLSN.String())
			equal(t, "matview", value[int](t, w.dst, "SELECT count(*) FROM summary"), value[int](t, w.src, "SELECT count(*) FROM summary"))
			equal(t, "trigger did not fire", value[int](t, w.dst, "SELECT count(*) FROM volatile"), 5000)
			for _, sequence := range []string{"customers_id_seq", `"We ird"."Ta.b""le_Key_seq"`} {
				sql := "SELECT last_value || ' ' || is_called FROM " + sequence
				equal(t, sequence, value[string](t, w.dst, sql), value[string](t, w.src, sql))
			}
			for _, what := range []string{
				`SELECT string_agg(c.oid::regclass || ' ' || c.relkind::text, E'\n' ORDER BY c.oid::regclass::text) FROM pg_class c
				   WHERE c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'pgsyncd')`,
				`SELECT string_agg(pg_get_indexdef(indexrelid) || indisvalid::text, E'\n' ORDER BY indexrelid::regclass::text) FROM pg_index
				   WHERE indrelid::regclass::text !~ '^pg_|pgsyncd'`,
				`SELECT string_agg(conrelid::regclass || pg_get_constraintdef(oid) || convalidated::text, E'\n' ORDER BY conrelid::regclass::text, conname)
				   FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'We ird')`,
				`SELECT obj_description('customers'::regclass)`,
				`SELECT string_agg(tgname, ',') FROM pg_trigger WHERE NOT tgisinternal`,
			} {
				equal(t, what, value[string](t, w.dst, what), value[string](t, w.src, what))
			}
			if n := value[int](t, w.dst, `SELECT count(*) FROM pg_stats WHERE tablename = 'customers'`); n == 0 {
				t.Error("customers was not analyzed")
			}
			p := w.report.table("customers")
			equal(t, "rows reported", p.RowsCopied, int64(3003))
			equal(t, "state reported", p.State, fullcopy.TableDone)
			published := `SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables WHERE pubname = $1`
			equal(t, "published", value[string](t, w.src, published, w.cfg.Publication), `Ta.b"le child customers empty orders parent`)
		})
	}
}

// A finished copy is not done again: rows that the destination has got since stay.
func TestRunAgain(t *testing.T) {
	t.Parallel()
	w := setup(t, shop)
	w.incremental()
	first := w.run(t)
	exec(t, w.dst, "DELETE FROM orders WHERE id = 1")
	second := w.run(t)
	equal(t, "position", second, first)
	equal(t, "orders", value[int](t, w.dst, "SELECT count(*) FROM orders"), 4999)
}

func TestNothingToCopy(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
	w.incremental()
	w.run(t)
	equal(t, "function", value[int](t, w.dst, "SELECT f()"), 1)
	equal(t, "publication", value[int](t, w.src, "SELECT count(*) FROM pg_publication WHERE pubname = $1", w.cfg.Publication), 1)
}

func TestSelectedTables(t *testing.T) {
	t.Parallel()
	w := setup(t, shop)
	w.incremental()
	w.cfg.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "parent"}, {Schema: "public", Name: "child"}}}
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst, "public.parent", "public.child")
	equal(t, "tables", value[int](t, w.dst, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 2)
}

const tree = `
CREATE TABLE events (id bigint, at date, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_2021 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY HASH (id);
CREATE TABLE events_2021_a PARTITION OF events_2021 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_2021_b PARTITION OF events_2021 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE "events rest" PARTITION OF events DEFAULT;
CREATE INDEX ON events (note);
CREATE TABLE nothing (id int) PARTITION BY LIST (id);
INSERT INTO events SELECT i, date '2019-06-01' + i % 1500, repeat('x', 100) FROM generate_series(1, 20000) i;
`

func TestPartitions(t *testing.T) {
	t.Parallel()
	for _, existing := range []fullcopy.Existing{fullcopy.ExistingFail, fullcopy.ExistingAppend} {
		t.Run(string(existing), func(t *testing.T) {
			t.Parallel()
			w := setup(t, tree)
			w.incremental()
			w.cfg.SplitAbove = 200 << 10
			w.cfg.ExistingObjects = existing
			w.run(t)
			testenv.MustEqual(t, w.src, w.dst)
			equal(t, "valid indexes", value[int](t, w.dst, "SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid::regclass::text ~ 'events'"), 12)
			for _, leaf := range []string{"events_2020", "events_2021_a", "events_2021_b", `"events rest"`} {
				sql := "SELECT count(*) FROM ONLY " + leaf
				equal(t, leaf, value[int](t, w.dst, sql), value[int](t, w.src, sql))
			}
			equal(t, "units", value[string](t, w.dst, `SELECT string_agg(unit, ' ' ORDER BY unit COLLATE "C") FROM pgsyncd.copied`),
				`"public"."events rest" "public"."events" "public"."events_2020" "public"."events_2021_a" "public"."events_2021_b" "public"."nothing" `+
					`INTO "public"."events" INTO "public"."nothing"`)
			equal(t, "published", value[string](t, w.src, `SELECT string_agg(prrelid::regclass::text, ' ' ORDER BY prrelid::regclass::text) FROM pg_publication_rel
				WHERE prpubid = (SELECT oid FROM pg_publication WHERE pubname = $1)`, w.cfg.Publication), "events nothing")
		})
	}
}

// A destination that has the table already may divide it in its own way.
func TestPartitionLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, ddl string }{
		{"unpartitioned", "CREATE TABLE events (note text, id bigint, at date)"},
		{"otherwise", `CREATE TABLE events (id bigint, at date, note text, PRIMARY KEY (id)) PARTITION BY HASH (id);
			CREATE TABLE h0 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
			CREATE TABLE h1 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1)`},
		{"one leaf alike", `CREATE TABLE events (id bigint, at date, note text) PARTITION BY RANGE (at);
			CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
			CREATE TABLE others PARTITION OF events DEFAULT`},
	} {
		for _, split := range []int64{0, 200 << 10} {
			t.Run(fmt.Sprint(c.name, split), func(t *testing.T) {
				t.Parallel()
				w := setup(t, tree)
				w.incremental()
				w.cfg.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "events"}}}
				w.cfg.SplitAbove, w.cfg.ExistingObjects = split, fullcopy.ExistingUse
				w.destination.Exec(t, w.to, c.ddl)
				w.run(t)
				testenv.MustEqual(t, w.src, w.dst, "public.events")
				equal(t, "leaves", value[int](t, w.dst, "SELECT count(*) FROM pg_class WHERE relname ~ 'events.*[ab]$'"), 0)
				w.run(t)
			})
		}
	}
}

// Of a tree a task may select a branch.
func TestPartitionBranch(t *testing.T) {
	t.Parallel()
	w := setup(t, tree)
	w.incremental()
	w.cfg.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "events_2021"}}}
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst, "public.events_2021")
	equal(t, "units", value[string](t, w.dst, "SELECT string_agg(unit, ' ' ORDER BY unit) FROM pgsyncd.copied"),
		`"public"."events_2021" "public"."events_2021_a" "public"."events_2021_b" INTO "public"."events_2021"`)
}
