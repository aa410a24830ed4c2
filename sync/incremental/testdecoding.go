package incremental

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// testDecoding decodes the lines of the plugin test_decoding, which every version from 9.4 on has and which needs no publication.
//
// The lines tell of no position themselves. In all versions the server sends BEGIN with the position of the transaction's first
// record, changes with their own, and COMMIT with the end of the commit record (src/backend/replication/logical/logical.c,
// begin_cb_wrapper and commit_cb_wrapper). So where the commit record starts is not known at all, and where it ends only when all
// changes have passed. That start is compared with positions in two places, to skip what the destination has: with the
// position of the stream and with those of copies. Each of these is the end of some record, and records do not overlap: a commit
// record starts before such a position if and only if it ends at or before it. Hence floor can stand for the start: it is the
// greatest position of either kind which the commit record is known to lie behind.
//   - The server itself leaves out what starts before the position that the stream was started from, commits follow in order, and
//     a keepalive tells that what lies before has been sent. So floor is at least every position that the ledger can have.
//   - For copies that are ahead of the stream, scout has noted the last transaction before each of their positions.
//
// Both are verified by each COMMIT; a transaction that lies elsewhere than assumed ends the stream before anything of it is
// committed in the destination.
type testDecoding struct {
	mu       sync.Mutex // of catalog
	catalog  *pgx.Conn
	version  int
	encoding string // of the lines, where it must be converted
	counters *counters
	read     map[schema.Name]*shape // as the catalogs had them when they were read last
	shapes   map[string]*shape      // as rows have them, by the table's name as it is written
	begun    *transaction
	floor    pglogrepl.LSN
	marks    []mark
	trees    bool            // there are partitioned tables
	fresh    map[string]bool // shapes that are known to be those of the transaction
	values   [][]byte
}

// mark is the position of a copy, and the last transaction that ends at or before it; 0: there is none.
type mark struct {
	lsn pglogrepl.LSN
	xid uint32
}

// newTestDecoding begins at a position. It reads all tables, so that those which are dropped are known while their changes come.
func newTestDecoding(ctx context.Context, catalog *pgx.Conn, version int, from pglogrepl.LSN, marks []mark, c *counters) (*testDecoding, error) {
	d := &testDecoding{
		catalog: catalog, version: version, counters: c, shapes: map[string]*shape{}, fresh: map[string]bool{}, floor: from, marks: marks,
	}
	d.cross(0)
	// A walsender does not convert what a plugin writes.
	if e := catalog.PgConn().ParameterStatus("server_encoding"); e != "UTF8" && e != "SQL_ASCII" {
		d.encoding = e
	}
	var err error
	d.read, err = readShapes(ctx, catalog, version, schema.Name{})
	for _, s := range d.read {
		d.trees = d.trees || s.identity == 'p'
	}
	return d, err
}

func (d *testDecoding) options() []string {
	return []string{"include-xids", "on", "include-timestamp", "on", "skip-empty-xacts", "off"}
}

// passed moves floor between transactions.
func (d *testDecoding) passed(at pglogrepl.LSN) {
	if d.begun != nil {
		return
	}
	d.floor = max(d.floor, at)
	for len(d.marks) > 0 && d.marks[0].lsn <= at {
		d.marks = d.marks[1:]
	}
}

// cross moves floor over the marks behind a transaction.
func (d *testDecoding) cross(xid uint32) {
	for len(d.marks) > 0 && d.marks[0].xid == xid {
		d.floor = max(d.floor, d.marks[0].lsn)
		d.marks = d.marks[1:]
	}
}

func (d *testDecoding) decode(ctx context.Context, at pglogrepl.LSN, data []byte, out func(event) error) error {
	e, ok, err := d.line(ctx, at, data)
	if err != nil {
		if errors.Is(err, errMoved) || d.catalog.IsClosed() || endpoint.SQLState(err) != "" || ctx.Err() != nil {
			return fmt.Errorf("decode test_decoding at %s: %w", at, err)
		}
		return permanentf("decode %q of test_decoding at %s: %w", brief(string(data[:min(len(data), 400)])), at, err)
	}
	if !ok {
		return nil
	}
	e.size = eventSize + len(data) + (len(e.old)+len(e.new))*int(unsafe.Sizeof([]byte(nil)))
	return out(e)
}

var errMoved = errors.New("transactions come in another order than they were seen in before")

