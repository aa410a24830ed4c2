package precheck

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var extensionChecks = []check{
	{"extensions", "extensions", source | destination | inventory, copied, extensions},
	{"extensions", "member tables", source, always, memberTables},
}

// isMember recognizes the reason by which the inventory leaves out what belongs to
// an extension.
func isMember(reason string) bool { return strings.HasPrefix(reason, "member of extension") }

// extension is one of the source's, and what the destination has of it.
type extension struct {
	Name, Version string
	Schema        string
	available     string // version that CREATE EXTENSION would install; empty: none
	installed     string
	restricted    bool // only a superuser may create it
}

func extensions(ctx context.Context, e *env) (finding, error) {
	// A task brings those of its schemas, and needs those whose types its columns have.
	types, err := e.userTypes(ctx)
	if err != nil {
		return finding{}, err
	}
	var needed []string
	for _, t := range types {
		needed = append(needed, t.Extension)
	}
	type row struct{ Name, Version, Schema string }
	wanted, err := read[row](ctx, &e.src, `SELECT x.extname::text, x.extversion, n.nspname::text FROM pg_catalog.pg_extension x
		JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace WHERE x.extname <> 'plpgsql' ORDER BY 1`)
	if err != nil {
		return finding{}, err
	}
	wanted = slices.DeleteFunc(wanted, func(r row) bool { return !e.takesSchema(r.Schema) && !slices.Contains(needed, r.Name) })
	var missing, forbidden, older, fix, list []string
	for _, w := range wanted {
		x := extension{Name: w.Name, Version: w.Version, Schema: w.Schema}
		if err := x.lookUp(ctx, e); err != nil {
			return finding{}, err
		}
		have := x.installed
		if have == "" {
			have = x.available
		}
		switch {
		case have == "":
			missing = append(missing, ident(x.Name)+" "+x.Version)
		case x.installed == "" && x.restricted && !e.dst.superuser:
			forbidden = append(forbidden, ident(x.Name))
			fix = append(fix, fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %[1]s; CREATE EXTENSION %[2]s SCHEMA %[1]s;", ident(x.Schema), ident(x.Name)))
		case olderThan(have, x.Version):
			older = append(older, fmt.Sprintf("%s %s instead of %s", ident(x.Name), have, x.Version))
		}
		list = append(list, x.Name)
	}
	switch {
	case len(missing) > 0:
		return failed("not installed on the destination's machine: "+enumerate(missing),
			"Install their packages there, or select tables instead of FOR ALL.")
	case len(forbidden) > 0:
		return failed(fmt.Sprintf("%s may not create %s", ident(e.dst.role), enumerate(forbidden)),
			"As a superuser, in the destination database:\n"+statements(fix))
	case len(older) > 0:
		return confirm("the destination has older versions: "+enumerate(older), "Install newer packages there, and ALTER EXTENSION … UPDATE where it exists.")
	case len(list) == 0:
		return passed("none but plpgsql")
	}
	return passed("available: %s", enumerate(list))
}

func (x *extension) lookUp(ctx context.Context, e *env) error {
	var available, installed *string
	err := e.dst.conn.QueryRow(ctx, `SELECT (SELECT default_version::text FROM pg_catalog.pg_available_extensions WHERE name = $1),
		(SELECT extversion FROM pg_catalog.pg_extension WHERE extname = $1)`, x.Name).Scan(&available, &installed)
	if err != nil {
		return err
	}
	if installed != nil && !e.creating {
		x.installed = *installed
	}
	if available == nil {
		return nil
	}
	x.available = *available
	restricted := "superuser"
	if e.dst.version >= 130000 {
		restricted = `superuser AND NOT (trusted AND ($2 OR pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')))`
	} else {
		restricted += " AND $2 IS NOT NULL"
	}
	list, err := column[bool](ctx, &e.dst, "SELECT "+restricted+` FROM pg_catalog.pg_available_extension_versions
		WHERE name = $1 AND version = (SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = $1)`, x.Name, e.creating)
	x.restricted = len(list) == 1 && list[0]
	return err
}

// olderThan compares versions number by number; what is no number is equal.
func olderThan(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		if errX != nil || errY != nil {
			return false
		}
		if x != y {
			return x < y
		}
	}
	return len(as) < len(bs)
}

// memberTables warns of tables whose rows come with CREATE EXTENSION, and those
// that users added do not.
func memberTables(ctx context.Context, e *env) (finding, error) {
	type row struct{ Schema, Table string }
	tables, err := read[row](ctx, &e.src, `SELECT n.nspname::text, c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_extension x
		CROSS JOIN LATERAL pg_catalog.unnest(x.extconfig) AS m (oid) JOIN pg_catalog.pg_class c ON c.oid = m.oid
		JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
		WHERE c.relkind = 'r' ORDER BY 2`)
	if err != nil {
		return finding{}, err
	}
	var list []string
	for _, t := range tables {
		if e.takesSchema(t.Schema) {
			list = append(list, t.Table)
		}
	}
	if len(list) == 0 {
		return passed("no extension has tables with rows of users")
	}
	return passed("rows that users added to tables of extensions are not synchronized: %s", enumerate(list))
}
