package precheck

import (
	"context"
	"fmt"

	"pgsyncd/sync/schema"
)

var sourcePrivilegeChecks = []check{
	{"source privileges", "read tables", inventory, always, readTables},
	{"source privileges", "read sequences", source | inventory, always, readSequences},
	{"source privileges", "row-level security", inventory, always, rowSecurity},
	{"source privileges", "create publication", inventory, streamed, createPublication},
}

// lacking returns those of the tables for which the condition on pg_class c and
// pg_namespace n holds.
func lacking(ctx context.Context, s *side, oids []uint32, condition string) ([]schema.Name, error) {
	return read[schema.Name](ctx, s, `SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = ANY ($1) AND `+condition+` ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C"`, oids)
}

// grants writes one statement per schema for USAGE and one for the objects.
func grants(role, privilege, kind string, schemas []string, names []schema.Name) string {
	var list []string
	for _, s := range schemas {
		list = append(list, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", ident(s), ident(role)))
	}
	for _, n := range names {
		list = append(list, fmt.Sprintf("GRANT %s ON %s %s TO %s;", privilege, kind, n, ident(role)))
	}
	return statements(list)
}

func readTables(ctx context.Context, e *env) (finding, error) {
	oids := e.tableOIDs()
	closed, err := column[string](ctx, &e.src, `SELECT DISTINCT n.nspname FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = ANY ($1) AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY 1`, oids)
	if err != nil {
		return finding{}, err
	}
	unreadable, err := lacking(ctx, &e.src, oids, "NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')")
	if err != nil {
		return finding{}, err
	}
	if len(closed)+len(unreadable) > 0 {
		return failed(fmt.Sprintf("%s may not read %s in %s", ident(e.src.role), count(len(unreadable), "table", "tables"),
			count(len(closed), "schema without USAGE", "schemas without USAGE"))+": "+enumerate(names(unreadable)),
			grants(e.src.role, "SELECT", "TABLE", closed, unreadable))
	}
	return passed("all %s", count(len(oids), "table", "tables"))
}

func names(list []schema.Name) []string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = n.String()
	}
	return texts
}

func readSequences(ctx context.Context, e *env) (finding, error) {
	var schemas []string
	var unreadable []schema.Name
	for _, s := range e.inv.Sequences {
		if !s.Readable {
			schemas, unreadable = append(schemas, s.Name.Schema), append(unreadable, s.Name)
		}
	}
	if len(unreadable) > 0 {
		closed, err := column[string](ctx, &e.src, `SELECT nspname FROM pg_catalog.pg_namespace
			WHERE nspname = ANY ($1) AND NOT pg_catalog.has_schema_privilege(oid, 'USAGE') ORDER BY 1`, schemas)
		if err != nil {
			return finding{}, err
		}
		return failed(fmt.Sprintf("%s may not read %s", ident(e.src.role), enumerate(names(unreadable))),
			grants(e.src.role, "SELECT", "SEQUENCE", closed, unreadable))
	}
	return passed("all %s", count(len(e.inv.Sequences), "sequence", "sequences"))
}

// rowSecurity finds tables of which the role would see only some rows.
func rowSecurity(ctx context.Context, e *env) (finding, error) {
	if e.src.version < 90500 {
		return passed("this version has none")
	}
	hidden, err := lacking(ctx, &e.src, e.tableOIDs(), "pg_catalog.row_security_active(c.oid)")
	if err != nil {
		return finding{}, err
	}
	if len(hidden) > 0 {
		return failed(fmt.Sprintf("policies hide rows from %s in %s", ident(e.src.role), enumerate(names(hidden))),
			fmt.Sprintf("ALTER ROLE %s BYPASSRLS;", ident(e.src.role)))
	}
	return passed("no policy hides rows")
}

// published are the tables a publication must name: of a partition tree the
// topmost, where servers can publish it, and leaves with a filter or a list of columns.
func published(inv *schema.Inventory) []uint32 {
	oids := []uint32{}
	for _, t := range inv.Tables {
		byRoot := inv.Version >= 130000 && t.Root != t.Name && inv.Table(t.Root) != nil
		if !t.Unlogged && (!byRoot || t.Filter != "" || len(t.Omitted) > 0) {
			oids = append(oids, t.OID)
		}
	}
	return oids
}

func createPublication(ctx context.Context, e *env) (finding, error) {
	plugin, why, err := e.plugin(ctx)
	switch {
	case err != nil:
		return finding{}, err
	case plugin == PluginTestDecoding:
		return passed("not needed: %s", why)
	case e.src.version < oldestPgoutput:
		return failed("this version has no publications", "Leave the option decoder at auto.")
	}
	found, fix, err := e.publishing(ctx)
	if err != nil {
		return finding{}, err
	}
	if len(found) > 0 {
		return failed(enumerate(found), statements(fix))
	}
	return passed("%s owns the tables and may create the publication", ident(e.src.role))
}

// publishing tells what keeps the role from creating the publication, and the statements that mend it.
func (e *env) publishing(ctx context.Context) (found, fix []string, err error) {
	may, err := value[bool](ctx, &e.src, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')")
	if err != nil {
		return nil, nil, err
	}
	foreign, err := lacking(ctx, &e.src, published(e.inv), "NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')")
	if err != nil {
		return nil, nil, err
	}
	role := ident(e.src.role)
	if !may {
		found = append(found, fmt.Sprintf("%s may not create objects in the database", role))
		fix = append(fix, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s;", ident(e.in.Source.Database()), role))
	}
	if len(foreign) > 0 {
		found = append(found, fmt.Sprintf("%s does not own %s", role, enumerate(names(foreign))))
		owners, err := column[string](ctx, &e.src, `SELECT DISTINCT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c
			WHERE c.oid = ANY ($1) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1`, published(e.inv))
		if err != nil {
			return nil, nil, err
		}
		for _, owner := range owners {
			fix = append(fix, fmt.Sprintf("GRANT %s TO %s;", ident(owner), role))
		}
	}
	return found, fix, nil
}
