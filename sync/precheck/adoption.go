package precheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"
)

var adoptionChecks = []check{
	{"objects", "tables of the destination", source | destination | inventory, adopted, adoptedTables},
	{"objects", "rows of the destination", source | destination | inventory, adopted, adoptedRows},
	{"objects", "keys of the destination", destination | inventory, adopted, adoptedKeys},
}

// awaited are the tables that the destination must have: all whose changes are streamed, except partitions, whose rows may be
// divided there in another way or not at all.
func (e *env) awaited() []*schema.Table {
	var list []*schema.Table
	for i := range e.inv.Tables {
		if t := &e.inv.Tables[i]; !t.Unlogged && (t.Root == t.Name || e.inv.Table(t.Root) == nil) {
			list = append(list, t)
		}
	}
	return list
}

// adoptedTables tells whether the destination has the tables, with columns that can take the changes.
func adoptedTables(ctx context.Context, e *env) (finding, error) {
	existing, err := e.existingTables(ctx)
	if err != nil {
		return finding{}, err
	}
	var missing []string
	for _, t := range e.awaited() {
		if existing.Table(t.Target) == nil {
			missing = append(missing, t.Target.String())
		}
	}
	wrong, err := e.misfits(ctx, existing)
	if err != nil {
		return finding{}, err
	}
	switch {
	case len(missing) > 0:
		return failed("the destination lacks the tables "+enumerate(missing),
			"Bring them over with their rows (pg_dump, pg_restore), as MODE INCREMENTAL creates and copies nothing; or choose MODE FULL AND INCREMENTAL.")
	case len(wrong) > 0:
		return failed("tables of the destination do not fit: "+enumerate(wrong), "Bring their columns in line with the source.")
	}
	return passed("%s, whose columns fit", count(len(existing.Tables), "table", "tables"))
}

// adoptedRows finds tables into which nobody has brought rows. Whether the rows are the right ones only a comparison can tell.
func adoptedRows(ctx context.Context, e *env) (finding, error) {
	existing, err := e.existingTables(ctx)
	if err != nil {
		return finding{}, err
	}
	filled := func(s *side, name schema.Name, where string) (bool, error) {
		return value[bool](ctx, s, "SELECT EXISTS (SELECT FROM "+name.String()+where+")")
	}
	var found []string
	for _, t := range e.awaited() {
		if existing.Table(t.Target) == nil {
			continue // which is told elsewhere
		}
		where := ""
		if t.Filter != "" {
			where = " WHERE (" + t.Filter + "\n)" // it may end in a comment
		}
		if there, err := filled(&e.dst, t.Target, ""); err != nil {
			return finding{}, err
		} else if there {
			continue
		}
		if any, err := filled(&e.src, t.Name, where); err != nil {
			return finding{}, err
		} else if any {
			found = append(found, t.Target.String())
		}
	}
	if len(found) > 0 {
		return confirm("MODE INCREMENTAL copies no rows, and these tables are empty while those of the source are not: "+enumerate(found),
			"Bring the rows over before the start, or choose MODE FULL AND INCREMENTAL.")
	}
	return passed("no table lacks all its rows; that they are those of the source at the start is taken for granted")
}

// uniqueSQL lists the columns of each index of the tables $1 that makes sure that a row is there once only.
const uniqueSQL = `SELECT i.indrelid, pg_catalog.array_agg(a.attname::text)
	FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
		AND a.attnum = ANY ((i.indkey::int2[])[0:coalesce((pg_catalog.to_json(i) ->> 'indnkeyatts')::int, i.indnatts) - 1]) -- without INCLUDE (11)
	WHERE i.indrelid = ANY ($1) AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
	GROUP BY i.indrelid, i.indexrelid`

// adoptedKeys finds tables whose rows the destination cannot address by the key that the source sends.
func adoptedKeys(ctx context.Context, e *env) (finding, error) {
	existing, err := e.existingTables(ctx)
	if err != nil {
		return finding{}, err
	}
	there := env{inv: existing}
	type index struct {
		Table   uint32
		Columns []string
	}
	indexes, err := read[index](ctx, &e.dst, uniqueSQL, there.tableOIDs())
	if err != nil {
		return finding{}, err
	}
	var found, fix []string
	for _, t := range e.awaited() {
		own := existing.Table(t.Target)
		if own == nil || t.Key == nil {
			continue
		}
		var key []string
		for _, c := range t.Columns {
			if slices.Contains(t.Key, c.Name) {
				key = append(key, c.Target)
			}
		}
		covers := func(i index) bool {
			return i.Table == own.OID && !slices.ContainsFunc(i.Columns, func(c string) bool { return !slices.Contains(key, c) })
		}
		if !slices.ContainsFunc(indexes, covers) {
			found = append(found, own.Name.String())
			fix = append(fix, fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s);", own.Name, strings.Join(quoted(key), ", ")))
		}
	}
	if len(found) > 0 {
		return confirm("without a unique index on the key that the source sends, each UPDATE and DELETE reads the whole table, and rows that are there twice "+
			"go unnoticed: "+enumerate(found), "In the destination:\n"+statements(fix))
	}
	return passed("rows are found by unique indexes")
}
