package precheck

import (
	"context"
	"fmt"
	"slices"

	"pgsyncd/sync/schema"
)

var destinationPrivilegeChecks = []check{
	{"destination privileges", "create database", destination, copied, createDatabase},
	{"destination privileges", "create schemas", destination | database | inventory, always, createSchemas},
	{"destination privileges", "create objects", source | destination | database | inventory, copied, createObjects},
	{"destination privileges", "write tables", destination | database | inventory, always, writeTables},
	{"destination privileges", "superuser objects", source | destination | inventory, copied, superuserObjects},
}

func createDatabase(ctx context.Context, e *env) (finding, error) {
	if !e.creating {
		return passed("the database exists")
	}
	may, err := value[bool](ctx, &e.dst, "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user")
	if err != nil {
		return finding{}, err
	}
	if !may {
		return failed(fmt.Sprintf("the database does not exist and %s may not create it", ident(e.dst.role)),
			fmt.Sprintf("ALTER ROLE %[1]s CREATEDB; or CREATE DATABASE %[2]s OWNER %[1]s;", ident(e.dst.role), ident(e.in.Destination.Database())))
	}
	return passed("%s will be created", ident(e.in.Destination.Database()))
}

// ledgerSchema is where the task keeps its position in the destination.
const ledgerSchema = "pgsyncd"

