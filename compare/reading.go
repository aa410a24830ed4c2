package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// reading is how one side of a pair is read. Its rows may be those of several tables.
type reading struct {
	what    string // the table, for errors
	conn    *pgx.Conn
	from    []origin
	tids    bool              // its rows have a ctid, which identifies them within a transaction
	columns []column          // that are compared
	key     []column          // of these; nil for none
	hash    string            // SQL that hashes one bytea; empty when rows are only counted
	fields  map[uint32]string // SQL of the fields of a record that is hashed, by type; nil: rows are hashed by their images
	pace    *pace             // nil: as fast as possible
	brake   *brake
	total   figure // what measure found
}

// origin is a FROM clause with its condition. Columns are called there what name returns for their names in the destination.
type origin struct {
	from string
	name func(target string) string
}

// from is a table in a FROM clause. Rows of tables that inherit from it belong to those.
func from(table schema.Name, kind byte, filter string) string {
	text := table.String()
	if kind != schema.KindPartitioned {
		text = "ONLY " + text
	}
	if filter != "" {
		text += " WHERE (" + filter + "\n)" // it may end in a comment
	}
	return text
}

// rows is SQL that gives expressions for every row.
func (r *reading) rows(list func(o origin) []string) string {
	queries := make([]string, len(r.from))
	for i, o := range r.from {
		queries[i] = "SELECT " + strings.Join(list(o), ", ") + " FROM " + o.from
	}
	return strings.Join(queries, " UNION ALL ")
}

// imageHash, keyHash and tid are SQL for what identifies a row: its content, its key (without one, its content), its place.
func (r *reading) imageHash(o origin) string { return r.hashOf(r.columns, o) }

func (r *reading) keyHash(o origin) string {
	if r.key == nil {
		return r.imageHash(o)
	}
	return r.hashOf(r.key, o)
}

// hashOf is the SQL of the hash of some columns of a row.
func (r *reading) hashOf(columns []column, o origin) string {
	var fields []string
	var sent []column
	for _, c := range columns {
		if field, ok := r.fields[c.typ]; ok {
			fields = append(fields, fmt.Sprintf(field, pgx.Identifier{o.name(c.target)}.Sanitize()))
		} else {
			sent = append(sent, c)
		}
	}
	if fields == nil || len(fields) > maxFields {
		return fmt.Sprintf(r.hash, image(columns, o.name))
	}
	if sent != nil {
		fields = append(fields, image(sent, o.name))
	}
	return recordHash(fields)
}

func (r *reading) tid() string {
	if r.tids {
		return "ctid"
	}
	return "'(0,0)'::pg_catalog.tid"
}

// measure reads both sides of a pair at once. A missingError says what the destination lacks; the source is measured all the same.
func (j *job) measure(ctx context.Context, s *sides, p pair, parts []schema.Table, columns []column) (source, destination *reading, err error) {
	source, destination, err = j.readings(ctx, s, p, parts, columns)
	missing, ok := errors.AsType[*missingError](err)
	if err != nil && !ok {
		return source, destination, err
	}
	err = both(
		func() (err error) { source.total, err = source.figure(ctx); return err },
		func() (err error) {
			if missing == nil {
				destination.total, err = destination.figure(ctx)
			}
			return err
		})
	if err == nil && missing != nil {
		err = missing
	}
	return source, destination, err
}

// readings are the two sides of a pair. A missingError says what the destination lacks.
func (j *job) readings(ctx context.Context, s *sides, p pair, parts []schema.Table, columns []column) (source, destination *reading, err error) {
	source = &reading{
		what: p.name() + " in the source", conn: s.source, tids: true, columns: columns, hash: s.hash, pace: j.sourcePace, brake: j.brake,
	}
	for _, t := range parts {
		source.from = append(source.from, origin{
			from(t.Name, t.Kind, t.Filter), func(target string) string { return find(t.Columns, target).Name },
		})
	}
	kind, types, err := relation(ctx, s.destination, p.target)
	if err != nil {
		return source, nil, fmt.Errorf("find %s in the destination: %w", p.target, err)
	}
	if kind == 0 {
		return source, nil, &missingError{"table"}
	}
	missing := func(c column) bool { return types[c.target] == 0 }
	columns = slices.Clone(columns)
	if j.run.Type == TypeRows {
		columns = slices.DeleteFunc(columns, missing)
	} else if i := slices.IndexFunc(columns, missing); i >= 0 {
		return source, nil, &missingError{fmt.Sprintf("column: column %s does not exist", quoted([]string{columns[i].target}))}
	}
	for i := range columns {
		if types[columns[i].target] != columns[i].typ {
			columns[i].typ = 0
		}
	}
	source.columns, source.key = columns, key(parts, columns)
	if source.pace == nil { // else the images are made anyway, to be measured
		source.fields = s.fields
	}
	destination = &reading{
		what: p.target.String() + " in the destination", conn: s.destination, tids: kind == 'r' || kind == 'p' || kind == 'm',
		from:    []origin{{from(p.target, kind, ""), func(target string) string { return target }}},
		columns: columns, key: source.key, hash: s.hash, fields: source.fields, pace: j.destinationPace, brake: j.brake,
	}
	return source, destination, nil
}

// missingError says that the destination lacks a table or column of the source.
type missingError struct{ what string }

func (e *missingError) Error() string { return "the destination has no such " + e.what }

// relation is the pg_class.relkind of a relation, 0 when there is none, and the OIDs of its columns' types by their names.
func relation(ctx context.Context, conn *pgx.Conn, name schema.Name) (byte, map[string]uint32, error) {
	var kind string
	var columns []string
	var types []uint32
	err := conn.QueryRow(ctx, `SELECT c.relkind::text,
		ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
		ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`,
		name.Schema, name.Name).Scan(&kind, &columns, &types)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	named := make(map[string]uint32, len(columns))
	for i, c := range columns {
		named[c] = types[i]
	}
	return kind[0], named, nil
}
