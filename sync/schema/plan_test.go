package schema_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// n makes a Name of "schema.name".
func n(text string) schema.Name {
	s, name, _ := strings.Cut(text, ".")
	return schema.Name{Schema: s, Name: name}
}

func excluded(list []schema.Excluded) []string {
	var lines []string
	for _, x := range list {
		lines = append(lines, x.Kind+" "+x.Name.Schema+"."+x.Name.Name+": "+x.Reason)
	}
	slices.Sort(lines)
	return lines
}

// excludedWithoutSession hides the number in the name of a session's schema of temporary tables.
func excludedWithoutSession(list []schema.Excluded) []string {
	lines := excluded(list)
	for i := range lines {
		lines[i] = regexp.MustCompile(`pg_temp_\d+`).ReplaceAllString(lines[i], "pg_temp")
	}
	return lines
}

func keys(list []schema.Entry) []string {
	var lines []string
	for _, e := range list {
		lines = append(lines, e.Key())
	}
	return lines
}

func TestExcludedObjects(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "excluded.sql"))
	src.exec(t, "CREATE TEMPORARY TABLE fleeting (a int)")
	src.exec(t, "SET allow_in_place_tablespaces = on")
	src.exec(t, "CREATE TABLESPACE schema_space LOCATION ''")
	src.exec(t, "CREATE TABLE app.in_space (a int) TABLESPACE schema_space")
	inv := src.read(t, schema.Selection{All: true})
	if diff := cmp.Diff([]string{
		"CAST .CAST (app.raw AS integer): binary-coercible casts are not synchronized",
		"FOREIGN DATA WRAPPER .wrapper: foreign-data wrappers are not synchronized",
		"FOREIGN TABLE app.far_away: foreign tables are not synchronized",
		"FUNCTION app.helped(integer): functions with a planner support function are not synchronized",
		"FUNCTION app.plus(integer, integer): written in C",
		"FUNCTION app.raw_in(cstring): written in C",
		"FUNCTION app.raw_out(app.raw): written in C",
		"FUNCTION app.tight(integer): leakproof functions are not synchronized",
		"PUBLICATION .news: publications are not synchronized",
		"SCHEMA .dbms_lock: schema \"dbms_lock\" is not synchronized",
		"SCHEMA .sys: schema \"sys\" is not synchronized",
		"SERVER .far: foreign servers are not synchronized",
		"SUBSCRIPTION .feed: subscriptions are not synchronized",
		"TABLE app.member: member of extension \"hstore\"",
		"TABLE dbms_lock.l: schema \"dbms_lock\" is not synchronized",
		"TABLE pg_temp.fleeting: temporary tables are not synchronized",
		"TABLE sys.t: schema \"sys\" is not synchronized",
		"TABLESPACE .schema_space: tablespaces are not synchronized: what is in them goes to the default one of the destination",
		"TYPE app.raw: base types are not synchronized",
		"USER MAPPING .public SERVER far: user mappings are not synchronized",
	}, excludedWithoutSession(inv.Excluded)); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}

	archive, plan := src.plan(t, schema.Selection{All: true}, schema.PlanOptions{Indexes: true})
	got := strings.Join(excluded(plan.Excluded), "\n")
	for _, want := range []string{
		"TABLE app.uses_raw: depends on TYPE \"app\".\"raw\": base types are not synchronized",
		"VIEW app.over_raw: depends on TABLE \"app\".\"uses_raw\": depends on TYPE",
		"VIEW app.over_far: depends on FOREIGN TABLE",
		"OPERATOR app.#+# (integer, integer): depends on FUNCTION",
		"SCHEMA .dbms_lock", "TABLE sys.t", "PUBLICATION .news", "SUBSCRIPTION .feed", "CAST .CAST", "USER MAPPING .",
		"FOREIGN DATA WRAPPER .wrapper", "SERVER .far", "FOREIGN TABLE app.far_away",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("plan does not say %q; it says\n%s", want, got)
		}
	}
	if strings.Contains(got, "pgsyncd") {
		t.Errorf("pgsyncd's own objects are reported:\n%s", got)
	}
	if reason, ok := plan.Excludes(n("app.uses_raw")); !ok || reason == "" {
		t.Error("app.uses_raw is not excluded")
	}
	dst := newDatabase(t, destinationCluster, "")
	dst.build(t, archive, plan)
	var tables []string
	for _, table := range dst.read(t, schema.Selection{All: true}).Tables {
		tables = append(tables, table.Name.String())
	}
	if diff := cmp.Diff([]string{`"app"."in_space"`, `"app"."plain"`}, tables); diff != "" {
		t.Errorf("destination's tables (-want +got):\n%s", diff)
	}
}

