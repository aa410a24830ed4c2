package precheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"
)

var compatibilityChecks = []check{
	{"compatibility", "block_size", source | destination, always, blockSize},
	{"compatibility", "lc_monetary", source | destination | inventory, always, monetary},
	{"compatibility", "encoding", source | destination | database, always, encoding},
	{"compatibility", "collation of the database", source | destination | database, always, databaseCollation},
	{"compatibility", "collations of columns", source | destination | inventory, always, columnCollations},
}

// blockSize limits how long an index entry may be.
func blockSize(ctx context.Context, e *env) (finding, error) {
	const sql = "SELECT pg_catalog.current_setting('block_size')::int"
	src, err := value[int](ctx, &e.src, sql)
	if err != nil {
		return finding{}, err
	}
	dst, err := value[int](ctx, &e.dst, sql)
	if err != nil {
		return finding{}, err
	}
	if dst < src {
		return failed(fmt.Sprintf("%d, the source has %d", dst, src), "Use a destination built with a block size that is not smaller.")
	}
	return passed("%d", dst)
}

// monetary compares what applications see; the task's own sessions read and write
// money with the same setting.
func monetary(ctx context.Context, e *env) (finding, error) {
	uses := false
	for _, t := range e.inv.Tables {
		for _, c := range t.Columns {
			uses = uses || strings.HasPrefix(c.Type, "money")
		}
	}
	if !uses {
		return passed("no column has the type money")
	}
	src, err := e.in.Source.Configured(ctx, application, "lc_monetary")
	if err != nil {
		return finding{}, err
	}
	dst, err := e.dst.endpoint.Configured(ctx, application, "lc_monetary")
	if err != nil {
		return finding{}, err
	}
	a, b := src["lc_monetary"], dst["lc_monetary"]
	if localeName(a) != localeName(b) {
		return confirm(fmt.Sprintf("applications would read money with %s instead of %s", b, a),
			fmt.Sprintf("ALTER DATABASE %s SET lc_monetary = '%s';", ident(e.in.Destination.Database()), strings.ReplaceAll(a, "'", "''")))
	}
	return passed("%s", a)
}

// localeName removes the spellings in which equal locales differ.
func localeName(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "")
	if name == "posix" {
		return "c"
	}
	return name
}

// databaseLocale is a row of pg_database.
type databaseLocale struct{ Encoding, Collate, Ctype, Provider, Locale string }

func (s *side) locale(ctx context.Context) (databaseLocale, error) {
	provider, locale := "'c'", "''"
	switch {
	case s.version >= 170000:
		provider, locale = "datlocprovider::text", "coalesce(datlocale, '')"
	case s.version >= 150000:
		provider, locale = "datlocprovider::text", "coalesce(daticulocale, '')"
	}
	list, err := read[databaseLocale](ctx, s, `SELECT pg_catalog.pg_encoding_to_char(encoding)::text, datcollate::text, datctype::text, `+provider+`, `+locale+`
		FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`)
	if err != nil {
		return databaseLocale{}, err
	}
	return list[0], nil
}

func (e *env) locales(ctx context.Context) (src, dst databaseLocale, err error) {
	if src, err = e.src.locale(ctx); err == nil {
		dst, err = e.dst.locale(ctx)
	}
	return src, dst, err
}

func encoding(ctx context.Context, e *env) (finding, error) {
	src, dst, err := e.locales(ctx)
	if err != nil {
		return finding{}, err
	}
	a, b := src.Encoding, dst.Encoding
	recreate := fmt.Sprintf("CREATE DATABASE … TEMPLATE template0 ENCODING '%s' …;", a)
	switch {
	case a == b || a != "SQL_ASCII" && b == "UTF8":
		return passed("%s to %s", a, b)
	case a == "SQL_ASCII":
		return confirm(fmt.Sprintf("the source is SQL_ASCII and may hold bytes that are not valid in %s: such a row stops the task", b),
			"Use a destination of the same encoding: "+recreate)
	case b == "SQL_ASCII":
		return confirm("the destination is SQL_ASCII and would hold text as UTF8 without knowing it", "Use a destination of the same encoding: "+recreate)
	}
	return confirm(fmt.Sprintf("characters of %s that %s does not have stop the task", a, b), "Use a destination in UTF8 or in the same encoding: "+recreate)
}

