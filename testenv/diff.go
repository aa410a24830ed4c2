package testenv

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// maxReported is how many differences Diff describes; of the rest it tells the number.
const maxReported = 20

// pinned are the settings under which both sides write values as text. %d is extra_float_digits.
const pinned = `SET LOCAL extra_float_digits = %d; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
SET LOCAL TimeZone = 'UTC'; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; SET LOCAL search_path = '';
SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL client_encoding = '%s'`

// Diff compares tables of two databases row by row and returns what differs, described for a human, at most twenty
// differences and the number of further ones. tables are quoted, qualified names; nil means every table of a outside the
// schema pgsyncd, of partitioned tables the roots.
//
// A table is a multiset of rows, so keys are not needed and duplicates count. Every column is compared as the text that
// its type's output function writes, under the same settings on both sides; a column is found by its name, whatever its
// place. Where only one side is older than version 12, the two write floats differently: columns of such types are compared
// bit by bit then, floats inside arrays, composites and geometric values to 15 digits.
//
// Each side is read in one transaction with one snapshot, in memory of a few rows. The sessions must be idle.
func Diff(ctx context.Context, a, b *pgx.Conn, tables []string) (differences []string, err error) {
	d := differ{a: side{conn: a, name: "a"}, b: side{conn: b, name: "b"}}
	if err := d.begin(ctx); err != nil {
		return nil, fmt.Errorf("diff: %w", err)
	}
	defer func() { err = errors.Join(err, d.a.end(ctx), d.b.end(ctx)) }()
	if tables == nil {
		if tables, err = userTables(ctx, &d.a); err != nil {
			return nil, fmt.Errorf("diff: list tables: %w", err)
		}
	}
	for _, table := range tables {
		if err := d.table(ctx, table); err != nil {
			return nil, fmt.Errorf("diff %s: %w", table, err)
		}
	}
	if d.more > 0 {
		d.found = append(d.found, fmt.Sprintf("… and %d more differences", d.more))
	}
	return d.found, nil
}

// MustEqual fails the test when Diff finds a difference.
func MustEqual(tb testing.TB, a, b *pgx.Conn, tables ...string) {
	tb.Helper()
	differences, err := Diff(tb.Context(), a, b, tables)
	if err != nil {
		tb.Fatal(err)
	}
	if len(differences) > 0 {
		tb.Fatalf("the databases differ:\n%s", strings.Join(differences, "\n"))
	}
}

type differ struct {
	a, b    side
	recode  bool     // the databases' encodings differ: rows are hashed as UTF-8
	bits    bool     // the servers write floats differently
	found   []string // at most maxReported
	more    int      // differences beyond those
	current string   // table
}

// side is one database.
type side struct {
	conn     *pgx.Conn
	name     string
	num      int // server_version_num
	encoding string
}

func (d *differ) begin(ctx context.Context) error {
	for _, s := range []*side{&d.a, &d.b} {
		err := s.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')").Scan(&s.num, &s.encoding)
		if err != nil {
			return err
		}
	}
	digits := 3
	if d.bits = (d.a.num < 120000) != (d.b.num < 120000); d.bits {
		digits = 0
	}
	d.recode = d.a.encoding != d.b.encoding
	for _, s := range []*side{&d.a, &d.b} {
		encoding := s.encoding // no conversion: invalid bytes of SQL_ASCII included
		if d.recode {
			encoding = "UTF8"
		}
		sql := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " + fmt.Sprintf(pinned, digits, encoding)
		if err := s.conn.PgConn().Exec(ctx, sql).Close(); err != nil {
			return err
		}
	}
	return nil
}

func (s *side) end(ctx context.Context) error {
	if s.conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	return s.conn.PgConn().Exec(context.WithoutCancel(ctx), "ROLLBACK").Close()
}

func (d *differ) report(format string, args ...any) {
	if len(d.found) == maxReported {
		d.more++
		return
	}
	d.found = append(d.found, d.current+": "+fmt.Sprintf(format, args...))
}

// table compares one table: its columns, and the rows in the columns that both sides have.
func (d *differ) table(ctx context.Context, table string) error {
	d.current = table
	ra, err := describe(ctx, &d.a, table)
	if err != nil {
		return err
	}
	rb, err := describe(ctx, &d.b, table)
	if err != nil {
		return err
	}
	for _, r := range []struct {
		*relation
		side string
	}{{ra, "a"}, {rb, "b"}} {
		if r.relation == nil {
			d.report("missing in %s", r.side)
		}
	}
	if ra == nil || rb == nil {
		return nil
	}
	var common []string
	for _, c := range ra.columns {
		if slices.Contains(rb.columns, c) {
			common = append(common, c)
		} else {
			d.report("column %s only in a", c)
		}
	}
	for _, c := range rb.columns {
		if !slices.Contains(ra.columns, c) {
			d.report("column %s only in b", c)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	rowsA := stream(ctx, group, &d.a, ra.query(common, d.recode, d.bits))
	rowsB := stream(ctx, group, &d.b, rb.query(common, d.recode, d.bits))
	group.Go(func() error {
		err := d.merge(rowsA, rowsB, common)
		rowsA.stop(err)
		rowsB.stop(err)
		return err
	})
	return group.Wait()
}

// lines are the rows of one side, in the order of their hash, which they begin with.
type lines struct {
	pipe *io.PipeReader
	buf  *bufio.Reader
}

// stream copies the rows of sql out.
func stream(ctx context.Context, group *errgroup.Group, s *side, sql string) *lines {
	read, write := io.Pipe()
	group.Go(func() error {
		buffered := bufio.NewWriterSize(write, 256<<10)
		_, err := s.conn.PgConn().CopyTo(ctx, buffered, sql)
		if err == nil {
			err = buffered.Flush()
		}
		if err != nil {
			err = fmt.Errorf("read %s: %w", s.name, err)
		}
		_ = write.CloseWithError(err)
		return err
	})
	return &lines{pipe: read, buf: bufio.NewReaderSize(read, 256<<10)}
}

func (l *lines) stop(err error) { _ = l.pipe.CloseWithError(err) }

// next is nil after the last row.
func (l *lines) next() ([]byte, error) {
	line, err := l.buf.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return bytes.TrimSuffix(line, []byte("\n")), err
}

// merge walks both sides in the order of the rows' hashes. Equal rows have equal hashes; that rows of one hash could differ
// and come in different order on the two sides is not to be feared of MD5 without an adversary.
func (d *differ) merge(a, b *lines, columns []string) error {
	rowA, err := a.next()
	if err != nil {
		return err
	}
	rowB, err := b.next()
	if err != nil {
		return err
	}
	for rowA != nil || rowB != nil {
		order := bytes.Compare(rowA, rowB)
		if rowA == nil {
			order = 1
		} else if rowB == nil {
			order = -1
		}
		if order < 0 {
			d.report("row only in a: %s", describeRow(rowA, columns))
		}
		if order > 0 {
			d.report("row only in b: %s", describeRow(rowB, columns))
		}
		if order <= 0 {
			if rowA, err = a.next(); err != nil {
				return err
			}
		}
		if order >= 0 {
			if rowB, err = b.next(); err != nil {
				return err
			}
		}
	}
	return nil
}

// describeRow turns a line of COPY's text format, after the hash, into name=value pairs with long values cut.
func describeRow(line []byte, columns []string) string {
	const longest = 100
	values := strings.Split(string(line), "\t")[1:]
	for i, v := range values {
		if len(v) > longest {
			v = fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(v[:longest], ""), len(v))
		}
		values[i] = columns[i] + "=" + v
	}
	return strings.Join(values, ", ")
}
