package fullcopy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

func public(name string) schema.Name { return schema.Name{Schema: "public", Name: name} }

// rowsOf are the rows of a query as text, in an order that is the same everywhere.
func rowsOf(t *testing.T, conn *pgx.Conn, sql string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT q::text FROM (`+sql+`) q`)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	slices.Sort(list)
	return list
}

// sameRows compares what two queries return, as multisets: one of the source, one of the destination.
func (w *world) sameRows(t *testing.T, source, destination string) {
	t.Helper()
	equal(t, destination, rowsOf(t, w.dst, destination), rowsOf(t, w.src, source))
}

func (w *world) units(t *testing.T) string {
	t.Helper()
	return value[string](t, w.dst, `SELECT string_agg(unit, ' ' ORDER BY unit COLLATE "C") FROM pgsyncd.copied`)
}

// Rows go to a table of another name, only those of the filter and only the columns that were asked for, under other names.
// What the destination has beyond them keeps its default.
func TestMappedInto(t *testing.T) {
	t.Parallel()
	for _, split := range []int64{0, 64 << 10} {
		w := setup(t, `CREATE SCHEMA "From"; CREATE TABLE "From"."or ders" (gone int, "Id" bigint PRIMARY KEY, total numeric, note text, secret text,
				twice numeric GENERATED ALWAYS AS (total * 2) STORED, at timestamptz DEFAULT now());
			ALTER TABLE "From"."or ders" DROP COLUMN gone;
			INSERT INTO "From"."or ders" SELECT i, i / 3.0, repeat('x', 50), 'secret' FROM generate_series(1, 10000) i`)
		w.incremental()
		w.cfg.SplitAbove, w.cfg.Workers, w.cfg.ExistingObjects = split, 4, fullcopy.ExistingUse
		from, to := schema.Name{Schema: "From", Name: "or ders"}, schema.Name{Schema: "In.to", Name: `or"ders`}
		w.cfg.Selection = schema.Selection{
			Tables: []schema.Name{from}, Map: schema.Mapping{Relations: []schema.RelationMap{{From: from, To: to}}},
			Rules: []schema.TableRule{{
				Table: from, Where: `"or ders"."Id" % 3 = 0 AND "Id" > 10 -- not the first ones`,
				Columns: []schema.ColumnRule{{Name: "Id", As: "id"}, {Name: "total", As: `to"tal`}, {Name: "note"}, {Name: "twice"}},
			}},
		}
		exec(t, w.dst, `CREATE SCHEMA "In.to"`)
		exec(t, w.dst, `CREATE TABLE "In.to"."or""ders" (note text, id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "to""tal" numeric, more int DEFAULT 7,
			secret text DEFAULT 'none', twice numeric GENERATED ALWAYS AS ("to""tal" * 2) STORED)`)
		result := w.run(t)
		w.sameRows(t, `SELECT "Id", total, note, 7, 'none', twice FROM "From"."or ders" WHERE "Id" % 3 = 0 AND "Id" > 10`,
			`SELECT id, "to""tal", note, more, secret, twice FROM "In.to"."or""ders"`)
		equal(t, "units", w.units(t), `"From"."or ders" INTO "In.to"."or""ders"`)
		p := w.report.tables[from]
		equal(t, "destination reported", p.Destination, to)
		equal(t, "rows reported", p.RowsCopied, value[int64](t, w.dst, `SELECT count(*) FROM "In.to"."or""ders"`))
		exec(t, w.dst, `DELETE FROM "In.to"."or""ders" WHERE id = 300`)
		equal(t, "position", w.run(t), result)
		equal(t, "a finished unit stays as it is", value[int](t, w.dst, `SELECT count(*) FROM "In.to"."or""ders" WHERE id = 300`), 0)
	}
}

// What the source refuses concerns its table alone, and the advice is about the source.
func TestFilterRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ filter, advice string }{
		{"nothing > 1", "Remove the cause in the source"},
		{"length(repeat('too large', 2000000000)) > id", "A row is too large"},
	} {
		w := setup(t, "CREATE TABLE a (id int); INSERT INTO a VALUES (1); CREATE TABLE b (id int); INSERT INTO b VALUES (1)")
		w.cfg.Selection.Rules = []schema.TableRule{{Table: public("a"), Where: c.filter}}
		_, err := fullcopy.Run(t.Context(), w.cfg)
		refused := tablesError(t, err)
		if refused.Failures[0].Table != public("a") || !strings.HasPrefix(refused.Hint(), c.advice) {
			t.Errorf("%s: got %v, %s", c.filter, err, refused.Hint())
		}
		testenv.MustEqual(t, w.src, w.dst, "public.b")
	}
}

