package compare

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"pgsyncd/catalog"

	"github.com/jackc/pgx/v5"
)

// longest is how many characters of a value are shown.
const longest = 1 << 16

// content is a row: of every column a hash of the value, and its text.
type content struct {
	hashes []int64
	texts  []*string
	cut    bool // a text is not whole
	found  bool
}

// describe reads rows that differ.
func describe(ctx context.Context, source, destination *reading, found []finding) ([]catalog.CompareRow, error) {
	var fromSource, fromDestination []entry
	for _, f := range found {
		if f.kind != catalog.RowExtra {
			fromSource = append(fromSource, f.source)
		}
		if f.kind != catalog.RowMissing {
			fromDestination = append(fromDestination, f.destination)
		}
	}
	var a, b map[rowID]content
	err := both(
		func() (err error) { a, err = source.fetch(ctx, fromSource); return err },
		func() (err error) { b, err = destination.fetch(ctx, fromDestination); return err })
	if err != nil {
		return nil, err
	}
	rows := make([]catalog.CompareRow, len(found))
	for i, f := range found {
		rows[i].Kind = f.kind
		var x, y *content
		if f.kind != catalog.RowExtra {
			row := a[f.source.id()]
			x, rows[i].SourceRow = &row, source.named(row.texts)
		}
		if f.kind != catalog.RowMissing {
			row := b[f.destination.id()]
			y, rows[i].DestinationRow = &row, source.named(row.texts)
		}
		rows[i].Shortened = x != nil && x.cut || y != nil && y.cut
		if x != nil && y != nil {
			rows[i].Columns = source.unequal(*x, *y)
		}
		if source.key != nil {
			rows[i].Key = source.keyOf(rows[i])
		}
	}
	return rows, nil
}

// rowID stands for the content of a row.
type rowID struct{ key, image int64 }

func (e entry) id() rowID { return rowID{e.key, e.image} }

// named puts the names of columns to their values.
func (r *reading) named(texts []*string) map[string]*string {
	row := make(map[string]*string, len(texts))
	for i, c := range r.columns {
		row[c.target] = texts[i]
	}
	return row
}

func (r *reading) unequal(x, y content) (names []string) {
	for i, c := range r.columns {
		if x.hashes[i] != y.hashes[i] {
			names = append(names, c.target)
		}
	}
	return names
}

func (r *reading) keyOf(row catalog.CompareRow) map[string]*string {
	values := row.SourceRow
	if values == nil {
		values = row.DestinationRow
	}
	key := make(map[string]*string, len(r.key))
	for _, c := range r.key {
		key[c.target] = values[c.target]
	}
	return key
}

// fetch reads the rows of entries, by their ctid if they have one. Those of different partitions may have the same, so what is read may
// be more than what was asked for.
func (r *reading) fetch(ctx context.Context, entries []entry) (map[rowID]content, error) {
	rows := make(map[rowID]content, len(entries))
	if len(entries) == 0 {
		return rows, nil
	}
	condition, places := "k = ANY ('{%s}'::bigint[])", make([]string, len(entries))
	for i, e := range entries {
		places[i] = strconv.FormatInt(e.key, 10)
		if r.tids {
			condition, places[i] = "t = ANY ('{%s}'::pg_catalog.tid[])", fmt.Sprintf(`"(%d,%d)"`, e.block, e.offset)
		}
		rows[e.id()] = content{}
	}
	query := "SELECT k, h, hashes, texts FROM (" + r.rows(r.contentList) + ") AS r (k, h, t, hashes, texts) WHERE " +
		fmt.Sprintf(condition, strings.Join(places, ","))
	found, err := r.conn.Query(ctx, query, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return nil, fmt.Errorf("read differing rows of %s: %w", r.what, err)
	}
	var id rowID
	var c content
	var bytes int64
	_, err = pgx.ForEachRow(found, []any{&id.key, &id.image, &c.hashes, &c.texts}, func() error {
		if _, asked := rows[id]; asked {
			c.cut, c.found = cut(c.texts), true
			rows[id] = c
		}
		for _, t := range c.texts {
			if t != nil {
				bytes += int64(len(*t))
			}
		}
		c = content{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read differing rows of %s: %w", r.what, err)
	}
	for id, c := range rows {
		if !c.found {
			return nil, fmt.Errorf("read differing rows of %s: a row was found by its content (%x) but not by its place", r.what, uint64(id.image))
		}
	}
	return rows, r.pace.took(ctx, int64(len(rows)), bytes)
}

// contentList is what fetch selects. format calls the output function of any type, where a cast could be a user's; pg_column_size is
// null for NULL only, IS NULL also for a record of them.
func (r *reading) contentList(o origin) []string {
	hashes, texts := make([]string, len(r.columns)), make([]string, len(r.columns))
	for i, c := range r.columns {
		name := pgx.Identifier{o.name(c.target)}.Sanitize()
		hashes[i] = r.hashOf(r.columns[i:i+1], o)
		texts[i] = fmt.Sprintf("CASE WHEN pg_catalog.pg_column_size(%s) IS NOT NULL THEN pg_catalog.left(pg_catalog.format('%%s', %[1]s), %d) END", name, longest+1)
	}
	return []string{
		r.keyHash(o), r.imageHash(o), r.tid(),
		"ARRAY[" + strings.Join(hashes, ", ") + "]::bigint[]", "ARRAY[" + strings.Join(texts, ", ") + "]::text[]",
	}
}

// cut shortens texts that are too long and tells whether it did.
func cut(texts []*string) (did bool) {
	for _, t := range texts {
		if t != nil && len(*t) > longest && utf8.RuneCountInString(*t) > longest {
			_, last := utf8.DecodeLastRuneInString(*t)
			*t = (*t)[:len(*t)-last]
			did = true
		}
	}
	return did
}
