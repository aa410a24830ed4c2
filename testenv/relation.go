package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// relation is a table as one side has it.
type relation struct {
	from    string            // what to select from: inherited tables alone, partitioned ones with all partitions
	columns []string          // quoted, in order
	types   map[string]string // by column
}

// describe returns nil for a table that does not exist.
func describe(ctx context.Context, s *side, table string) (*relation, error) {
	literal := quoteLiteral(table)
	var kind *string
	err := s.conn.QueryRow(ctx, "SELECT (SELECT relkind::text FROM pg_class WHERE oid = to_regclass("+literal+"))").Scan(&kind)
	if err != nil || kind == nil {
		return nil, err
	}
	r := &relation{from: table, types: map[string]string{}}
	if *kind == "r" {
		r.from = "ONLY " + table
	}
	rows, err := s.conn.Query(ctx, `SELECT quote_ident(attname), atttypid::regtype::text FROM pg_attribute
		WHERE attrelid = to_regclass(`+literal+`) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`)
	if err != nil {
		return nil, err
	}
	var name, typ string
	_, err = pgx.ForEachRow(rows, []any{&name, &typ}, func() error {
		r.columns = append(r.columns, name)
		r.types[name] = typ
		return nil
	})
	return r, err
}

// query reads the given columns, each row preceded by its hash and ordered by it. The hash must not depend on the
// database's encoding where that of the other side is another one; where exactFloats, floats are written as bits.
func (r *relation) query(columns []string, recode, exactFloats bool) string {
	values := make([]string, len(columns))
	for i, c := range columns {
		values[i] = c
		send := map[string]string{"real": "float4send", "double precision": "float8send"}[r.types[c]]
		if exactFloats && send != "" {
			values[i] = fmt.Sprintf("CASE WHEN %s = 'NaN' THEN 'NaN' ELSE encode(%s(%s), 'hex') END", c, send, c)
		}
	}
	list := strings.Join(values, ", ")
	hash := "ROW(" + list + ")::text"
	if recode {
		hash = "convert_to(" + hash + ", 'UTF8')"
	}
	all := strings.Join(append([]string{"md5(" + hash + `) COLLATE "C"`}, values...), ", ")
	return fmt.Sprintf("COPY (SELECT %s FROM %s ORDER BY 1) TO STDOUT", all, r.from)
}

// userTables lists what Diff compares unless told otherwise: no partitions, whose rows their root shows; nothing that
// belongs to an extension.
func userTables(ctx context.Context, s *side) ([]string, error) {
	notPartition := ""
	if s.num >= 100000 {
		notPartition = "AND NOT c.relispartition"
	}
	return column(ctx, s.conn, `SELECT format('%I.%I', n.nspname, c.relname)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgsyncd')
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
		`+notPartition+` ORDER BY 1`)
}

// DiffSequences compares position and definition of every sequence of a outside the schema pgsyncd with b's. margin is
// how far b's are expected to be ahead in the direction of their increment, 0 for equality.
func DiffSequences(ctx context.Context, a, b *pgx.Conn, margin int64) ([]string, error) {
	names, err := column(ctx, a, `SELECT format('%I.%I', n.nspname, c.relname)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'S' AND n.nspname !~ '^pg_' AND n.nspname <> 'pgsyncd' ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("diff sequences: %w", err)
	}
	var differences []string
	for _, name := range names {
		sa, err := readSequence(ctx, a, name)
		if err != nil {
			return nil, fmt.Errorf("diff sequence %s: %w", name, err)
		}
		sb, err := readSequence(ctx, b, name)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			differences = append(differences, name+": missing in b")
			continue
		case err != nil:
			return nil, fmt.Errorf("diff sequence %s: %w", name, err)
		}
		want := *sa
		if margin != 0 {
			if sa.increment < 0 {
				want.last -= margin
			} else {
				want.last += margin
			}
			want.called = sb.called // the next value may be given out or not, the margin covers both
		}
		if want != *sb {
			differences = append(differences, fmt.Sprintf("%s: a has %+v, b has %+v (expected margin %d)", name, *sa, *sb, margin))
		}
	}
	return differences, nil
}

// sequence is a sequence's state and the part of its definition that all versions show.
type sequence struct {
	last             int64
	called           bool
	increment        int64
	minimum, maximum int64
	cycle            bool
}

// readSequence returns pgx.ErrNoRows for a sequence that does not exist.
func readSequence(ctx context.Context, conn *pgx.Conn, name string) (*sequence, error) {
	var num int
	var exists bool
	err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, to_regclass("+quoteLiteral(name)+") IS NOT NULL").Scan(&num, &exists)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, pgx.ErrNoRows
	}
	sql := "SELECT last_value, is_called, increment_by, min_value, max_value, is_cycled FROM " + name
	if num >= 100000 {
		sql = "SELECT last_value, is_called, seqincrement, seqmin, seqmax, seqcycle FROM pg_sequence, " + name +
			" WHERE seqrelid = to_regclass(" + quoteLiteral(name) + ")"
	}
	var s sequence
	if err := conn.QueryRow(ctx, sql).Scan(&s.last, &s.called, &s.increment, &s.minimum, &s.maximum, &s.cycle); err != nil {
		return nil, err
	}
	return &s, nil
}

// quoteLiteral quotes a string constant for servers with standard_conforming_strings. to_regclass took no text before
// version 9.6, and therefore no parameter.
func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
