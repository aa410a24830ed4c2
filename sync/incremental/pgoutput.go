package incremental

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// decoder turns the messages of an output plugin into events. Messages must be handed over in order, and their bytes must
// not be changed afterwards: tuples point into them.
type decoder interface {
	// decode returns the event of a message that came with a position; ok is false when the message is only for the decoder
	// itself.
	decode(ctx context.Context, at pglogrepl.LSN, data []byte) (e event, ok bool, err error)
	// passed tells that everything which committed before a position has been decoded.
	passed(at pglogrepl.LSN)
	// options are the arguments of START_REPLICATION.
	options() []string
}

// pgoutput decodes protocol version 1 of the plugin pgoutput (PostgreSQL documentation, "Logical Replication Message
// Formats"; src/backend/replication/logical/proto.c). Row messages, the bulk of a stream, are parsed here, without a
// copy of each value; the others by pglogrepl.
type pgoutput struct {
	publication string
	relations   map[uint32]*relation
	counters    *counters
	begun       *transaction
	values      [][]byte // unused rest of the block that tuples are cut from
}

func newPgoutput(publication string, c *counters) *pgoutput {
	return &pgoutput{publication: publication, relations: map[uint32]*relation{}, counters: c}
}

func (d *pgoutput) options() []string {
	return []string{
		"proto_version '1'",
		// the replication grammar has no parameters
		"publication_names " + schema.Literal(pgx.Identifier{d.publication}.Sanitize()),
	}
}

// passed has no meaning here: each message says all about its position itself.
func (d *pgoutput) passed(pglogrepl.LSN) {}

const eventSize = int(unsafe.Sizeof(event{}))

func (d *pgoutput) decode(_ context.Context, _ pglogrepl.LSN, data []byte) (event, bool, error) {
	e, ok, err := d.message(data)
	if err != nil {
		kind := "of no bytes"
		if len(data) > 0 {
			kind = fmt.Sprintf("%q", data[0])
		}
		return event{}, false, permanentf("decode message %s of pgoutput: %w", kind, err)
	}
	e.size = eventSize + len(data) + (len(e.old)+len(e.new))*int(unsafe.Sizeof([]byte(nil)))
	return e, ok, nil
}

func (d *pgoutput) message(data []byte) (e event, ok bool, err error) {
	if len(data) == 0 {
		return e, false, errShort
	}
	switch pglogrepl.MessageType(data[0]) {
	case pglogrepl.MessageTypeInsert, pglogrepl.MessageTypeUpdate, pglogrepl.MessageTypeDelete:
		e, err = d.row(data[0], reader{data: data[1:]})
		return e, err == nil, err
	case pglogrepl.MessageTypeTruncate:
		e, err = d.truncate(reader{data: data[1:]})
		return e, err == nil, err
	case pglogrepl.MessageTypeStreamStart, pglogrepl.MessageTypeStreamStop, pglogrepl.MessageTypeStreamCommit,
		pglogrepl.MessageTypeStreamAbort:
		return e, false, errors.New("not asked for")
	default:
	}
	m, err := parse(data)
	if err != nil {
		return e, false, err
	}
	return d.control(m)
}

// parse calls pglogrepl's parsers, which index beyond the end of a message that is cut short.
func parse(data []byte) (m pglogrepl.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, errShort
		}
	}()
	return pglogrepl.Parse(data)
}

func (d *pgoutput) control(m pglogrepl.Message) (e event, ok bool, err error) {
	switch m := m.(type) {
	case *pglogrepl.BeginMessage:
		if d.begun != nil {
			return e, false, errors.New("begin inside a transaction")
		}
		d.begun = &transaction{start: m.FinalLSN, at: m.FinalLSN, time: m.CommitTime, xid: m.Xid}
		return event{kind: kindBegin, tx: d.begun}, true, nil
	case *pglogrepl.CommitMessage:
		if d.begun == nil || d.begun.start != m.CommitLSN || m.TransactionEndLSN < m.CommitLSN {
			return e, false, fmt.Errorf("commit at %s to %s fits no begin", m.CommitLSN, m.TransactionEndLSN)
		}
		tx := *d.begun
		tx.end, d.begun = m.TransactionEndLSN, nil
		return event{kind: kindCommit, tx: &tx}, true, nil
	case *pglogrepl.RelationMessage:
		d.define(m)
		return e, false, nil
	case *pglogrepl.OriginMessage, *pglogrepl.TypeMessage, *pglogrepl.LogicalDecodingMessage:
		return e, false, nil
	}
	return e, false, fmt.Errorf("message %s is unknown", m.Type())
}

