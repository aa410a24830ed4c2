package incremental

import (
	"context"
	"encoding/binary"
	"io"
	"math"
)

// bulkFrom is the number of rows from which COPY is faster than a set statement.
const bulkFrom = 200

// loads reports whether the rows of a set go by COPY.
func (s *setOf) loads() bool {
	return s.kind == kindInsert && len(s.nets) >= bulkFrom && len(s.columns) > 0
}

// sendLoads sends the rows that sendSets has left.
func (p *pipeline) sendLoads(ctx context.Context, f *fold, sets []setOf) {
	for i := range sets {
		if s := &sets[i]; s.loads() {
			p.load(ctx, f.t, s, f.first)
		}
	}
}

// load sends rows into a table by COPY: in binary form where all columns have one and the source sends the very type.
func (p *pipeline) load(ctx context.Context, t *target, s *setOf, origin int) {
	rows := &copyRows{nets: s.nets, columns: s.columns}
	format := ""
	if rows.forms = t.binaryForms(s.columns); rows.forms != nil {
		format = " (FORMAT binary)"
		rows.buffer = append(rows.buffer, copySignature...)
	}
	rows.rest = rows.buffer
	p.copy(ctx, rows, "COPY "+t.name.String()+" ("+t.columnList(s.columns)+") FROM STDIN"+format, int64(len(s.nets)), origin)
}

// binaryForms are those of the columns; nil when one has none.
func (t *target) binaryForms(columns []int) []binaryForm {
	if len(columns) > math.MaxInt16 {
		return nil
	}
	var forms []binaryForm
	for _, c := range columns {
		form := binaryForms[t.columns[c].typeOID]
		if form == nil || t.columns[c].typeOID != t.relation.columns[c].typeOID {
			return nil
		}
		forms = append(forms, form)
	}
	return forms
}

const (
	// copySignature begins COPY's binary format; flags and the length of an extension follow, all zero (PostgreSQL
	// documentation, "COPY", "Binary Format").
	copySignature = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	copyTrailer   = "\xff\xff"
	copyAtOnce    = 32 << 10 // bytes of rows made at a time
)

// copyRows reads as rows in COPY's text or binary format.
type copyRows struct {
	nets    []*netChange
	columns []int
	forms   []binaryForm // nil: text
	buffer  []byte
	rest    []byte // of the buffer, unread
	ended   bool
}

// Read implements io.Reader.
func (c *copyRows) Read(out []byte) (int, error) {
	if len(c.rest) == 0 {
		c.buffer = c.buffer[:0]
		for len(c.nets) > 0 && len(c.buffer) < copyAtOnce {
			row := c.nets[0].row
			c.nets = c.nets[1:]
			if c.forms == nil {
				c.buffer = appendTextRow(c.buffer, row, c.columns)
				continue
			}
			var err error
			if c.buffer, err = c.appendBinaryRow(c.buffer, row); err != nil {
				return 0, err
			}
		}
		if len(c.buffer) == 0 && c.forms != nil && !c.ended {
			c.buffer, c.ended = append(c.buffer, copyTrailer...), true
		}
		c.rest = c.buffer
	}
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(out, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *copyRows) appendBinaryRow(out []byte, row tuple) ([]byte, error) {
	out = binary.BigEndian.AppendUint16(out, uint16(len(c.columns))) // checked when the form was chosen
	for i, column := range c.columns {
		v := row[column]
		if v == nil {
			out = append(out, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		at := len(out)
		var ok bool
		if out, ok = c.forms[i](append(out, 0, 0, 0, 0), v); !ok {
			return nil, permanentf("the source sent %q, which is no value of the column's type", brief(string(v)))
		}
		binary.BigEndian.PutUint32(out[at:], uint32(len(out)-at-4)) // a value is shorter
	}
	return out, nil
}

// appendTextRow writes a row in text format (PostgreSQL documentation, "COPY", "Text Format").
func appendTextRow(out []byte, row tuple, columns []int) []byte {
	for i, column := range columns {
		if i > 0 {
			out = append(out, '\t')
		}
		if row[column] == nil {
			out = append(out, '\\', 'N')
			continue
		}
		for _, b := range row[column] {
			switch b {
			case '\\':
				out = append(out, '\\', '\\')
			case '\n':
				out = append(out, '\\', 'n')
			case '\r':
				out = append(out, '\\', 'r')
			case '\t':
				out = append(out, '\\', 't')
			default:
				out = append(out, b)
			}
		}
	}
	return append(out, '\n')
}
