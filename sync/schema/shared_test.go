package schema_test

import (
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// Two tables become one, with the structure of the first.
func TestSharedDestination(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, `
CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA c;
CREATE TABLE a.t (id serial PRIMARY KEY, v text);
CREATE TABLE b.t (v text DEFAULT 'x', id serial PRIMARY KEY, w int, CHECK (v <> ''));
COMMENT ON TABLE a.t IS 'first'; COMMENT ON TABLE b.t IS 'second'; COMMENT ON COLUMN b.t.v IS 'second';
CREATE INDEX t_v ON b.t (v);
CREATE VIEW a.of_a AS SELECT id FROM a.t; CREATE VIEW b.of_b AS SELECT id FROM b.t;
CREATE TABLE c.u (t int REFERENCES b.t);
SELECT setval('a.t_id_seq', 5), setval('b.t_id_seq', 9);`)
	dst := newDatabase(t, destinationCluster, "")
	sel := schema.Selection{
		Schemas: []string{"a", "b", "c"}, Rules: []schema.TableRule{rule("b.t", "v", "id")}, Map: schema.Mapping{Schemas: schemaMap("a", "x", "b", "x")},
		Accounts: schema.Accounts{All: true},
	}
	inv := src.read(t, sel)
	if err := sel.Validate(inv); err != nil {
		t.Fatal(err)
	}
	plan, err := src.dump(t).Plan(inv, sel, schema.PlanOptions{Indexes: true, Roles: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	const shares = `"b"."t" shares "x"."t" of the destination with "a"."t", which has the structure of that`
	if diff := cmp.Diff([]string{
		`CONSTRAINT "t_pkey" ON "b"."t": ` + shares,
		`FK CONSTRAINT "u_t_fkey" ON "c"."u": depends on CONSTRAINT "t_pkey" ON "b"."t": ` + shares,
		`INDEX "b"."t_v": ` + shares,
		`ROLE "postgres": not carried as owner of SCHEMA "a" and 7 more: superusers are not carried as owners and grantors`,
	}, shown(plan.Excluded)); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	targets := map[schema.Name]schema.Name{}
	for _, s := range inv.Sequences {
		targets[s.Name] = s.Target
	}
	if diff := cmp.Diff(map[schema.Name]schema.Name{n("a.t_id_seq"): n("x.t_id_seq"), n("b.t_id_seq"): n("x.t_id_seq")}, targets); diff != "" {
		t.Errorf("targets of sequences (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names("a.t_id_seq", "b.t_id_seq"), plan.Sequences); diff != "" {
		t.Errorf("sequences whose values count (-want +got):\n%s", diff)
	}
	dst.build(t, &schema.Archive{}, plan)
	if diff := cmp.Diff([]string{"view x.of_a", "view x.of_b"}, dst.strings(t,
		"SELECT 'view ' || oid::regclass FROM pg_class WHERE relkind = 'v' AND relnamespace = 'x'::regnamespace")); diff != "" {
		t.Errorf("views (-want +got):\n%s", diff)
	}
}