// truncate is parsed here because pglogrepl reserves memory for as many relations as a message claims to have.
func (d *pgoutput) truncate(in reader) (event, error) {
	n := in.uint32()
	e := event{kind: kindTruncate, restart: in.byte()&pglogrepl.TruncateOptionRestartIdentity != 0}
	if in.short || n == 0 || int64(n)*4 != int64(len(in.data)) {
		return e, errShort
	}
	for range n {
		oid := in.uint32()
		r := d.relations[oid]
		if r == nil {
			return e, fmt.Errorf("relation %d was never described", oid)
		}
		r.counter.received.Add(1)
		e.truncated = append(e.truncated, r)
	}
	return e, d.inside()
}

func (d *pgoutput) inside() error {
	if d.begun == nil {
		return errors.New("change outside a transaction")
	}
	return nil
}

// define notes a relation. The server describes a relation again whenever anything about it may have changed; a shape that
// did not change stays the same relation.
func (d *pgoutput) define(m *pglogrepl.RelationMessage) {
	r := &relation{oid: m.RelationID, name: schema.Name{Schema: m.Namespace, Name: m.RelationName}, identity: m.ReplicaIdentity}
	if r.name.Schema == "" {
		r.name.Schema = "pg_catalog" // as the protocol abbreviates it
	}
	for _, c := range m.Columns {
		r.columns = append(r.columns, column{name: c.Name, key: c.Flags&1 != 0, typeOID: c.DataType, typmod: c.TypeModifier})
	}
	if known := d.relations[r.oid]; known != nil && known.same(r) {
		return
	}
	r.counter = d.counters.of(r.name)
	d.relations[r.oid] = r
}

func (d *pgoutput) row(message byte, in reader) (event, error) {
	oid := in.uint32()
	r := d.relations[oid]
	if in.short || r == nil {
		return event{}, fmt.Errorf("relation %d was never described", oid)
	}
	e := event{relation: r}
	part := in.byte()
	if (part == oldKey || part == oldRow) && message != 'I' {
		e.oldKind = part
		e.old = d.tuple(&in, r)
		if message == 'U' {
			part = in.byte()
		}
	}
	if message != 'D' {
		if part != 'N' {
			return event{}, fmt.Errorf("%s: tuple of kind %q", r.name, part)
		}
		e.new = d.tuple(&in, r)
	}
	switch {
	case in.short:
		return event{}, fmt.Errorf("%s: %w", r.name, errShort)
	case len(in.data) > 0:
		return event{}, fmt.Errorf("%s: %d bytes too many", r.name, len(in.data))
	case message == 'D' && e.oldKind == oldNone:
		return event{}, fmt.Errorf("%s: tuple of kind %q", r.name, part)
	}
	e.kind = rowKinds[message]
	r.counter.received.Add(1)
	return e, d.inside()
}

var rowKinds = map[byte]kind{'I': kindInsert, 'U': kindUpdate, 'D': kindDelete}

// tuple reads as many values as the relation has columns.
func (d *pgoutput) tuple(in *reader, r *relation) tuple {
	n := int(in.uint16())
	if n != len(r.columns) {
		in.short = true
		return nil
	}
	if len(d.values) < n {
		d.values = make([][]byte, max(n, 2048))
	}
	t := tuple(d.values[:n:n])
	d.values = d.values[n:]
	for i := range t {
		switch in.byte() {
		case pglogrepl.TupleDataTypeNull:
			t[i] = nil
		case pglogrepl.TupleDataTypeToast:
			t[i] = unchanged
		case pglogrepl.TupleDataTypeText:
			t[i] = in.bytes(int(in.uint32()))
		default:
			in.short = true
		}
	}
	return t
}

var errShort = errors.New("malformed or cut short")

// reader consumes a message. After a read beyond the end it returns zeros and short is true.
type reader struct {
	data  []byte
	short bool
}

// bytes returns the next n bytes, never nil.
func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.short, r.data = true, nil
		return []byte{}
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.bytes(2); len(b) == 2 {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}