func TestTableLevel(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "rich.sql"))
	dst := newDatabase(t, destinationCluster, "")
	sel := schema.Selection{Tables: []schema.Name{
		n("shop.orders"), n("shop.base"), n("shop.identified"), n("shop.referencing"), n("shop.referenced"),
		{Schema: `We ird.Ünïcode $"x"`, Name: `tab"le.x y`},
	}}
	archive, plan := src.plan(t, sel, schema.PlanOptions{Indexes: true})
	dst.build(t, archive, plan)
	if diff := cmp.Diff([]string{
		"FK CONSTRAINT shop.orders orders_customer_id_fkey: the referenced table \"shop\".\"customers\" is not selected",
		"TRIGGER shop.base late: triggers are not part of a table-level task",
		"TRIGGER shop.orders on_parts: triggers are not part of a table-level task",
		"TRIGGER shop.orders_old on_parts: triggers are not part of a table-level task",
	}, excluded(plan.Excluded)); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	tables := []string{
		"shop.orders", "shop.orders_old", "archive.orders_new", `archive."orders new 1"`, "archive.orders_rest",
		"shop.base", "shop.identified", "shop.referencing", "shop.referenced", `"We ird.Ünïcode $""x"""."tab""le.x y"`,
	}
	var args []string
	for _, table := range tables {
		args = append(args, "--table="+table)
	}
	// The source has what the plan leaves out on purpose.
	src.exec(t, `DROP TRIGGER late ON shop.base; DROP TRIGGER on_parts ON shop.orders;
		ALTER TABLE shop.orders DROP CONSTRAINT orders_customer_id_fkey`)
	if diff := cmp.Diff(src.plainDump(t, args...), dst.plainDump(t, args...)); diff != "" {
		t.Errorf("structure differs (-source +destination):\n%s", diff)
	}
	for _, s := range plan.Sequences {
		if s != n("shop.orders_id_seq") {
			t.Errorf("sequence %s", s)
		}
	}
	if len(plan.Sequences) != 1 {
		t.Errorf("sequences: %v", plan.Sequences)
	}
	// A second run where the schemas exist.
	dst.exec(t, plan.Before[0].Definition)
	if plan.Before[0].Desc != "SCHEMA" {
		t.Errorf("the plan begins with %s", plan.Before[0].Key())
	}
}

// The same selection from a dump of only its tables gives the same plan.
func TestTableLevelRestrictedDump(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), testSQL(t, "rich.sql"))
	sel := schema.Selection{Tables: []schema.Name{n("shop.orders"), n("shop.customers"), {Schema: `We ird.Ünïcode $"x"`, Name: `tab"le.x y`}}}
	inv := src.read(t, sel)
	var tables []schema.Name
	for _, table := range inv.Tables {
		tables = append(tables, table.Name)
	}
	whole, err := src.dump(t).Plan(inv, sel, schema.PlanOptions{Indexes: true})
	if err != nil {
		t.Fatal(err)
	}
	restricted, err := src.dump(t, tables...).Plan(inv, sel, schema.PlanOptions{Indexes: true})
	if err != nil {
		t.Fatal(err)
	}
	// The statistics are made from the catalogs then, and their comments are lost.
	const comment = `COMMENT "shop"."STATISTICS ""name_mood"""`
	whole.After = slices.DeleteFunc(whole.After, func(e schema.Entry) bool { return e.Key() == comment })
	byKey := func(a, b schema.Entry) int { return strings.Compare(a.Key(), b.Key()) }
	slices.SortFunc(whole.After, byKey)
	slices.SortFunc(restricted.After, byKey)
	for _, lists := range [][2][]schema.Entry{
		{whole.Before, restricted.Before},
		{whole.Indexes, restricted.Indexes},
		{whole.Constraints, restricted.Constraints},
		{whole.After, restricted.After},
	} {
		if diff := cmp.Diff(keys(lists[0]), keys(lists[1])); diff != "" {
			t.Errorf("plans differ (-whole +restricted):\n%s", diff)
		}
	}
	if len(whole.Indexes) == 0 || len(whole.Constraints) == 0 {
		t.Error("nothing to compare")
	}
}

