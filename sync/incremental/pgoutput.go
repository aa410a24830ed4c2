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
	// decode gives the events of a message that came with a position to out: none when the message is only for the decoder itself,
	// many when it ends a transaction that was sent before. An error of out is returned as it is.
	decode(ctx context.Context, at pglogrepl.LSN, data []byte, out func(event) error) error
	// passed tells that everything which committed before a position has been decoded.
	passed(at pglogrepl.LSN)
	// options are names and values in turn, as the plugin takes them.
	options() []string
}

// pgoutput decodes protocol versions 1 and, with a spill, 2 of the plugin pgoutput (PostgreSQL documentation, "Logical Replication
// Message Formats"; src/backend/replication/logical/proto.c). Row messages, the bulk of a stream, are parsed here, without a
// copy of each value; the others by pglogrepl.
type pgoutput struct {
	publication string
	relations   map[uint32]description // by OID; while a streamed transaction is replayed, its own
	shared      map[uint32]description // meanwhile, those of the others
	block       uint64                 // number of the last block of a streamed transaction; in a replay, of the one being replayed
	spill       *spill                 // nil: transactions come when they have committed
	counters    *counters
	begun       *transaction
	values      [][]byte // unused rest of the block that tuples are cut from
}

func newPgoutput(publication string, s *spill, c *counters) *pgoutput {
	return &pgoutput{publication: publication, spill: s, relations: map[uint32]description{}, counters: c}
}

func (d *pgoutput) options() []string {
	names := pgx.Identifier{d.publication}.Sanitize()
	if d.spill == nil {
		return []string{"proto_version", "1", "publication_names", names}
	}
	return []string{"proto_version", "2", "streaming", "on", "publication_names", names}
}

// passed has no meaning here: each message says all about its position itself.
func (d *pgoutput) passed(pglogrepl.LSN) {}

const eventSize = int(unsafe.Sizeof(event{}))

func (d *pgoutput) decode(ctx context.Context, _ pglogrepl.LSN, data []byte, out func(event) error) error {
	switch {
	case d.spill == nil || len(data) == 0 || d.begun != nil:
		return d.one(data, out)
	case d.spill.current != nil:
		return d.inBlock(data)
	}
	switch pglogrepl.MessageType(data[0]) {
	case pglogrepl.MessageTypeStreamStart:
		return d.startBlock(data)
	case pglogrepl.MessageTypeStreamAbort:
		return d.abort(data)
	case pglogrepl.MessageTypeStreamCommit:
		return d.commitStreamed(ctx, data, out)
	default:
		return d.one(data, out)
	}
}

// malformed is the error of a message that cannot be.
func malformed(data []byte, err error) error {
	kind := "of no bytes"
	if len(data) > 0 {
		kind = fmt.Sprintf("%q", data[0])
	}
	return permanentf("decode message %s of pgoutput: %w", kind, err)
}

// one decodes a message of an ordinary transaction.
func (d *pgoutput) one(data []byte, out func(event) error) error {
	e, ok, err := d.message(data)
	switch {
	case err != nil:
		return malformed(data, err)
	case !ok:
		return nil
	}
	e.size = eventSize + len(data) + (len(e.old)+len(e.new))*int(unsafe.Sizeof([]byte(nil)))
	return out(e)
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
		return e, false, errors.New("not asked for, or not here")
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
		r := d.relations[oid].relation
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
	for _, known := range []*relation{d.relations[r.oid].relation, d.shared[r.oid].relation} {
		if known != nil && known.same(r) {
			d.relations[r.oid] = description{known, d.block}
			return
		}
	}
	r.counter = d.counters.of(r.name)
	d.relations[r.oid] = description{r, d.block}
}

func (d *pgoutput) row(message byte, in reader) (event, error) {
	oid := in.uint32()
	r := d.relations[oid].relation
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

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); len(b) == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
