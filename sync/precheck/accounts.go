package precheck

import (
	"context"
	"fmt"
	"slices"

	"pgsyncd/sync/accounts"
)

var accountChecks = []check{
	{"accounts", "chosen roles", source, copied, chosenRoles},
	{"accounts", "create roles", source | destination, copied, createRoles},
	{"accounts", "passwords", source | destination, copied, passwords},
	{"accounts", "owners", source | destination, copied, owners},
	{"accounts", "owners in schema public", source | destination | database | inventory, copied, ownersInPublic},
	{"accounts", "roles of policies", source | destination | inventory, copied, policyRoles},
	{"accounts", "default privileges", destination | database, copied, defaultPrivileges},
}

const noAccounts = "no accounts are carried: every object will belong to the task's user"

// roles are the chosen ones of the source, and those of them that are to be created in the destination.
func (e *env) roles(ctx context.Context) (chosen, lacking []accounts.Role, err error) {
	if chosen, _, err = accounts.Read(ctx, e.src.conn, e.in.Selection.Accounts); err != nil {
		return nil, nil, err
	}
	there, err := column[string](ctx, &e.dst, "SELECT rolname::text FROM pg_catalog.pg_roles")
	for _, r := range chosen {
		if !slices.Contains(there, r.Name) && r.System() == "" {
			lacking = append(lacking, r)
		}
	}
	return chosen, lacking, err
}

// chosenRoles says which of them are not carried as they are.
func chosenRoles(ctx context.Context, e *env) (finding, error) {
	if e.in.Selection.Accounts.None() {
		return passed(noAccounts)
	}
	chosen, missing, err := accounts.Read(ctx, e.src.conn, e.in.Selection.Accounts)
	if err != nil {
		return finding{}, err
	}
	if len(missing) > 0 {
		return failed("do not exist in the source: "+enumerate(quoted(missing)), "Choose others with ALTER SYNC TASK … SET ACCOUNTS …")
	}
	var system, less []string
	for _, r := range chosen {
		switch {
		case r.System() != "":
			system = append(system, ident(r.Name))
		case r.Superuser || r.Replication || r.BypassRLS:
			less = append(less, ident(r.Name))
		}
	}
	switch {
	case len(system) > 0:
		return failed("PostgreSQL's own roles cannot be carried: "+enumerate(system), "Choose others with ALTER SYNC TASK … SET ACCOUNTS …")
	case len(less) > 0:
		return confirm("carried without SUPERUSER, REPLICATION and BYPASSRLS, and without the memberships of superusers: "+enumerate(less),
			"Give what is needed in the destination by hand, as a superuser: ALTER ROLE … SUPERUSER; and the like.")
	}
	return passed("%s", count(len(chosen), "role", "roles"))
}

func createRoles(ctx context.Context, e *env) (finding, error) {
	if e.in.Selection.Accounts.None() {
		return passed(noAccounts)
	}
	chosen, lacking, err := e.roles(ctx)
	if err != nil {
		return finding{}, err
	}
	may, err := value[bool](ctx, &e.dst, "SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user")
	if err != nil {
		return finding{}, err
	}
	var list []string
	for _, r := range lacking {
		list = append(list, ident(r.Name))
	}
	switch {
	case len(lacking) == 0:
		return passed("all %d exist and stay as they are", len(chosen))
	case !may:
		return failed(fmt.Sprintf("%s may not create %s", ident(e.dst.role), enumerate(list)), fmt.Sprintf("ALTER ROLE %s CREATEROLE;", ident(e.dst.role)))
	}
	return passed("to be created: %s; %d exist and stay as they are", enumerate(list), len(chosen)-len(lacking))
}

func passwords(ctx context.Context, e *env) (finding, error) {
	if e.in.Selection.Accounts.None() {
		return passed(noAccounts)
	}
	_, lacking, err := e.roles(ctx)
	if err != nil {
		return finding{}, err
	}
	var list []string
	for _, r := range lacking {
		if r.Login && !r.PasswordReadable {
			list = append(list, ident(r.Name))
		}
	}
	if len(list) > 0 {
		return confirm(fmt.Sprintf("%s may not read passwords, so these are created without: %s", ident(e.src.role), enumerate(list)),
			fmt.Sprintf("As a superuser of the source: GRANT SELECT ON pg_catalog.pg_authid TO %s; or set the passwords in the destination.", ident(e.src.role)))
	}
	return passed("all can be carried")
}