func TestPartitionWithoutItsRoot(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), testSQL(t, "rich.sql"))
	src.exec(t, "ALTER TABLE shop.orders ADD CONSTRAINT positive CHECK (amount > 0)")
	sel := schema.Selection{Tables: []schema.Name{n("shop.orders_old"), n("shop.customers")}}
	_, plan := src.plan(t, sel, schema.PlanOptions{Indexes: true})
	got := strings.Join(shown(plan.Excluded), "\n")
	for _, want := range []string{
		`TABLE ATTACH "shop"."orders_old": its partitioned table "shop"."orders" is not selected`,
		`FK CONSTRAINT "orders_parent_parent_at_fkey" ON "shop"."orders_old": the referenced table "shop"."orders" is not selected`,
		`TRIGGER "on_parts" ON "shop"."orders_old": triggers are not part of a table-level task`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("excluded does not have %s but\n%s", want, got)
		}
	}
	if lines := keys(plan.After); !slices.Contains(lines, `FK CONSTRAINT "shop"."orders_old orders_customer_id_fkey"`) {
		t.Errorf("the foreign key to customers is not planned: %q", lines)
	}
}

// A schema that has a partition of a table in another one.
func TestPartitionInAnotherSchema(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, `
CREATE SCHEMA a; CREATE SCHEMA b;
CREATE TABLE b.customers (id int PRIMARY KEY);
CREATE FUNCTION b.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TABLE a.orders (id int, customer int NOT NULL REFERENCES b.customers ON DELETE CASCADE DEFERRABLE, day date, amount int CHECK (amount > 0), PRIMARY KEY (id, day))
	PARTITION BY RANGE (day);
CREATE TABLE b.orders_1 PARTITION OF a.orders DEFAULT;
CREATE INDEX by_customer ON a.orders (customer);
CREATE TRIGGER touch BEFORE UPDATE OF amount ON a.orders FOR EACH ROW WHEN (new.amount > 1) EXECUTE FUNCTION b.touch('x');
CREATE TRIGGER off AFTER INSERT ON a.orders FOR EACH ROW EXECUTE FUNCTION b.touch();
ALTER TABLE b.orders_1 DISABLE TRIGGER off;`)
	dst := newDatabase(t, destinationCluster, "")
	archive, plan := src.planRestricted(t, schema.Selection{Schemas: []string{"b"}})
	if diff := cmp.Diff([]string{`TABLE ATTACH "b"."orders_1": its partitioned table "a"."orders" is not selected`}, shown(plan.Excluded)); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	dst.build(t, archive, plan)
	src.exec(t, "ALTER TABLE a.orders DETACH PARTITION b.orders_1; DROP SCHEMA a CASCADE")
	const state = `
		SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'b.orders_1'::regclass
		UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'b.orders_1'::regclass
		UNION ALL SELECT 'column ' || attname || ' ' || attnotnull FROM pg_attribute WHERE attrelid = 'b.orders_1'::regclass AND attnum > 0`
	if diff := cmp.Diff(src.strings(t, state), dst.strings(t, state)); diff != "" {
		t.Errorf("the partition differs (-source +destination):\n%s", diff)
	}
	// The source's own went with the partitioned table.
	if diff := cmp.Diff([]string{
		"D CREATE TRIGGER off AFTER INSERT ON b.orders_1 FOR EACH ROW EXECUTE FUNCTION b.touch()",
		"O CREATE TRIGGER touch BEFORE UPDATE OF amount ON b.orders_1 FOR EACH ROW WHEN ((new.amount > 1)) EXECUTE FUNCTION b.touch('x')",
	}, dst.strings(t, "SELECT tgenabled::text || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'b.orders_1'::regclass AND NOT tgisinternal")); diff != "" {
		t.Errorf("triggers (-want +got):\n%s", diff)
	}
}

