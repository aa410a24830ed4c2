package incremental

import (
	"context"
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
)

// bulkFrom is the number of rows from which COPY is faster than a set statement.
const bulkFrom = 1000

// bulk returns the rows of a batch that does nothing but insert many of them into one table, as the pieces of a large load do.
func bulk(steps []step) *fold {
	if len(steps) != 1 || len(steps[0].rows) > 0 || len(steps[0].order) != 1 {
		return nil
	}
	f := steps[0].order[0]
	if len(f.nets) < bulkFrom || len(f.nets) != f.count || len(f.t.settable()) == 0 {
		return nil
	}
	for i := range f.nets {
		if n := &f.nets[i]; !f.t.whole && n.kind != netInsert || f.t.whole && n.n != 1 {
			return nil
		}
	}
	return f
}

// load copies the rows of a fold into their table. The transaction is open.
func (a *applier) load(ctx context.Context, f *fold) error {
	columns := f.t.settable()
	rows := &copyText{rows: f.nets, columns: columns}
	tag, err := a.dst.pg.CopyFrom(ctx, rows, "COPY "+f.t.name.String()+" ("+f.t.columnList(columns)+") FROM STDIN")
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return &failure{origin: f.first, err: err}
	case err != nil:
		return err
	case tag.RowsAffected() != int64(len(f.nets)):
		return &failure{origin: f.first, rows: tag.RowsAffected()}
	}
	return nil
}

// copyText reads as COPY's text format (PostgreSQL documentation, "COPY", "Text Format").
type copyText struct {
	rows    []netChange
	columns []int
	line    []byte // unread rest
	buffer  []byte
}

// Read implements io.Reader.
func (c *copyText) Read(out []byte) (int, error) {
	n := 0
	for n < len(out) {
		if len(c.line) == 0 {
			if len(c.rows) == 0 {
				break
			}
			c.next()
		}
		copied := copy(out[n:], c.line)
		n, c.line = n+copied, c.line[copied:]
	}
	if n == 0 && len(out) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// next writes the next row.
func (c *copyText) next() {
	line := c.buffer[:0]
	for i, column := range c.columns {
		if i > 0 {
			line = append(line, '\t')
		}
		value := c.rows[0].row[column]
		if value == nil {
			line = append(line, '\\', 'N')
			continue
		}
		for _, b := range value {
			switch b {
			case '\\':
				line = append(line, '\\', '\\')
			case '\n':
				line = append(line, '\\', 'n')
			case '\r':
				line = append(line, '\\', 'r')
			case '\t':
				line = append(line, '\\', 't')
			default:
				line = append(line, b)
			}
		}
	}
	line = append(line, '\n')
	c.rows, c.buffer, c.line = c.rows[1:], line, line
}
