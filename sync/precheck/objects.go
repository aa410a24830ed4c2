package precheck

import (
	"context"
	"fmt"

	"pgsyncd/sync/schema"
)

var objectChecks = []check{
	{"objects", "existing objects", source | destination | database | inventory, copied, existingObjects},
	{"objects", "same-named triggers", source | destination | database | inventory, copied, sameNamedTriggers},
	{"objects", "deferrable keys", source | inventory, copied, deferrableKeys},
	{"objects", "unsupported objects", inventory, copied, unsupportedObjects},
	{"objects", "large objects", source | destination, always, largeObjects},
}

// triggersSQL lists the triggers of tables: schema, table and name of each, and its definition without its table.
const triggersSQL = `SELECT n.nspname::text, c.relname::text, t.tgname::text, pg_catalog.pg_get_triggerdef(t.oid)
	FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE t.tgrelid = ANY ($1) AND NOT t.tgisinternal ORDER BY 1, 2, 3`

// trigger is a row of triggersSQL.
type trigger struct{ Schema, Table, Name, Definition string }

// sameNamedTriggers finds triggers of existing tables that keep others of the same name from being created, and triggers of
// several tables that become one.
func sameNamedTriggers(ctx context.Context, e *env) (finding, error) {
	if len(e.whole) == 0 || e.creating {
		return passed("none is synchronized, or nothing exists")
	}
	wanted, err := read[trigger](ctx, &e.src, triggersSQL, e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	existing, err := e.existingTables(ctx)
	if err != nil {
		return finding{}, err
	}
	there := env{inv: existing}
	present, err := read[trigger](ctx, &e.dst, triggersSQL, there.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	type key struct {
		table schema.Name
		name  string
	}
	taken := map[key]string{}
	if e.in.ExistingObjects != ExistingReplace {
		for _, t := range present {
			taken[key{schema.Name{Schema: t.Schema, Name: t.Table}, t.Name}] = t.Definition
		}
	}
	var found []string
	for _, t := range wanted {
		name := schema.Name{Schema: t.Schema, Name: t.Table}
		k := key{e.inv.Table(name).Target, t.Name}
		if other, ok := taken[k]; ok && other != t.Definition {
			found = append(found, fmt.Sprintf("%s ON %s", ident(t.Name), k.table))
		}
		taken[k] = t.Definition
	}
	if len(found) > 0 {
		return confirm("these exist or come from several tables, and the first of each name stays: "+enumerate(found),
			"Rename them (ALTER TRIGGER … ON … RENAME TO …), or confirm that the one that is there does what is needed.")
	}
	return passed("none")
}

// deferrableKeys concerns rows that collide: a deferrable constraint cannot be asked to let them pass.
func deferrableKeys(ctx context.Context, e *env) (finding, error) {
	shared, sources := e.in.ExistingObjects == ExistingAppend, map[schema.Name]int{}
	for _, t := range e.tables() {
		sources[t.Target]++
	}
	var oids []uint32
	for _, t := range e.tables() {
		if shared || sources[t.Target] > 1 && !t.Partition {
			oids = append(oids, t.OID)
		}
	}
	if e.in.FullConflicts != ConflictsIgnore || len(oids) == 0 {
		return passed("no rows of several tables meet whose collisions are to be ignored")
	}
	list, err := column[string](ctx, &e.src, `SELECT pg_catalog.quote_ident(c.conname) || ' of ' || c.conrelid::pg_catalog.regclass::text
		FROM pg_catalog.pg_constraint c WHERE c.conrelid = ANY ($1) AND c.condeferrable AND c.contype IN ('p', 'u', 'x') ORDER BY 1`, oids)
	if err != nil {
		return finding{}, err
	}
	if len(list) > 0 {
		return confirm("rows that collide in deferrable keys cannot be ignored and stop the full phase: "+enumerate(list),
			"Confirm that none collides, or make the keys NOT DEFERRABLE in the source (ALTER TABLE … DROP CONSTRAINT …, ADD CONSTRAINT …).")
	}
	return passed("none is deferrable")
}

func unsupportedObjects(_ context.Context, e *env) (finding, error) {
	var list, silent []string
	for _, x := range e.inv.Excluded {
		kind, name := x.Object()
		text := fmt.Sprintf("%s %s (%s)", kind, name, x.Reason)
		if schema.ExcludedSchema(x.Name.Schema) != "" || isMember(x.Reason) {
			silent = append(silent, text)
		} else {
			list = append(list, text)
		}
	}
	if len(list) > 0 {
		return confirm("not synchronized, nor any table or other object that depends on them: "+enumerate(list),
			"Create them in the destination by hand where they are needed. What was left out shows in sync_objects.")
	}
	if len(silent) > 0 {
		return passed("only parts of extensions and of system schemas: %s", enumerate(silent))
	}
	return passed("none")
}