func TestWithoutIndexes(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "rich.sql"))
	dst := newDatabase(t, destinationCluster, "")
	archive, plan := src.plan(t, schema.Selection{All: true}, schema.PlanOptions{})
	dst.build(t, archive, plan)
	if diff := cmp.Diff([]string{`INDEX "shop"."identified_by"`, `INDEX "shop"."referenced_by"`}, keys(plan.Indexes)); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	want := src.read(t, schema.Selection{All: true})
	got := dst.read(t, schema.Selection{All: true})
	for _, table := range want.Tables {
		if diff := cmp.Diff(table.Key, got.Table(table.Name).Key); diff != "" {
			t.Errorf("key of %s (-want +got):\n%s", table.Name, diff)
		}
	}
}

func TestSchemaPublic(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, `CREATE TABLE public.t (a int);
		COMMENT ON SCHEMA public IS 'changed'; GRANT ALL ON SCHEMA public TO PUBLIC`)
	archive, plan := src.plan(t, schema.Selection{All: true}, schema.PlanOptions{Indexes: true})
	newDatabase(t, destinationCluster, "").build(t, archive, plan)
	newDatabase(t, destinationCluster, "DROP SCHEMA public").build(t, archive, plan)
}

func TestDumpUnderSnapshot(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), "CREATE TABLE public.before (a int)")
	other := src.cluster.Connect(t, src.db)
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
		t.Fatal(err)
	}
	var snapshot string
	if err := tx.QueryRow(t.Context(), "SELECT pg_export_snapshot()").Scan(&snapshot); err != nil {
		t.Fatal(err)
	}
	src.exec(t, "CREATE TABLE public.after (a int)")
	a, err := schema.Dump(t.Context(), schema.DumpConfig{
		Endpoint: src.endpoint, PgDump: src.pgDump(t), Snapshot: snapshot, WorkDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(keys(a.Entries), "\n")
	if !strings.Contains(got, `TABLE "public"."before"`) || strings.Contains(got, `"after"`) {
		t.Errorf("dump under the snapshot has\n%s", got)
	}
	// An inventory with a table that the dump does not know.
	if _, err := a.Plan(src.read(t, schema.Selection{All: true}), schema.Selection{All: true}, schema.PlanOptions{}); err == nil {
		t.Error("a table that is not in the dump went unnoticed")
	}
}

func TestDumpFails(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), "")
	dir := t.TempDir()
	cfg := schema.DumpConfig{Endpoint: src.endpoint.WithDatabase("no such database"), PgDump: src.pgDump(t), WorkDir: dir}
	if _, err := schema.Dump(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), `"no such database" does not exist`) {
		t.Errorf("error %v does not name its cause", err)
	}
	cfg = schema.DumpConfig{Endpoint: src.endpoint, PgDump: "/bin/echo", WorkDir: dir}
	var malformed *schema.ArchiveError
	if _, err := schema.Dump(t.Context(), cfg); !errors.As(err, &malformed) {
		t.Errorf("output that is no archive: %v", err)
	}
	cfg.PgDump = "/no/such/program"
	if _, err := schema.Dump(t.Context(), cfg); err == nil {
		t.Error("a missing program went unnoticed")
	}
}