// schemas are those that the task needs in the destination, by their names there: those of its relations, and those of whole
// which are taken whole. Where the destination has its tables already it needs but the one for its position.
func (e *env) schemas(whole []string) []string {
	list := []string{ledgerSchema}
	if e.in.Adopt {
		return list
	}
	for _, t := range e.inv.Tables {
		list = append(list, t.Target.Schema)
	}
	for _, s := range e.inv.Sequences {
		list = append(list, s.Target.Schema)
	}
	for _, v := range e.views() {
		list = append(list, v.Target.Schema)
	}
	for _, name := range whole {
		list = append(list, e.in.Selection.TargetSchema(name))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func createSchemas(ctx context.Context, e *env) (finding, error) {
	wanted := e.schemas(e.whole)
	missing, err := column[string](ctx, &e.dst, `SELECT name FROM pg_catalog.unnest($1::text[]) AS w (name)
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = name) ORDER BY name COLLATE "C"`, wanted)
	if err != nil {
		return finding{}, err
	}
	may, err := value[bool](ctx, &e.dst, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')")
	if err != nil {
		return finding{}, err
	}
	quoted := make([]string, len(missing))
	for i, name := range missing {
		quoted[i] = ident(name)
	}
	switch {
	case len(missing) == 0:
		return passed("they exist")
	case !may:
		return failed(fmt.Sprintf("%s may not create the schemas %s", ident(e.dst.role), enumerate(quoted)),
			fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", ident(e.in.Destination.Database()), ident(e.dst.role)))
	}
	return passed("will be created: %s", enumerate(quoted))
}

// createObjects leaves out schemas that are empty in the source, as public often is.
func createObjects(ctx context.Context, e *env) (finding, error) {
	filled, err := column[string](ctx, &e.src, `SELECT n.nspname::text FROM pg_catalog.pg_namespace n
		WHERE n.nspname = ANY ($1) AND EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid AND d.deptype = 'n')`, e.whole)
	if err != nil {
		return finding{}, err
	}
	closed, err := column[string](ctx, &e.dst, `SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1)
		AND NOT (pg_catalog.has_schema_privilege(oid, 'CREATE') AND pg_catalog.has_schema_privilege(oid, 'USAGE'))
		ORDER BY nspname::text COLLATE "C"`, e.schemas(filled))
	if err != nil {
		return finding{}, err
	}
	var fix, quoted []string
	for _, name := range closed {
		quoted = append(quoted, ident(name))
		fix = append(fix, fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA %s TO %s;", ident(name), ident(e.dst.role)))
	}
	if len(closed) > 0 {
		return failed(fmt.Sprintf("%s may not create objects in the schemas %s", ident(e.dst.role), enumerate(quoted)), statements(fix))
	}
	return passed("%s may create objects in the schemas that exist", ident(e.dst.role))
}

// writeTables concerns tables that exist and are to be filled.
func writeTables(ctx context.Context, e *env) (finding, error) {
	if e.in.ExistingObjects != ExistingUse && e.in.ExistingObjects != ExistingAppend && !e.in.Adopt {
		return passed("the task creates its tables")
	}
	existing, err := e.existingTables(ctx)
	if err != nil {
		return finding{}, err
	}
	var oids []uint32
	for _, t := range existing.Tables {
		oids = append(oids, t.OID)
	}
	closed, err := lacking(ctx, &e.dst, oids, `NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT')
		AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
		AND pg_catalog.has_table_privilege(c.oid, 'DELETE') AND pg_catalog.has_table_privilege(c.oid, 'TRUNCATE'))`)
	if err != nil {
		return finding{}, err
	}
	if len(closed) > 0 {
		return failed(fmt.Sprintf("%s may not write %s", ident(e.dst.role), enumerate(names(closed))),
			grants(e.dst.role, "SELECT, INSERT, UPDATE, DELETE, TRUNCATE", "TABLE", nil, closed))
	}
	return passed("%s of the task exist and may be written", count(len(existing.Tables), "table", "tables"))
}

// existingTables are the destination's tables that have the name which a table of
// the task gets there.
func (e *env) existingTables(ctx context.Context) (*schema.Inventory, error) {
	sel := schema.Selection{}
	for _, t := range e.inv.Tables {
		sel.Tables = append(sel.Tables, t.Target)
	}
	if len(sel.Tables) == 0 {
		return &schema.Inventory{}, nil
	}
	return schema.Read(ctx, e.dst.conn, sel)
}

// superuserObjects are those whose creation PostgreSQL itself reserves to
// superusers. Members of an extension come with it.
const superuserObjectsSQL = `
SELECT kind || ' ' || o.name FROM (
	SELECT 'EVENT TRIGGER' AS kind, pg_catalog.quote_ident(evtname) AS name, 'pg_event_trigger'::pg_catalog.regclass AS class, oid, 0::oid AS schema
		FROM pg_catalog.pg_event_trigger WHERE $2
	UNION ALL SELECT 'TEXT SEARCH PARSER', pg_catalog.quote_ident(prsname), 'pg_ts_parser'::pg_catalog.regclass, oid, prsnamespace FROM pg_catalog.pg_ts_parser
	UNION ALL SELECT 'TEXT SEARCH TEMPLATE', pg_catalog.quote_ident(tmplname), 'pg_ts_template'::pg_catalog.regclass, oid, tmplnamespace FROM pg_catalog.pg_ts_template
	UNION ALL SELECT 'OPERATOR CLASS', pg_catalog.quote_ident(opcname), 'pg_opclass'::pg_catalog.regclass, oid, opcnamespace FROM pg_catalog.pg_opclass
	UNION ALL SELECT 'OPERATOR FAMILY', pg_catalog.quote_ident(opfname), 'pg_opfamily'::pg_catalog.regclass, oid, opfnamespace FROM pg_catalog.pg_opfamily
	UNION ALL SELECT 'FUNCTION', p.oid::pg_catalog.regprocedure::text, 'pg_proc'::pg_catalog.regclass, p.oid, p.pronamespace
		FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
		WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c')
) o LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.schema
WHERE o.oid >= 16384 AND (o.schema = 0 OR n.nspname = ANY ($1)) AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
	WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
ORDER BY 1`

func superuserObjects(ctx context.Context, e *env) (finding, error) {
	if len(e.whole) == 0 {
		return passed("a task of tables has none")
	}
	if e.dst.superuser {
		return passed("%s is a superuser", ident(e.dst.role))
	}
	// What managed services offer in place of superusers.
	equivalent, err := value[bool](ctx, &e.dst, `SELECT EXISTS (SELECT FROM pg_catalog.pg_roles
		WHERE rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin', 'alloydbsuperuser', 'huaweicloud_root', 'pg_rds_superuser')
		AND pg_catalog.pg_has_role(oid, 'MEMBER'))`)
	if err != nil {
		return finding{}, err
	}
	objects, err := column[string](ctx, &e.src, superuserObjectsSQL, e.whole, e.in.Selection.All)
	if err != nil {
		return finding{}, err
	}
	if len(objects) > 0 && !equivalent {
		return failed("only a superuser can create "+enumerate(objects),
			fmt.Sprintf("ALTER ROLE %s SUPERUSER; or drop these objects from the source, or select tables instead of FOR ALL.", ident(e.dst.role)))
	}
	return passed("%s to be created", count(len(objects), "such object", "such objects"))
}