func databaseCollation(ctx context.Context, e *env) (finding, error) {
	src, dst, err := e.locales(ctx)
	if err != nil {
		return finding{}, err
	}
	if localeName(src.Collate) != localeName(dst.Collate) || localeName(src.Ctype) != localeName(dst.Ctype) {
		return confirm(fmt.Sprintf("text sorts and folds by %s/%s instead of %s/%s: the order of results and bounds of partitions may differ",
			dst.Collate, dst.Ctype, src.Collate, src.Ctype),
			fmt.Sprintf("CREATE DATABASE … TEMPLATE template0 LC_COLLATE '%s' LC_CTYPE '%s';", src.Collate, src.Ctype))
	}
	if src.Provider != dst.Provider || src.Locale != dst.Locale {
		return confirm(fmt.Sprintf("text sorts by %s %s instead of %s %s: the order of results and bounds of partitions may differ",
			providers[dst.Provider], dst.Locale, providers[src.Provider], src.Locale),
			fmt.Sprintf("CREATE DATABASE … TEMPLATE template0 LOCALE_PROVIDER %s …;", providers[src.Provider]))
	}
	return passed("%s/%s, provider %s", dst.Collate, dst.Ctype, providers[dst.Provider])
}

// columnCollations finds collations of the source's operating system or ICU that
// the destination does not know.
func columnCollations(ctx context.Context, e *env) (finding, error) {
	used, err := column[string](ctx, &e.src, `SELECT DISTINCT l.collname::text FROM pg_catalog.pg_attribute a
		JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
		WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname = 'pg_catalog' AND l.collname <> 'default'
		ORDER BY 1`, e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	missing, err := column[string](ctx, &e.dst, `SELECT w.name FROM pg_catalog.unnest($1::text[]) AS w (name)
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
			JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
			WHERE n.nspname = 'pg_catalog' AND l.collname = w.name AND l.collencoding IN (-1, d.encoding))
		ORDER BY 1`, used)
	if err != nil {
		return finding{}, err
	}
	if len(missing) > 0 {
		var fix []string
		for _, name := range missing {
			fix = append(fix, fmt.Sprintf("CREATE COLLATION pg_catalog.%s (LOCALE = '%s');", ident(name), strings.ReplaceAll(name, "'", "''")))
		}
		return failed("the destination lacks collations that columns use: "+enumerate(missing),
			"Install the locale on the destination's machine, then as a superuser SELECT pg_import_system_collations('pg_catalog'); or:\n"+statements(fix))
	}
	return e.ownCollations(ctx)
}

// providers spells pg_collation.collprovider and pg_database.datlocprovider.
var providers = map[string]string{"c": "libc", "i": "icu", "b": "builtin"}

// ownCollations are those that users of the source have made: tasks of tables do not bring them along, and a server may be
// built without ICU.
func (e *env) ownCollations(ctx context.Context) (finding, error) {
	provider, locale := "'c'", "l.collcollate::text"
	switch v := e.src.version; {
	case v >= 170000:
		provider, locale = "l.collprovider::text", "coalesce(l.colllocale, l.collcollate)"
	case v >= 150000:
		provider, locale = "l.collprovider::text", "coalesce(l.colliculocale, l.collcollate)"
	case v >= 100000:
		provider = "l.collprovider::text"
	}
	type collation struct{ Schema, Name, Provider, Locale string }
	used, err := read[collation](ctx, &e.src, `SELECT DISTINCT n.nspname::text, l.collname::text, `+provider+`, `+locale+`
		FROM pg_catalog.pg_attribute a
		JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace
		WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname <> 'pg_catalog' ORDER BY 1, 2`, e.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	icu := true
	if e.dst.version >= 100000 {
		if icu, err = value[bool](ctx, &e.dst, "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'i')"); err != nil {
			return finding{}, err
		}
	}
	var missing, fix []string
	for _, c := range used {
		name := schema.Name{Schema: e.in.Selection.TargetSchema(c.Schema), Name: c.Name}
		if c.Provider == "i" && !icu {
			return failed(fmt.Sprintf("the destination was built without ICU, which collation %s uses", name),
				"Use a destination server with ICU, or change the columns' collation in the source.")
		}
		there, err := value[bool](ctx, &e.dst, `SELECT EXISTS (SELECT FROM pg_catalog.pg_collation l
			JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace WHERE n.nspname = $1 AND l.collname = $2)`, name.Schema, name.Name)
		if err != nil {
			return finding{}, err
		}
		if there && !e.creating || slices.Contains(e.whole, c.Schema) {
			continue
		}
		missing = append(missing, name.String())
		fix = append(fix, fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s;\nCREATE COLLATION %s (PROVIDER = %s, LOCALE = %s);",
			ident(name.Schema), name, providers[c.Provider], literal(c.Locale)))
	}
	if len(missing) > 0 {
		return failed("the destination lacks collations that columns use: "+enumerate(missing),
			statements(distinct(fix)))
	}
	return passed("the destination has them all")
}