// The rule of a partitioned table holds for its partitions, and the tree may have other names or none at all.
func TestMappedPartitions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, ddl string }{
		{"plain", `CREATE TABLE log.events (at date, note text, id bigint)`},
		{"one leaf alike", `CREATE TABLE log.events (id bigint, at date, note text) PARTITION BY RANGE (at);
			CREATE TABLE events_2020 PARTITION OF log.events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
			CREATE TABLE log.others PARTITION OF log.events DEFAULT`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, tree)
			w.incremental()
			w.cfg.ExistingObjects, w.cfg.SplitAbove = fullcopy.ExistingUse, 100<<10
			w.cfg.Selection = schema.Selection{
				Tables: []schema.Name{public("events")},
				Map:    schema.Mapping{Relations: []schema.RelationMap{{From: public("events"), To: schema.Name{Schema: "log", Name: "events"}}}},
				Rules:  []schema.TableRule{{Table: public("events"), Where: "id % 2 = 0"}},
			}
			w.destination.Exec(t, w.to, "CREATE SCHEMA log;"+c.ddl)
			w.run(t)
			w.sameRows(t, "SELECT id, at, note FROM events WHERE id % 2 = 0", "SELECT id, at, note FROM log.events")
			equal(t, "units", w.units(t), `"public"."events rest" "public"."events" "public"."events_2020" "public"."events_2021_a" "public"."events_2021_b" `+
				`INTO "log"."events"`)
		})
	}
}

// A plain table may go into one that is partitioned, and a table that others inherit from keeps its rows apart from theirs.
func TestMappedIntoPartitioned(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE flat AS SELECT i AS id, 'n' || i AS name FROM generate_series(1, 5000) i;
		CREATE TABLE parent (id int); CREATE TABLE child (more int) INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3)`)
	w.cfg.ExistingObjects, w.cfg.SplitAbove = fullcopy.ExistingUse, 20<<10
	w.cfg.Selection = schema.Selection{
		Tables: []schema.Name{public("flat"), public("parent"), public("child")},
		Map:    schema.Mapping{Schemas: []schema.SchemaMap{{From: "public", To: "other"}}},
	}
	w.destination.Exec(t, w.to, `CREATE SCHEMA other; CREATE TABLE other.flat (id int, name text) PARTITION BY HASH (id);
		CREATE TABLE other.flat0 PARTITION OF other.flat FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE other.flat1 PARTITION OF other.flat FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		CREATE TABLE other.parent (id int); CREATE TABLE other.child (more int) INHERITS (other.parent)`)
	w.run(t)
	w.sameRows(t, "SELECT * FROM flat", "SELECT * FROM other.flat")
	w.sameRows(t, "SELECT * FROM ONLY parent", "SELECT * FROM ONLY other.parent")
	w.sameRows(t, "SELECT * FROM child", "SELECT * FROM other.child")
}

// Structure and rows come under other names, and several schemas become one: tables that share a name are one table, with the
// structure of the first, and the sequence their columns draw from is ahead of all of them.
func TestSchemasIntoOne(t *testing.T) {
	t.Parallel()
	const shard = `CREATE SCHEMA %[1]s; CREATE TYPE %[1]s.mood AS ENUM ('sad', 'ok');
		CREATE TABLE %[1]s.customers (id int GENERATED ALWAYS AS IDENTITY (START %[2]d) PRIMARY KEY, name text NOT NULL, mood %[1]s.mood DEFAULT 'ok');
		CREATE TABLE %[1]s.orders (id serial PRIMARY KEY, customer int REFERENCES %[1]s.customers, note text);
		CREATE INDEX ON %[1]s.orders (customer); COMMENT ON TABLE %[1]s.orders IS 'what they bought';
		CREATE TABLE %[1]s.only_%[1]s AS SELECT i FROM generate_series(1, 10) i;
		SELECT setval('%[1]s.orders_id_seq', %[2]d);
		INSERT INTO %[1]s.customers (name) SELECT '%[1]s ' || i FROM generate_series(1, 500) i;
		INSERT INTO %[1]s.orders (customer, note) SELECT %[2]d + i %% 500, repeat('x', 200) FROM generate_series(1, 5000) i;
		CREATE VIEW %[1]s.many_%[1]s AS SELECT customer, count(*) FROM %[1]s.orders GROUP BY 1;
		CREATE MATERIALIZED VIEW %[1]s.kept_%[1]s AS SELECT * FROM %[1]s.orders WHERE id %% 2 = 0;