func (d *testDecoding) line(ctx context.Context, at pglogrepl.LSN, data []byte) (e event, ok bool, err error) {
	if d.encoding != "" && !ascii(data) {
		d.mu.Lock()
		err := d.catalog.QueryRow(ctx, `SELECT pg_catalog.convert($1::bytea, $2::name, 'UTF8')`, data, d.encoding).Scan(&data)
		d.mu.Unlock()
		if err != nil {
			return e, false, fmt.Errorf("convert from %s: %w", d.encoding, err)
		}
	}
	in := text{data}
	switch {
	case in.skip("table "):
		if d.begun == nil {
			return e, false, errors.New("change outside a transaction")
		}
		return d.change(ctx, &in)
	case in.skip("BEGIN "):
		e, err = d.begin(at, string(in.rest))
		return e, err == nil, err
	case in.skip("COMMIT "):
		e, err = d.commit(at, string(in.rest))
		return e, err == nil, err
	case in.skip("message: "):
		return e, false, nil
	}
	return e, false, errors.New("line is unknown")
}

func ascii(data []byte) bool {
	for _, b := range data {
		if b >= 0x80 {
			return false
		}
	}
	return true
}

func (d *testDecoding) begin(at pglogrepl.LSN, rest string) (event, error) {
	if d.begun != nil {
		return event{}, errors.New("begin inside a transaction")
	}
	xid, err := strconv.ParseUint(rest, 10, 32)
	if err != nil {
		return event{}, fmt.Errorf("transaction: %w", err)
	}
	clear(d.fresh)
	d.begun = &transaction{start: d.floor, at: at, xid: uint32(xid)}
	return event{kind: kindBegin, tx: d.begun}, nil
}

func (d *testDecoding) commit(at pglogrepl.LSN, rest string) (event, error) {
	xid, when, err := parseCommit(rest)
	switch {
	case err != nil:
		return event{}, err
	case d.begun == nil || d.begun.xid != xid:
		return event{}, fmt.Errorf("commit of %d fits no begin", xid)
	case at <= d.floor:
		return event{}, fmt.Errorf("transaction ends at %s, but everything up to %s had been sent", at, d.floor)
	case len(d.marks) > 0 && (at > d.marks[0].lsn):
		return event{}, errMoved
	}
	tx := *d.begun
	tx.end, tx.time, d.begun = at, when, nil
	d.floor = at
	d.cross(xid)
	return event{kind: kindCommit, tx: &tx}, nil
}

// parseCommit reads what follows the word, such as "733 (at 2026-01-31 12:00:00.123456+00)".
func parseCommit(rest string) (xid uint32, when time.Time, err error) {
	number, at, found := bytes.Cut([]byte(rest), []byte(" (at "))
	n, err := strconv.ParseUint(string(number), 10, 32)
	if err != nil {
		return 0, when, fmt.Errorf("transaction: %w", err)
	}
	if !found || !bytes.HasSuffix(at, []byte(")")) {
		return 0, when, errShort
	}
	at = at[:len(at)-1]
	for _, zone := range []string{"-07", "-07:00", "-07:00:00"} {
		if when, err = time.Parse("2006-01-02 15:04:05"+zone, string(at)); err == nil {
			return uint32(n), when, nil
		}
	}
	return 0, when, fmt.Errorf("time of commit: %w", err)
}

// change decodes what follows the word table.
func (d *testDecoding) change(ctx context.Context, in *text) (e event, ok bool, err error) {
	var raws [][]byte
	for {
		raw, ok := in.relation()
		if !ok {
			return e, false, errShort
		}
		raws = append(raws, raw)
		if !in.skip(", ") {
			break
		}
	}
	if in.skip(": TRUNCATE:") {
		return d.truncate(ctx, raws, in)
	}
	if len(raws) != 1 {
		return e, false, errShort
	}
	switch {
	case in.skip(": INSERT:"):
		e.kind = kindInsert
	case in.skip(": UPDATE:"):
		e.kind = kindUpdate
	case in.skip(": DELETE:"):
		e.kind = kindDelete
	default:
		return e, false, errShort
	}
	if err = d.row(ctx, &e, raws[0], in.rest); err == nil {
		e.relation.counter.received.Add(1)
	}
	return e, err == nil, err
}

func (d *testDecoding) truncate(ctx context.Context, raws [][]byte, in *text) (e event, ok bool, err error) {
	e = event{kind: kindTruncate}
	if !in.skip(" (no-flags)") {
		e.restart = in.skip(" restart_seqs")
		in.skip(" cascade")
	}
	if len(in.rest) > 0 {
		return e, false, errShort
	}
	for _, raw := range raws {
		s, err := d.shape(ctx, raw)
		if err != nil {
			return e, false, err
		}
		if s.identity == 'p' {
			continue // its partitions are in the list too
		}
		s.counter.received.Add(1)
		e.truncated = append(e.truncated, s.relation)
	}
	return e, len(e.truncated) > 0, nil
}
