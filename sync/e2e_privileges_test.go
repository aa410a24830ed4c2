package sync_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// privileges is everything that owners, grants, default privileges and memberships of the roles {p}… come to.
const privileges = `
SELECT 'schema', n.nspname, o.rolname, coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(n.nspacl) a), '')
	FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner WHERE n.nspname = 'shop'
UNION ALL SELECT 'relation', c.oid::regclass::text, o.rolname, coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(c.relacl) a), '')
	FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = 'shop') AND c.relkind IN ('r', 'S', 'v')
UNION ALL SELECT 'column', a.attname, '', coalesce((SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(a.attacl) x), '')
	FROM pg_attribute a WHERE a.attrelid = 'shop.orders'::regclass AND a.attacl IS NOT NULL
UNION ALL SELECT 'function', p.oid::regprocedure::text, o.rolname, coalesce(p.proacl::text, '')
	FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'shop')
UNION ALL SELECT 'default', d.defaclobjtype::text, r.rolname, d.defaclacl::text FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole
UNION ALL SELECT 'member', m.rolname, r.rolname, a.admin_option::text FROM pg_auth_members a
	JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE r.rolname LIKE '{p}%' AND m.rolname LIKE '{p}%'
ORDER BY 1, 2, 3, 4`

// A task carries the chosen roles with passwords and settings, what they own, what they may do and whose members they are, by
// means of a user who is no superuser.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	privilegesCarried(t, "15", "15")
}

func privilegesCarried(t *testing.T, source, destination string) {
	t.Helper()
	src := testenv.Start(t, testenv.Config{Version: source})
	dst := testenv.Start(t, testenv.Config{Version: destination, Settings: map[string]string{"log_statement": "mod"}})
	l := setupBetween(t, src, dst, "")
	fill := strings.NewReplacer("{p}", "shop_", "{dstdb}", l.dstDB)
	l.source(fill.Replace(`CREATE ROLE {p}app LOGIN PASSWORD 'app-secret-1' CONNECTION LIMIT 9; CREATE ROLE {p}team; CREATE ROLE {p}reader; CREATE ROLE {p}other;
		GRANT {p}team TO {p}app WITH ADMIN OPTION; ALTER ROLE {p}app SET work_mem = '7MB';
		CREATE SCHEMA shop AUTHORIZATION {p}app; GRANT USAGE ON SCHEMA shop TO {p}reader, {p}other; SET ROLE {p}app;
		CREATE TABLE shop.orders (id serial PRIMARY KEY, v text); INSERT INTO shop.orders (v) SELECT g FROM generate_series(1, 100) g;
		CREATE VIEW shop.some AS SELECT id FROM shop.orders; CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
		REVOKE ALL ON FUNCTION shop.f() FROM PUBLIC; GRANT EXECUTE ON FUNCTION shop.f() TO {p}team;
		GRANT SELECT ON shop.orders TO {p}reader WITH GRANT OPTION; GRANT UPDATE (v) ON shop.orders TO {p}team; GRANT SELECT ON shop.some TO PUBLIC;
		ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO {p}reader;
		SET ROLE {p}reader; GRANT SELECT ON shop.orders TO {p}team; RESET ROLE`))
	l.destination(fill.Replace(`CREATE ROLE task LOGIN CREATEROLE PASSWORD 'task-secret-1'; GRANT CREATE ON DATABASE {dstdb} TO task`))
	l.to = fmt.Sprintf("host=%s port=%d dbname=%s user=task password=task-secret-1 sslmode=disable", dst.Host(), dst.Port(), l.dstDB)
	l.create(fill.Replace(`MODE FULL ACCOUNTS ({p}app, {p}team, {p}reader) START NOW`))
	l.reach("completed")
	want := strings.ReplaceAll(l.one(l.s, fill.Replace(privileges)), ",shop_other=U/shop_app", "") // who was not chosen
	got := strings.ReplaceAll(l.one(l.d, fill.Replace(privileges)), "arwdDxtm", "arwdDxt")         // what owners have may be more since 17
	l.want("owners and privileges", got, want)
	l.want("accounts", l.sql("SELECT role, synchronized, remarks FROM sync_accounts WHERE task = '%[1]s' ORDER BY 1"), "shop_app|t|\nshop_reader|t|\nshop_team|t|")
	const roles = "SELECT rolname, rolpassword, rolconnlimit, (SELECT setconfig FROM pg_db_role_setting WHERE setrole = a.oid) FROM pg_authid a WHERE rolname LIKE 'shop%' AND rolname <> 'shop_other' ORDER BY 1"
	l.want("roles", l.one(l.d, roles), l.one(l.s, roles))
	l.want("helping memberships", l.one(l.d, `SELECT count(*) FROM pg_auth_members WHERE member = 'task'::regrole AND grantor = member`), "0")
	testenv.MustEqual(t, l.s, l.d, "shop.orders")
	log, err := os.ReadFile(dst.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	if secret := l.one(l.s, "SELECT rolpassword FROM pg_authid WHERE rolname = 'shop_app'"); strings.Contains(string(log), secret) || !strings.Contains(string(log), "ALTER ROLE") {
		t.Error("the log shows a password, or nothing")
	}
}
