package schema_test

import (
	"slices"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// omittedSQL is what PostgreSQL 9.5 already has.
const omittedSQL = `
CREATE SCHEMA a; CREATE SCHEMA b;
CREATE TABLE a.other (id int PRIMARY KEY);
CREATE SEQUENCE b.seq;
CREATE FUNCTION a.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TABLE a.t (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'x', gone int DEFAULT 7 CHECK (gone > 0), kept int DEFAULT nextval('b.seq'),
	other int REFERENCES a.other, late serial, plain text CONSTRAINT plain_check CHECK (plain <> ''),
	CONSTRAINT two_of CHECK (gone < kept), CONSTRAINT pair UNIQUE (gone, kept), UNIQUE (kept, name), EXCLUDE USING gist (int4range(gone, kept) WITH &&));
COMMENT ON COLUMN a.t.gone IS 'goes'; COMMENT ON COLUMN a.t.name IS 'stays'; COMMENT ON CONSTRAINT two_of ON a.t IS 'goes'; COMMENT ON CONSTRAINT plain_check ON a.t IS 'stays';
ALTER TABLE a.t ALTER gone SET STATISTICS 5, ALTER name SET STATISTICS 6, ALTER plain SET STORAGE EXTERNAL;
CREATE INDEX by_gone ON a.t (gone); CREATE INDEX by_expression ON a.t ((gone + 1)); CREATE INDEX where_gone ON a.t (name) WHERE gone > 1; CREATE INDEX by_name ON a.t (name);
COMMENT ON INDEX a.by_gone IS 'goes';
CREATE TRIGGER of_gone BEFORE UPDATE OF gone ON a.t FOR EACH ROW EXECUTE PROCEDURE a.touch();
CREATE TRIGGER when_gone BEFORE UPDATE ON a.t FOR EACH ROW WHEN (new.gone > 1) EXECUTE PROCEDURE a.touch();
CREATE TRIGGER of_name BEFORE UPDATE OF name ON a.t FOR EACH ROW EXECUTE PROCEDURE a.touch();
ALTER TABLE a.t ENABLE ROW LEVEL SECURITY; CREATE POLICY of_gone ON a.t USING (gone > 1); CREATE POLICY of_name ON a.t USING (name > '');
CREATE RULE r AS ON DELETE TO a.t WHERE old.gone > 3 DO INSTEAD NOTHING;
CREATE VIEW a.with_gone AS SELECT id, gone FROM a.t; CREATE VIEW a.without_gone AS SELECT id, name FROM a.t; CREATE VIEW a.above AS SELECT id FROM a.with_gone;
CREATE TABLE a.refers (id int, t int REFERENCES a.t, g int, k int, CONSTRAINT of_pair FOREIGN KEY (g, k) REFERENCES a.t (gone, kept));
GRANT SELECT (gone), UPDATE (name) ON a.t TO PUBLIC;
CREATE TABLE b.parent (id int); CREATE TABLE a.orphan () INHERITS (b.parent);`

// omittedColumns leaves columns out that much depends on.
func omittedColumns(t *testing.T, src, dst source) {
	t.Helper()
	sel := schema.Selection{
		Schemas: []string{"a"}, Accounts: schema.Accounts{All: true},
		Rules: []schema.TableRule{rule("a.t", "id", "name", "kept", "other", "plain")},
	}
	inv := src.read(t, sel)
	if err := sel.Validate(inv); err != nil {
		t.Error(err)
	}
	path, _, err := schema.FindPgDump(t.Context(), src.cluster.VersionNum(), dst.cluster.VersionNum())
	if err != nil {
		t.Fatal(err)
	}
	cfg := schema.DumpConfig{Endpoint: src.endpoint, PgDump: path, WorkDir: t.TempDir()}
	cfg.Restrict(sel, inv)
	archive, err := schema.Dump(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := archive.Plan(inv, sel, schema.PlanOptions{Indexes: true, Roles: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	const gone = `column "gone" of table "a"."t" is not selected`
	if diff := cmp.Diff([]string{
		`CHECK CONSTRAINT "t_gone_check" ON "a"."t": ` + gone,
		`CHECK CONSTRAINT "two_of" ON "a"."t": ` + gone,
		`CONSTRAINT "pair" ON "a"."t": ` + gone,
		`CONSTRAINT "t_int4range_excl" ON "a"."t": ` + gone,
		`DEFAULT "a"."t"."kept": sequence "b"."seq" is not selected`,
		`FK CONSTRAINT "of_pair" ON "a"."refers": depends on CONSTRAINT "pair" ON "a"."t": ` + gone,
		`INDEX "a"."by_expression": ` + gone,
		`INDEX "a"."by_gone": ` + gone,
		`INDEX "a"."where_gone": ` + gone,
		`POLICY "of_gone" ON "a"."t": ` + gone,
		`ROLE "postgres": not carried as owner of SCHEMA "a" and 6 more: superusers are not carried as owners and grantors`,
		`RULE "r" ON "a"."t": ` + gone,
		`TABLE "a"."orphan": it inherits from "b"."parent", which is not selected`,
		`TRIGGER "of_gone" ON "a"."t": ` + gone,
		`TRIGGER "when_gone" ON "a"."t": ` + gone,
		`VIEW "a"."above": depends on VIEW "a"."with_gone": ` + gone,
		`VIEW "a"."with_gone": ` + gone,
	}, shown(plan.Excluded)); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names("a.t_id_seq"), plan.Sequences); diff != "" {
		t.Errorf("sequences (-want +got):\n%s", diff)
	}
	dst.build(t, archive, plan)
	built := dst.read(t, schema.Selection{Tables: names("a.t")})
	if diff := cmp.Diff([]string{"id", "name", "kept", "other", "plain"}, columnNames(built.Tables[0].Columns)); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"comment name stays", "comment plain_check stays", "grant name {=w/postgres}", "index by_name", "index t_kept_name_key", "index t_pkey",
		"policy of_name", "statistics name 6", "storage plain e", "trigger of_name",
	}, dst.strings(t, `
		SELECT 'index ' || relname FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indrelid = 'a.t'::regclass
		UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = 'a.t'::regclass AND NOT tgisinternal
		UNION ALL SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = 'a.t'::regclass
		UNION ALL SELECT 'statistics ' || attname || ' ' || attstattarget FROM pg_attribute WHERE attrelid = 'a.t'::regclass AND attstattarget > 0
		UNION ALL SELECT 'storage ' || attname || ' ' || attstorage::text FROM pg_attribute WHERE attrelid = 'a.t'::regclass AND attname = 'plain'
		UNION ALL SELECT 'grant ' || attname || ' ' || attacl::text FROM pg_attribute WHERE attrelid = 'a.t'::regclass AND attacl IS NOT NULL
		UNION ALL SELECT 'comment ' || coalesce(attname, conname) || ' ' || description FROM pg_description d
			LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND d.objsubid = a.attnum AND d.classoid = 'pg_class'::regclass
			LEFT JOIN pg_constraint c ON c.oid = d.objoid AND d.classoid = 'pg_constraint'::regclass
			WHERE attrelid = 'a.t'::regclass AND attnum > 0 OR conrelid = 'a.t'::regclass`)); diff != "" {
		t.Errorf("what belongs to the table (-want +got):\n%s", diff)
	}
	if slices.ContainsFunc(built.Sequences, func(s schema.Sequence) bool { return s.Name != n("a.t_id_seq") }) {
		t.Errorf("sequences %v", built.Sequences)
	}
}

func TestOmittedColumns(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	omittedColumns(t, newDatabase(t, sourceCluster, omittedSQL), newDatabase(t, destinationCluster, ""))
}

// TestForeignKeysToFilteredTables: rows may reference what a filter leaves out, so that the key could not be made.
func TestForeignKeysToFilteredTables(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), `
CREATE TABLE customer (id int PRIMARY KEY, parent int REFERENCES customer);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer);
CREATE TABLE item (orders int REFERENCES orders);`)
	sel := schema.Selection{All: true, Rules: []schema.TableRule{{Table: n("public.customer"), Where: "id > 5"}}}
	plan, err := src.dump(t).Plan(src.read(t, sel), sel, schema.PlanOptions{Indexes: true})
	if err != nil {
		t.Fatal(err)
	}
	const reason = `a filter leaves out rows of the referenced table "public"."customer"`
	if diff := cmp.Diff([]string{
		`FK CONSTRAINT "customer_parent_fkey" ON "public"."customer": ` + reason,
		`FK CONSTRAINT "orders_customer_fkey" ON "public"."orders": ` + reason,
	}, shown(plan.Excluded)); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
}
