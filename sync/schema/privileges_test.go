package schema_test

import (
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// privilegesSQL needs the roles of grantRoles. Roles are of the whole server, so that their names carry the package's.
const privilegesSQL = `
CREATE SCHEMA a AUTHORIZATION schema_owner; CREATE SCHEMA "B b";
GRANT USAGE ON SCHEMA a TO "schema B; b", PUBLIC; GRANT USAGE ON SCHEMA "B b" TO schema_reader WITH GRANT OPTION;
SET ROLE schema_reader; GRANT USAGE ON SCHEMA "B b" TO schema_other; RESET ROLE;
GRANT CREATE ON SCHEMA "B b" TO schema_owner; GRANT CREATE ON SCHEMA public TO schema_owner;
SET ROLE schema_owner;
CREATE TYPE a.mood AS ENUM ('x'); CREATE DOMAIN a.small AS int; CREATE TYPE a.pair AS (a int);
CREATE FUNCTION a.f(a.mood, "x y" int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE a.p() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE a.total(int) (SFUNC = int4pl, STYPE = int);
CREATE FUNCTION a.eq(a.mood, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR a.=== (LEFTARG = a.mood, RIGHTARG = int, FUNCTION = a.eq); CREATE OPERATOR a.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE COLLATION a.c (locale = 'C'); CREATE CONVERSION a.conv FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
CREATE TEXT SEARCH DICTIONARY a.d (TEMPLATE = simple); CREATE TEXT SEARCH CONFIGURATION a.tc (PARSER = default);
CREATE TABLE a.t (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, "c d" text);
CREATE STATISTICS a.st ON id, n FROM a.t;
CREATE VIEW a.v AS SELECT id FROM a.t; CREATE MATERIALIZED VIEW a.m AS SELECT id FROM a.t; CREATE SEQUENCE a.s;
GRANT SELECT, UPDATE ON a.t TO schema_reader WITH GRANT OPTION; GRANT INSERT (id, "c d"), SELECT ("c d") ON a.t TO "schema B; b";
GRANT SELECT ON a.v TO PUBLIC; GRANT SELECT ON a.m TO schema_other; REVOKE UPDATE ON a.m FROM schema_owner;
REVOKE ALL ON FUNCTION a.f(a.mood, int) FROM PUBLIC; GRANT EXECUTE ON FUNCTION a.f(a.mood, int) TO schema_reader;
GRANT USAGE ON TYPE a.mood TO schema_reader; REVOKE USAGE ON TYPE a.small FROM PUBLIC; GRANT USAGE ON SEQUENCE a.s TO schema_reader;
SET ROLE schema_reader; GRANT SELECT ON a.t TO "schema B; b", schema_other; RESET ROLE;
ALTER DEFAULT PRIVILEGES FOR ROLE schema_owner IN SCHEMA a GRANT SELECT ON TABLES TO schema_reader, schema_other;
ALTER DEFAULT PRIVILEGES FOR ROLE schema_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "schema B; b" GRANT SELECT ON TABLES TO schema_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE schema_super IN SCHEMA a GRANT SELECT ON TABLES TO schema_reader;
CREATE TABLE "B b".superb (id int); ALTER TABLE "B b".superb OWNER TO schema_super;
GRANT SELECT ON "B b".superb TO schema_reader WITH GRANT OPTION; SET ROLE schema_super; GRANT INSERT ON "B b".superb TO schema_other; RESET ROLE;
CREATE TABLE "B b".foreign_owned (id int); ALTER TABLE "B b".foreign_owned OWNER TO schema_other; GRANT SELECT ON "B b".foreign_owned TO schema_reader;
CREATE VIEW "B b".bare AS SELECT 1 AS x;
CREATE EXTENSION hstore; GRANT EXECUTE ON FUNCTION public.akeys(hstore) TO schema_reader;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;`

var grantRoles = []string{"schema_owner", "schema_reader", "schema B; b", "schema_other", "schema_super"}

// newRoles makes the test's roles unless they are there: roles outlive databases.
func newRoles(t *testing.T, c *testenv.Cluster) {
	t.Helper()
	for _, role := range grantRoles {
		c.Exec(t, "postgres", `DO $$ BEGIN CREATE ROLE `+schema.Name{Name: role}.String()+` NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$`)
	}
	c.Exec(t, "postgres", "ALTER ROLE schema_super SUPERUSER")
}

// aclSQL shows owners and privileges of everything, without order.
const aclSQL = `
SELECT 'class ' || c.oid::regclass || ' ' || relowner::regrole || ' ' || coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(relacl) x), '')
  FROM pg_class c WHERE c.oid >= 16384 AND relkind IN ('r', 'v', 'm', 'S', 'p') AND relnamespace::regnamespace::text NOT LIKE 'pg%'
UNION ALL
SELECT 'column ' || attrelid::regclass || '.' || attname || ' ' || coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(attacl) x), '')
  FROM pg_attribute WHERE attrelid >= 16384 AND attacl IS NOT NULL
UNION ALL
SELECT 'function ' || oid::regprocedure || ' ' || proowner::regrole || ' ' || coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(proacl) x), '')
  FROM pg_proc WHERE oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND d.deptype = 'e' AND proacl IS NULL)
UNION ALL
SELECT 'type ' || oid::regtype || ' ' || typowner::regrole || ' ' || coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(typacl) x), '')
  FROM pg_type WHERE oid >= 16384 AND typtype IN ('e', 'd', 'c')
UNION ALL
SELECT 'schema ' || nspname || ' ' || nspowner::regrole || ' ' || coalesce((SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(nspacl) x), '')
  FROM pg_namespace WHERE oid >= 16384
UNION ALL
SELECT 'default ' || defaclrole::regrole || ' ' || coalesce(defaclnamespace::regnamespace::text, '') || ' ' || defaclobjtype::text || ' '
       || (SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM unnest(defaclacl) x) FROM pg_default_acl
UNION ALL SELECT 'operator ' || oid::regoperator || ' ' || oprowner::regrole FROM pg_operator WHERE oid >= 16384 AND oprnamespace::regnamespace::text = 'a'
UNION ALL SELECT 'collation ' || oid::regcollation || ' ' || collowner::regrole FROM pg_collation WHERE oid >= 16384
UNION ALL SELECT 'conversion ' || conname || ' ' || conowner::regrole FROM pg_conversion WHERE oid >= 16384
UNION ALL SELECT 'dictionary ' || dictname || ' ' || dictowner::regrole FROM pg_ts_dict WHERE oid >= 16384
UNION ALL SELECT 'configuration ' || cfgname || ' ' || cfgowner::regrole FROM pg_ts_config WHERE oid >= 16384
UNION ALL SELECT 'statistics ' || stxname || ' ' || stxowner::regrole FROM pg_statistic_ext`

func (s source) strings(t *testing.T, sql string) []string {
	t.Helper()
	rows, err := s.conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		list = append(list, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestPrivileges(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	newRoles(t, sourceCluster)
	newRoles(t, destinationCluster)
	src := newDatabase(t, sourceCluster, privilegesSQL)
	dst := newDatabase(t, destinationCluster, "")
	sel := schema.Selection{All: true, Accounts: schema.Accounts{Roles: []string{"schema_owner", "schema_reader", "schema B; b"}}}
	archive := src.dump(t)
	inv := src.read(t, sel)
	plan, err := archive.Plan(inv, sel, schema.PlanOptions{Indexes: true, Roles: append(sel.Accounts.Roles, "schema_super")})
	if err != nil {
		t.Fatal(err)
	}
	dst.build(t, archive, plan)
	if diff := cmp.Diff([]string{
		`ACL FUNCTION "pg_catalog"."pg_sleep"(double precision): system schemas are not synchronized`,
		`ACL SCHEMA "public": privileges on schema public are not synchronized`,
		`ROLE "postgres": not carried as owner of SCHEMA "B b" and 1 more: superusers are not carried as owners and grantors`,
		`ROLE "schema_other": not carried as grantee of SCHEMA "B b" and 4 more: it is not among the accounts of the task`,
		`ROLE "schema_other": not carried as owner of TABLE "B b"."foreign_owned": it is not among the accounts of the task`,
		`ROLE "schema_super": not carried as owner in DEFAULT PRIVILEGES FOR TABLES IN SCHEMA "a": superusers are not carried as owners and grantors`,
		`ROLE "schema_super": not carried as owner of TABLE "B b"."superb": superusers are not carried as owners and grantors`,
	}, shown(plan.Excluded)); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
	// The source loses what is not carried.
	src.exec(t, `ALTER TABLE "B b".foreign_owned OWNER TO postgres; ALTER TABLE "B b".superb OWNER TO postgres; DROP OWNED BY schema_other;
		SET ROLE schema_reader; REVOKE SELECT ON a.t FROM schema_other; REVOKE USAGE ON SCHEMA "B b" FROM schema_other; RESET ROLE;
		ALTER DEFAULT PRIVILEGES FOR ROLE schema_super IN SCHEMA a REVOKE SELECT ON TABLES FROM schema_reader`)
	if diff := cmp.Diff(src.strings(t, aclSQL), dst.strings(t, aclSQL), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("privileges (-source +destination):\n%s", diff)
	}
}

// A user who is no superuser builds what he may give to the roles he is a member of.
func TestPrivilegesOfTables(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	newRoles(t, sourceCluster)
	newRoles(t, destinationCluster)
	src := newDatabase(t, sourceCluster, privilegesSQL)
	dst := newDatabase(t, destinationCluster, "DROP SCHEMA public; CREATE SCHEMA a; CREATE TYPE a.mood AS ENUM ('x')")
	dst.exec(t, `DO $$ BEGIN CREATE ROLE schema_builder IN ROLE schema_owner, schema_reader, "schema B; b"; EXCEPTION WHEN duplicate_object THEN END $$;
		DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO schema_builder', current_database()); END $$;
		ALTER SCHEMA a OWNER TO schema_builder; GRANT CREATE ON SCHEMA a TO schema_owner; SET SESSION AUTHORIZATION schema_builder`)
	sel := schema.Selection{
		Tables: names("a.t", "B b.superb"), Views: names("a.v"), Accounts: schema.Accounts{Roles: []string{"schema_owner", "schema_reader", "schema B; b"}},
	}
	inv := src.read(t, sel)
	cfg := schema.DumpConfig{Endpoint: src.endpoint, PgDump: src.pgDump(t), WorkDir: t.TempDir()}
	cfg.Restrict(sel, inv)
	archive, err := schema.Dump(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := archive.Plan(inv, sel, schema.PlanOptions{Indexes: true, Roles: sel.Accounts.Roles})
	if err != nil {
		t.Fatal(err)
	}
	dst.build(t, archive, plan)
	if diff := cmp.Diff([]string{
		`class "B b".superb schema_builder schema_builder=arwdDxt/schema_builder schema_reader=r*/schema_builder`,
		`class a.t schema_owner "schema B; b"=r/schema_reader schema_owner=arwdDxt/schema_owner schema_reader=r*w*/schema_owner`,
		`class a.t_id_seq schema_owner `,
		`class a.t_n_seq schema_owner `,
		`class a.v schema_owner =r/schema_owner schema_owner=arwdDxt/schema_owner`,
		`column a.t.c d "schema B; b"=ar/schema_owner`,
		`column a.t.id "schema B; b"=a/schema_owner`,
		`schema B b schema_builder schema_builder=UC/schema_builder schema_owner=C/schema_builder schema_reader=U*/schema_builder`,
		`schema a schema_builder "schema B; b"=U/schema_builder =U/schema_builder schema_builder=UC/schema_builder schema_owner=C/schema_builder`,
		`statistics st schema_owner`,
		`type "B b".superb schema_builder `,
		`type a.mood postgres `,
		`type a.t schema_owner `,
		`type a.v schema_owner `,
	}, dst.strings(t, aclSQL)); diff != "" {
		t.Errorf("privileges (-want +got):\n%s", diff)
	}
	without, err := archive.Plan(inv, sel, schema.PlanOptions{Indexes: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Concat(without.Before, without.After) {
		if e.Desc == "OWNER" || e.Desc == "ACL" {
			t.Errorf("a task without accounts has %s", e.Key())
		}
	}
}