`
	w := setup(t, fmt.Sprintf(shard, "north", 1)+fmt.Sprintf(shard, "south", 100001))
	w.incremental()
	w.cfg.SplitAbove = 200 << 10
	w.cfg.Selection.Map.Schemas = []schema.SchemaMap{{From: "north", To: "One"}, {From: "south", To: "One"}}
	w.run(t)
	for _, table := range []string{"customers", "orders"} {
		w.sameRows(t, fmt.Sprintf("SELECT t::text FROM north.%[1]s t UNION ALL SELECT t::text FROM south.%[1]s t", table), fmt.Sprintf(`SELECT t::text FROM "One".%s t`, table))
	}
	for _, s := range []string{"north", "south"} {
		w.sameRows(t, "SELECT * FROM "+s+".only_"+s, `SELECT * FROM "One".only_`+s)
	}
	equal(t, "view", value[int](t, w.dst, `SELECT count(*) FROM "One".many_south`), 1000)
	equal(t, "materialized view", value[int](t, w.dst, `SELECT count(*) FROM "One".kept_north`), 5000)
	equal(t, "sequences", value[string](t, w.dst, `SELECT string_agg(sequencename || ' ' || last_value, ', ' ORDER BY sequencename) FROM pg_sequences WHERE schemaname = 'One'`),
		"customers_id_seq 100500, orders_id_seq 105001")
	equal(t, "schemas", value[int](t, w.dst, `SELECT count(*) FROM pg_namespace WHERE nspname IN ('north', 'south')`), 0)
	equal(t, "primary keys and foreign keys", value[string](t, w.dst, `SELECT string_agg(contype::text, '' ORDER BY contype) FROM pg_constraint WHERE connamespace = '"One"'::regnamespace`), "fpp")
	for _, p := range w.report.tables {
		equal(t, "state of "+p.Source.String(), p.State, fullcopy.TableDone)
		equal(t, "destination of "+p.Source.String(), p.Destination, schema.Name{Schema: "One", Name: p.Source.Name})
	}
	for _, o := range w.report.objects {
		if strings.Contains(o.Statement, "north.") || strings.Contains(o.Target, `south".`) {
			t.Errorf("%+v", o)
		}
	}
	w.run(t)
}

