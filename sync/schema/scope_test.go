package schema_test

import (
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// shown lists what a plan leaves out as messages show it.
func shown(list []schema.Excluded) []string {
	var lines []string
	for _, x := range list {
		kind, name := x.Object()
		lines = append(lines, kind+" "+name+": "+x.Reason)
	}
	slices.Sort(lines)
	return lines
}

// planRestricted plans from a dump of only what the selection needs.
func (s source) planRestricted(t *testing.T, sel schema.Selection) (*schema.Archive, *schema.Plan) {
	t.Helper()
	inv := s.read(t, sel)
	if err := sel.Validate(inv); err != nil {
		t.Error(err)
	}
	cfg := schema.DumpConfig{Endpoint: s.endpoint, PgDump: s.pgDump(t), WorkDir: t.TempDir()}
	cfg.Restrict(sel, inv)
	a, err := schema.Dump(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Plan(inv, sel, schema.PlanOptions{Indexes: true})
	if err != nil {
		t.Fatal(err)
	}
	return a, p
}

const scopeSQL = `
CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA ext; CREATE SCHEMA empty;
CREATE EXTENSION hstore WITH SCHEMA ext; CREATE EXTENSION citext WITH SCHEMA a;
CREATE TYPE a.mood AS ENUM ('x'); CREATE TYPE b.kind AS ENUM ('y');
CREATE SEQUENCE a.seq; CREATE SEQUENCE b.seq;
CREATE FUNCTION a.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TABLE a.t (id serial PRIMARY KEY, m a.mood, n int DEFAULT nextval('a.seq'), c a.citext);
COMMENT ON TABLE a.t IS 'tees'; COMMENT ON COLUMN a.t.m IS 'mood'; COMMENT ON CONSTRAINT t_pkey ON a.t IS 'key';
CREATE TABLE a.u (id int PRIMARY KEY, t int REFERENCES a.t, k int);
CREATE TABLE b.v (id int PRIMARY KEY, t int REFERENCES a.t, x text);
CREATE TABLE b.w (id int, k b.kind);
CREATE INDEX v_x ON b.v (x);
CREATE TRIGGER touch BEFORE INSERT ON a.t FOR EACH ROW EXECUTE FUNCTION a.touch();
CREATE VIEW a.over_t AS SELECT id, m FROM a.t;
CREATE VIEW a.over_v AS SELECT id FROM b.v;
CREATE VIEW b.over_over_v AS SELECT id FROM a.over_v;
CREATE MATERIALIZED VIEW b.mat AS SELECT id FROM a.t;
CREATE UNIQUE INDEX mat_id ON b.mat (id);
CREATE FUNCTION a.first(b.v) RETURNS int LANGUAGE sql AS 'SELECT $1.id';
CREATE FUNCTION a.std() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM b.v; END;
CREATE FUNCTION b.kinds(b.kind) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE CAST (b.kind AS int) WITH FUNCTION b.kinds(b.kind);
CREATE FUNCTION a.with_kind(b.kind) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE POLICY p ON a.t USING (id IN (SELECT id FROM b.v)); ALTER TABLE a.t ENABLE ROW LEVEL SECURITY;
CREATE RULE r AS ON INSERT TO a.u DO ALSO INSERT INTO b.w (id) VALUES (new.id);
CREATE TABLE a.row (v b.v, id int);
CREATE EVENT TRIGGER et ON ddl_command_end WHEN TAG IN ('CREATE CAST') EXECUTE FUNCTION a.on_ddl();`

func TestScopes(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	sql := strings.Replace(scopeSQL, "CREATE EVENT TRIGGER", `CREATE FUNCTION a.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER`, 1)
	src := newDatabase(t, sourceCluster, sql)
	for name, test := range map[string]struct {
		sel      schema.Selection
		prepare  string // in the destination
		made     []string
		excluded []string
		values   []schema.Name // sequences
	}{
		"one schema": {
			sel: schema.Selection{Schemas: []string{"a"}}, prepare: "CREATE SCHEMA b; CREATE TYPE b.kind AS ENUM ('y')",
			made: []string{
				`COMMENT COLUMN "a"."t"."m"`, `COMMENT CONSTRAINT "t_pkey" ON "a"."t"`, `COMMENT EXTENSION "citext"`, `COMMENT TABLE "a"."t"`,
				`CONSTRAINT "t_pkey" ON "a"."t"`, `CONSTRAINT "u_pkey" ON "a"."u"`, `DEFAULT "a"."t"."id"`, `EXTENSION "citext"`,
				`FK CONSTRAINT "u_t_fkey" ON "a"."u"`, `FUNCTION "a"."on_ddl"()`, `FUNCTION "a"."touch"()`, `FUNCTION "a"."with_kind"("b"."kind")`,
				`ROW SECURITY "a"."t"`, `SCHEMA "a"`, `SEQUENCE "a"."seq"`, `SEQUENCE "a"."t_id_seq"`, `SEQUENCE OWNED BY "a"."t_id_seq"`, `TABLE "a"."t"`,
				`TABLE "a"."u"`, `TRIGGER "touch" ON "a"."t"`, `TYPE "a"."mood"`, `VIEW "a"."over_t"`,
			},
			excluded: []string{
				`FUNCTION "a"."first"("b"."v"): table "b"."v" is not selected`,
				`FUNCTION "a"."std"(): table "b"."v" is not selected`,
				`POLICY "p" ON "a"."t": table "b"."v" is not selected`,
				`RULE "r" ON "a"."u": table "b"."w" is not selected`,
				`TABLE "a"."row": table "b"."v" is not selected`,
				`VIEW "a"."over_v": table "b"."v" is not selected`,
			},
			values: names("a.seq", "a.t_id_seq"),
		},
		"schema and table": {
			sel: schema.Selection{Schemas: []string{"b"}, Tables: names("a.t"), Views: names("a.over_v")}, prepare: "CREATE SCHEMA a; CREATE EXTENSION citext SCHEMA a; CREATE TYPE a.mood AS ENUM ('x'); CREATE SEQUENCE a.seq",
			made: []string{
				`COMMENT COLUMN "a"."t"."m"`, `COMMENT CONSTRAINT "t_pkey" ON "a"."t"`, `COMMENT TABLE "a"."t"`, `CONSTRAINT "t_pkey" ON "a"."t"`,
				`CONSTRAINT "v_pkey" ON "b"."v"`, `DEFAULT "a"."t"."id"`, `FK CONSTRAINT "v_t_fkey" ON "b"."v"`, `FUNCTION "b"."kinds"("b"."kind")`,
				`INDEX "b"."mat_id"`, `INDEX "b"."v_x"`, `MATERIALIZED VIEW "b"."mat"`, `SCHEMA "a"`, `SCHEMA "b"`, `SEQUENCE "a"."t_id_seq"`,
				`SEQUENCE "b"."seq"`, `SEQUENCE OWNED BY "a"."t_id_seq"`, `TABLE "a"."t"`, `TABLE "b"."v"`, `TABLE "b"."w"`, `TYPE "b"."kind"`, `VIEW "a"."over_v"`, `VIEW "b"."over_over_v"`,
			},
			excluded: []string{
				`DEFAULT "a"."t"."n": sequence "a"."seq" is not selected`,
				`POLICY "p" ON "a"."t": row-level security is not part of a table-level task`,
				`ROW SECURITY "a"."t": row-level security is not part of a table-level task`,
				`TRIGGER "touch" ON "a"."t": triggers are not part of a table-level task`,
			},
			values: names("a.t_id_seq", "b.seq"),
		},
		"except": {
			sel: schema.Selection{All: true, Except: schema.Exception{Tables: names("b.v"), Schemas: []string{"ext"}, Patterns: []string{"a.u"}}},
			made: []string{
				`CAST CAST ("b"."kind" AS integer)`, `COMMENT COLUMN "a"."t"."m"`, `COMMENT CONSTRAINT "t_pkey" ON "a"."t"`, `COMMENT EXTENSION "citext"`,
				`COMMENT TABLE "a"."t"`, `CONSTRAINT "t_pkey" ON "a"."t"`, `DEFAULT "a"."t"."id"`, `EVENT TRIGGER "et"`, `EXTENSION "citext"`,
				`FUNCTION "a"."on_ddl"()`, `FUNCTION "a"."touch"()`, `FUNCTION "a"."with_kind"("b"."kind")`, `FUNCTION "b"."kinds"("b"."kind")`,
				`INDEX "b"."mat_id"`, `MATERIALIZED VIEW "b"."mat"`, `ROW SECURITY "a"."t"`, `SCHEMA "a"`, `SCHEMA "b"`, `SCHEMA "empty"`,
				`SEQUENCE "a"."seq"`, `SEQUENCE "a"."t_id_seq"`, `SEQUENCE "b"."seq"`, `SEQUENCE OWNED BY "a"."t_id_seq"`, `TABLE "a"."t"`, `TABLE "b"."w"`,
				`TRIGGER "touch" ON "a"."t"`, `TYPE "a"."mood"`, `TYPE "b"."kind"`, `VIEW "a"."over_t"`,
			},
			excluded: []string{
				`FUNCTION "a"."first"("b"."v"): table "b"."v" is not selected`,
				`FUNCTION "a"."std"(): table "b"."v" is not selected`,
				`POLICY "p" ON "a"."t": table "b"."v" is not selected`,
				`TABLE "a"."row": table "b"."v" is not selected`,
				`VIEW "a"."over_v": table "b"."v" is not selected`,
				`VIEW "b"."over_over_v": depends on VIEW "a"."over_v": table "b"."v" is not selected`,
			},
			values: names("a.seq", "a.t_id_seq", "b.seq"),
		},
		"views alone": {
			sel: schema.Selection{Views: names("a.over_t", "b.over_over_v"), Matviews: names("b.mat"), Sequences: names("b.seq", "a.t_id_seq")}, prepare: "",
			made: []string{
				`SCHEMA "a"`, `SCHEMA "b"`, `SEQUENCE "a"."t_id_seq"`, `SEQUENCE "b"."seq"`,
			},
			excluded: []string{
				`INDEX "b"."mat_id": depends on MATERIALIZED VIEW "b"."mat": table "a"."t" is not selected`,
				`MATERIALIZED VIEW "b"."mat": table "a"."t" is not selected`,
				`VIEW "a"."over_t": table "a"."t" is not selected`,
				`VIEW "b"."over_over_v": view "a"."over_v" is not selected`,
			},
			values: names("a.t_id_seq", "b.seq"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			archive, plan := src.planRestricted(t, test.sel)
			if diff := cmp.Diff(test.excluded, shown(plan.Excluded)); diff != "" {
				t.Errorf("excluded (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.values, plan.Sequences); diff != "" {
				t.Errorf("sequences (-want +got):\n%s", diff)
			}
			var made []string
			for _, list := range [][]schema.Entry{plan.Before, plan.Indexes, plan.Constraints, plan.After} {
				for _, e := range list {
					kind, name := e.Object()
					made = append(made, kind+" "+name)
				}
			}
			slices.Sort(made)
			if diff := cmp.Diff(test.made, made); diff != "" {
				t.Errorf("made (-want +got):\n%s", diff)
			}
			dst := newDatabase(t, destinationCluster, test.prepare)
			dst.build(t, archive, plan)
		})
	}
}
