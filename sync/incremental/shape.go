package incremental

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// shape is a relation together with what test_decoding writes before each of its columns.
type shape struct {
	*relation
	labels  [][]byte
	types   []string
	notNull []bool
	keys    int // columns of the replica identity, when it is not all of them
}

// newTuple reads a whole row. Tables WITH OIDS, before 12, have one more column in front.
func (s *shape) newTuple(in *text, row tuple) error {
	if in.skip(oidLabel) {
		if _, ok := in.value(); !ok {
			return errShort
		}
	}
	for i, l := range s.labels {
		if !bytes.HasPrefix(in.rest, l) {
			return errShape
		}
		in.rest = in.rest[len(l):]
		v, ok := in.value()
		if !ok {
			return errShort
		}
		row[i] = v
	}
	if len(in.rest) > 0 {
		return errShape
	}
	return nil
}

const (
	oidLabel = " oid[oid]:"
	newLabel = " new-tuple:"
)

// oldTuple reads an old row up to its end or to newLabel. NULLs are left out. The columns that are there tell whether the
// replica identity is what the catalogs say: a row comes whole, a key never has NULLs.
func (s *shape) oldTuple(in *text, row tuple) error {
	if in.skip(oidLabel) {
		if _, ok := in.value(); !ok {
			return errShort
		}
	}
	next, keys := 0, 0
	for len(in.rest) > 0 && !bytes.HasPrefix(in.rest, []byte(newLabel)) {
		for next < len(s.labels) && !bytes.HasPrefix(in.rest, s.labels[next]) {
			if s.identity == 'f' && s.notNull[next] {
				return errShape
			}
			next++
		}
		if next == len(s.labels) {
			return errShape
		}
		in.rest = in.rest[len(s.labels[next]):]
		v, ok := in.value()
		if !ok {
			return errShort
		}
		if !s.columns[next].key {
			return errShape
		}
		keys++
		row[next] = v
		next++
	}
	if s.identity != 'f' {
		if keys == 0 || keys != s.keys {
			return errShape
		}
		return nil
	}
	if slices.Contains(s.notNull[next:], true) {
		return errShape
	}
	return nil
}

// shapesSQL reads tables as the catalogs have them now: all of them, or the one with that name. The places are for whether it is
// a partition, and how many columns of an index are its key.
const shapesSQL = `
	SELECT n.nspname, c.relname, c.oid, c.relkind::text, c.relreplident::text, %s,
		coalesce(a.attname, ''), coalesce(a.atttypid, 0), coalesce(a.atttypmod, -1), coalesce(pg_catalog.format_type(a.atttypid, NULL), ''),
		coalesce(a.attnotnull, false), coalesce(pg_catalog.quote_ident(a.attname) || '[' || pg_catalog.format_type(a.atttypid, NULL) || ']:', ''),
		c.relreplident = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_index i
			WHERE i.indrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.%s - 1]) AND i.indisvalid AND i.indimmediate
			AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident))
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384 AND ($1 = '' OR n.nspname = $1 AND c.relname = $2)
	ORDER BY c.oid, a.attnum`

// readShapes reads the tables of that name, or all of them for the empty name. Partitioned tables, which hold no rows, come
// without columns.
func readShapes(ctx context.Context, conn *pgx.Conn, version int, name schema.Name) (map[schema.Name]*shape, error) {
	partition, keys := "false", "indnatts"
	if version >= 100000 {
		partition = "c.relispartition"
	}
	if version >= 110000 {
		keys = "indnkeyatts"
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(shapesSQL, partition, keys), name.Schema, name.Name)
	if err != nil {
		return nil, fmt.Errorf("read tables of the source: %w", err)
	}
	shapes := map[schema.Name]*shape{}
	var n schema.Name
	var oid uint32
	var kind, identity, typeName, label string
	var below, notNull bool
	var c column
	_, err = pgx.ForEachRow(rows, []any{
		&n.Schema, &n.Name, &oid, &kind, &identity, &below, &c.name, &c.typeOID, &c.typmod, &typeName, &notNull, &label, &c.key,
	}, func() error {
		s := shapes[n]
		if s == nil {
			s = &shape{relation: &relation{oid: oid, name: n, identity: identity[0], partition: below}}
			shapes[n] = s
		}
		if kind == "p" {
			s.identity = 'p'
		}
		if kind == "p" || c.name == "" {
			return nil
		}
		s.add(c, []byte(" "+label), typeName, notNull)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tables of the source: %w", err)
	}
	return shapes, nil
}

func (s *shape) add(c column, label []byte, typeName string, notNull bool) {
	s.columns = append(s.columns, c)
	s.labels = append(s.labels, label)
	s.types = append(s.types, typeName)
	s.notNull = append(s.notNull, notNull)
	if c.key && s.identity != 'f' {
		s.keys++
	}
}

// find returns the position of the column with that name and type, -1 when there is none.
func (s *shape) find(l label) int {
	for i, c := range s.columns {
		if c.name == l.name && s.types[i] == l.typeName {
			return i
		}
	}
	return -1
}

// compose makes the shape of a row with these labels. Rows may be older than the catalogs, whose word counts for the columns that
// still are what they were; of the others the type is known by its name, its modifier at best by what was read earlier.
func (d *testDecoding) compose(ctx context.Context, labels []label, now, earlier *shape) (*shape, error) {
	r := &relation{oid: now.oid, name: now.name, identity: now.identity, partition: now.partition}
	s := &shape{relation: r}
	for _, l := range labels {
		if l.name == "oid" && l.typeName == "oid" && now.find(l) < 0 {
			continue // of a table WITH OIDS
		}
		raw := slices.Clone(l.raw)
		if i := now.find(l); i >= 0 {
			s.add(now.columns[i], raw, l.typeName, now.notNull[i])
			continue
		}
		c := column{name: l.name, typmod: -1, key: r.identity == 'f'}
		if i := earlier.find(l); i >= 0 {
			c.typeOID, c.typmod = earlier.columns[i].typeOID, earlier.columns[i].typmod
		} else {
			err := d.catalog.QueryRow(ctx, `SELECT t.oid FROM pg_catalog.pg_type t WHERE pg_catalog.format_type(t.oid, NULL) = $1`, l.typeName).Scan(&c.typeOID)
			if errors.Is(err, pgx.ErrNoRows) {
				return d.unreadable(now.name, "type "+l.typeName+" of column "+l.name+" does not exist any more in the source"), nil
			}
			if err != nil {
				return nil, fmt.Errorf("look for type %s: %w", l.typeName, err)
			}
		}
		s.add(c, raw, l.typeName, false)
	}
	if s.identity != 'f' && s.keys != now.keys {
		return d.unreadable(now.name, "columns of its replica identity have changed since"), nil
	}
	return s, nil
}

// unreadable is a table whose changes cannot be understood. That is no fault as long as nobody wants them.
func (d *testDecoding) unreadable(name schema.Name, why string) *shape {
	return &shape{relation: &relation{name: name, counter: d.counters.of(name), unreadable: why}}
}