// ownersSQL lists the roles that own something of the source's database, superusers apart.
const ownersSQL = `SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
	WHERE s.deptype = 'o' AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND NOT r.rolsuper AND r.rolname = ANY ($1)
		AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
	ORDER BY 1`

// owners finds chosen roles that exist in the destination and that the task's user could not give objects to. It is a member
// of those it creates.
func owners(ctx context.Context, e *env) (finding, error) {
	if e.in.Selection.Accounts.None() {
		return passed(noAccounts)
	}
	chosen, _, err := e.roles(ctx)
	if err != nil {
		return finding{}, err
	}
	var names []string
	for _, r := range chosen {
		names = append(names, r.Name)
	}
	owning, err := column[string](ctx, &e.src, ownersSQL, names)
	if err != nil {
		return finding{}, err
	}
	mode := "MEMBER"
	if e.dst.version >= 160000 {
		mode = "SET"
	}
	closed, err := column[string](ctx, &e.dst, `SELECT rolname::text FROM pg_catalog.pg_roles
		WHERE rolname = ANY ($1) AND NOT pg_catalog.pg_has_role(oid, $2) ORDER BY rolname::text COLLATE "C"`, owning, mode)
	if err != nil {
		return finding{}, err
	}
	var fix []string
	for _, name := range closed {
		fix = append(fix, fmt.Sprintf("GRANT %s TO %s;", ident(name), ident(e.dst.role)))
	}
	if len(closed) > 0 {
		return failed(fmt.Sprintf("%s is no member of roles that own objects, and so cannot make them owners: %s", ident(e.dst.role), enumerate(quoted(closed))),
			statements(fix))
	}
	return passed("%s can be made owners", count(len(owning), "role", "roles"))
}

// publicOwnersSQL lists the owners, superusers apart, of the relations $1 and of the functions in the schemas $2.
const publicOwnersSQL = `SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_roles r WHERE NOT r.rolsuper AND r.rolname = ANY ($3) AND (
	EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1) AND c.relowner = r.oid)
	OR EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname = ANY ($2) AND p.proowner = r.oid)) ORDER BY 1`

// ownersInPublic finds owners who may not create objects in schema public, which PostgreSQL demands of whoever is made an
// owner there by somebody who is no superuser. Privileges on other schemas are carried, on this one they are not.
func ownersInPublic(ctx context.Context, e *env) (finding, error) {
	const name = "public"
	if e.in.Selection.Accounts.None() {
		return passed(noAccounts)
	}
	if e.dst.superuser {
		return passed("%s is a superuser", ident(e.dst.role))
	}
	chosen, lacking, err := e.roles(ctx)
	if err != nil {
		return finding{}, err
	}
	var roles, schemas, closed, fix []string
	for _, r := range chosen {
		roles = append(roles, r.Name)
	}
	relations := []uint32{}
	for _, t := range e.inv.Tables {
		if t.Target.Schema == name {
			relations = append(relations, t.OID)
		}
	}
	for _, v := range e.views() {
		if v.Target.Schema == name {
			relations = append(relations, v.OID)
		}
	}
	for _, s := range e.whole {
		if e.in.Selection.TargetSchema(s) == name {
			schemas = append(schemas, s)
		}
	}
	owning, err := column[string](ctx, &e.src, publicOwnersSQL, relations, schemas, roles)
	if err != nil {
		return finding{}, err
	}
	for _, owner := range owning {
		asked, grantee := owner, ident(owner)
		if slices.ContainsFunc(lacking, func(r accounts.Role) bool { return r.Name == owner }) {
			asked, grantee = "public", "PUBLIC" // which the role will be part of
		}
		may, err := column[bool](ctx, &e.dst, "SELECT pg_catalog.has_schema_privilege($1::name, oid, 'CREATE') FROM pg_catalog.pg_namespace WHERE nspname = $2", asked, name)
		if err != nil {
			return finding{}, err
		}
		if len(may) == 1 && !may[0] {
			closed, fix = append(closed, ident(owner)), append(fix, fmt.Sprintf("GRANT CREATE ON SCHEMA public TO %s;", grantee))
		}
	}
	if len(closed) > 0 {
		return failed("may not create objects in schema public, and so cannot be made owners there: "+enumerate(closed),
			"In the destination, at least until the full synchronization is over:\n"+statements(distinct(fix)))
	}
	return passed("%s can be made owners there", count(len(owning), "role", "roles"))
}