// A whole database under other names, cut off again and again: partition trees, inheritance, keys, generated columns.
func TestMappedResume(t *testing.T) {
	t.Parallel()
	w := setup(t, shop+tree)
	w.incremental()
	w.cfg.SplitAbove, w.cfg.Workers = 100<<10, 4
	w.cfg.Selection.Map = schema.Mapping{
		Schemas: []schema.SchemaMap{{From: "public", To: "Other"}, {From: "We ird", To: "public"}},
		Relations: []schema.RelationMap{
			{From: public("events"), To: schema.Name{Schema: "Other", Name: "log"}},
			{From: public("events_2020"), To: schema.Name{Schema: "public", Name: "log 2020"}},
			{From: public("child"), To: schema.Name{Schema: "Other", Name: "parent's"}},
		},
	}
	w.cfg.Selection.Rules = []schema.TableRule{{Table: public("events"), Where: "id % 3 <> 0"}}
	// The name of a table as a value is none of those that are translated.
	w.source.Exec(t, w.from, `ALTER TABLE events REPLICA IDENTITY FULL; UPDATE "We ird"."Ta.b""le" SET rc = NULL`)
	source, destination := w.through(t)
	for i, n := range []int{50, 200, 900, 3000, 9000} {
		[]*testenv.Proxy{source, destination}[i%2].CutAfter(func(testenv.Direction, byte, []byte) bool { n--; return n < 0 })
		if _, err := fullcopy.Run(t.Context(), w.cfg); err == nil {
			break
		}
		source.ClearRules()
		destination.ClearRules()
	}
	source.ClearRules()
	destination.ClearRules()
	w.run(t)
	for from, to := range map[string]string{
		"customers": `"Other".customers`, "orders": `"Other".orders`, "parent": `"Other".parent`, "ONLY parent": `ONLY "Other".parent`, "child": `"Other"."parent's"`,
		"empty": `"Other".empty`, "volatile": `"Other".volatile`, "summary": `"Other".summary`, `"We ird"."Ta.b""le"`: `public."Ta.b""le"`,
	} {
		w.sameRows(t, "SELECT * FROM "+from, "SELECT * FROM "+to)
	}
	for from, to := range map[string]string{"events": `"Other".log`, "events_2020": `public."log 2020"`, "events_2021_a": `"Other".events_2021_a`} {
		w.sameRows(t, "SELECT * FROM "+from+" WHERE id % 3 <> 0", "SELECT * FROM "+to)
	}
	equal(t, "valid indexes", value[int](t, w.dst, "SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid::regclass::text ~ 'log|events'"), 12)
	equal(t, "nothing under its old name", value[int](t, w.dst, `SELECT count(*) FROM pg_namespace WHERE nspname = 'We ird'`), 0)
}

// Trap 30 under other names: two sources into one table, the second of them cut off in the middle. Its claim and what it has
// finished are the destination's name, so each task knows of the other.
func TestAppendMapped(t *testing.T) {
	t.Parallel()
	one := schema.Name{Schema: "all", Name: "t"}
	var tasks []*world
	first := setup(t, "")
	for i, name := range []string{"first", "second"} {
		w := *first
		w.from, w.report = w.source.Database(t), &report{}
		w.source.Exec(t, w.from, fmt.Sprintf(`CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.t (id int PRIMARY KEY, t text);
			INSERT INTO %[1]s.t SELECT i, '%[1]s' FROM generate_series(%[2]d, %[2]d + 19999) i`, name, 15000*i))
		w.cfg.Task, w.cfg.Report, w.cfg.Source = newTask(), w.report, parse(t, w.source.ConnString(w.from))
		w.cfg.Selection = schema.Selection{
			Schemas: []string{name}, Map: schema.Mapping{Relations: []schema.RelationMap{{From: schema.Name{Schema: name, Name: "t"}, To: one}}},
		}
		w.incremental()
		tasks = append(tasks, &w)
	}
	tasks[0].run(t)
	second := tasks[1]
	_, err := fullcopy.Run(t.Context(), second.cfg)
	equal(t, "an existing table is a failure", objectsError(t, err).Failures[0].Type, "TABLE")
	erase(t, second, second.cfg.Task)
	second.cfg.Task, second.cfg.ExistingObjects = newTask(), fullcopy.ExistingAppend
	exec(t, second.source.Connect(t, second.from), "SELECT pg_drop_replication_slot($1)", second.cfg.Slot)
	second.incremental()
	_, destination := second.through(t)
	n := 0
	cut := destination.CutAfter(func(d testenv.Direction, kind byte, _ []byte) bool {
		if d == testenv.ToTarget && kind == 'd' {
			n++
		}
		return n == 15000
	})
	_, err = fullcopy.Run(t.Context(), second.cfg)
	wasCut(t, cut, err)
	equal(t, "rows after the cut", value[int](t, first.dst, `SELECT count(*) FROM "all".t WHERE t = 'first'`), 20000)
	second.run(t)
	equal(t, "rows", value[string](t, first.dst, `SELECT count(*) FILTER (WHERE t = 'first') || ' ' || count(*) FROM "all".t`), "20000 35000")
	equal(t, "ignored", second.report.tables[schema.Name{Schema: "second", Name: "t"}].RowsIgnored, int64(5000))
	equal(t, "units", value[string](t, first.dst, `SELECT string_agg(unit, ' ' ORDER BY unit COLLATE "C") FROM pgsyncd.copied`),
		`"first"."t" "second"."t" INTO "all"."t" INTO "all"."t"`)
}