// policyRoles finds policies for roles that the destination will not have.
func policyRoles(ctx context.Context, e *env) (finding, error) {
	if e.src.version < 90500 || len(e.whole) == 0 {
		return passed("no policies are synchronized")
	}
	type policy struct{ Text, Role string }
	list, err := read[policy](ctx, &e.src, `SELECT pg_catalog.quote_ident(p.polname) || ' ON ' || p.polrelid::pg_catalog.regclass::text, r.rolname::text
		FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_catalog.pg_roles r ON r.oid = ANY (p.polroles)
		WHERE n.nspname = ANY ($1) AND c.oid = ANY ($2) ORDER BY 1, 2`, e.whole, e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	_, created, err := e.roles(ctx)
	if err != nil {
		return finding{}, err
	}
	var wanted []string
	for _, p := range list {
		if !slices.ContainsFunc(created, func(r accounts.Role) bool { return r.Name == p.Role }) {
			wanted = append(wanted, p.Role)
		}
	}
	absent, err := column[string](ctx, &e.dst, `SELECT DISTINCT w.name FROM unnest($1::text[]) AS w (name)
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = w.name) ORDER BY 1`, wanted)
	if err != nil {
		return finding{}, err
	}
	var found, fix []string
	for _, p := range list {
		if slices.Contains(absent, p.Role) {
			found = append(found, fmt.Sprintf("%s (%s)", p.Text, ident(p.Role)))
		}
	}
	for _, name := range absent {
		fix = append(fix, fmt.Sprintf("CREATE ROLE %s;", ident(name)))
	}
	if len(found) > 0 {
		return failed("policies cannot be created, because the destination lacks their roles: "+enumerate(found),
			"Choose them with ALTER SYNC TASK … SET ACCOUNTS …, or in the destination:\n"+statements(fix))
	}
	return passed("the destination has or gets the roles of %s", count(len(list), "policy", "policies"))
}

// defaultPrivileges finds what the destination adds to every object that the task's user creates.
func defaultPrivileges(ctx context.Context, e *env) (finding, error) {
	type grant struct{ Schema, Kind, Grantee string }
	list, err := read[grant](ctx, &e.dst, `SELECT DISTINCT coalesce(n.nspname::text, ''),
			CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END,
			coalesce(g.rolname::text, '')
		FROM pg_catalog.pg_default_acl a CROSS JOIN LATERAL pg_catalog.aclexplode(a.defaclacl) x
		LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
		WHERE a.defaclrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user) AND x.grantee <> a.defaclrole
			AND a.defaclobjtype <> 'L' ORDER BY 1, 2, 3`)
	if err != nil {
		return finding{}, err
	}
	var found, fix []string
	for _, g := range list {
		who, in := "PUBLIC", ""
		if g.Grantee != "" {
			who = ident(g.Grantee)
		}
		if g.Schema != "" {
			in = " IN SCHEMA " + ident(g.Schema)
		}
		if g.Grantee == "" && g.Schema == "" && (g.Kind == "FUNCTIONS" || g.Kind == "TYPES") {
			continue // as PostgreSQL has it by itself
		}
		found = append(found, fmt.Sprintf("%s%s to %s", g.Kind, in, who))
		fix = append(fix, fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE ALL ON %s FROM %s;", ident(e.dst.role), in, g.Kind, who))
	}
	if len(found) > 0 {
		return confirm(fmt.Sprintf("what %s creates in the destination gets privileges that the source may not have: %s", ident(e.dst.role), enumerate(found)),
			statements(fix))
	}
	return passed("%s has none in the destination", ident(e.dst.role))
}
