package fullcopy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	// relayBuffer is what one read may take from the source. A syscall per row is what makes naive relays slow.
	relayBuffer = 256 << 10
	// maxControl bounds a message that is not row data: an error may carry the row it complains of.
	maxControl = 16 << 20
	// lastWords is how long a destination that broke off is given to say why.
	lastWords = 2 * time.Second
)

// errCount reports that something in the destination swallows rows.
var errCount = errors.New("the destination stored another number of rows than the source sent")

// relay moves the rows of one COPY TO on a source session into one COPY FROM on a destination session, both in an open
// transaction. CopyData messages have the same form in both directions (protocol, "COPY Operations"), so they are passed
// on as they come: the buffer holds whatever a read returned, and a message may be forwarded in pieces, so no row is ever
// held whole.
//
// Both sessions are used below pgconn, which sees them idle before and after. When run fails neither is in a known state
// and both must be discarded.
type relay struct {
	source, destination *pgconn.PgConn
	out, in             string // the statements
	// moving is called before n bytes with about that many rows are passed on.
	moving func(ctx context.Context, n, rows int) error

	src, dst   net.Conn
	buf        []byte
	start, end int  // unconsumed part of buf
	body       int  // bytes of the current CopyData message that have not come yet
	broken     bool // the destination takes no more
}

// run returns the number of rows, which both servers agree on.
func (r *relay) run(ctx context.Context) (rows int64, err error) {
	for _, c := range []*pgconn.PgConn{r.source, r.destination} {
		if err := c.SyncConn(ctx); err != nil {
			return 0, err
		}
	}
	r.src, r.dst, r.buf = r.source.Conn(), r.destination.Conn(), make([]byte, relayBuffer)
	halt := context.AfterFunc(ctx, func() { r.interrupt(time.Unix(1, 0)) })
	rows, err = r.converse(ctx)
	if !halt() {
		return 0, context.Cause(ctx)
	}
	return rows, err
}

// interrupt makes all reads and writes fail from then on.
func (r *relay) interrupt(then time.Time) {
	_ = r.src.SetDeadline(then)
	_ = r.dst.SetDeadline(then)
}

// converse holds the dialogue with both servers. The destination is read from a goroutine of its own, because it may refuse
// a row at any time; that goroutine has ended when converse returns.
func (r *relay) converse(ctx context.Context) (int64, error) {
	if err := write(r.dst, &pgproto3.Query{String: r.in}); err != nil {
		return 0, fmt.Errorf("destination: %w", err)
	}
	answer := answers{conn: r.dst, ready: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(answer.done)
		if answer.read(); answer.err != nil {
			_ = r.src.SetDeadline(time.Unix(1, 0))
		}
	}()
	var sent int64
	var err error
	select {
	case <-answer.done:
	case <-answer.ready:
		if sent, err = r.pump(ctx); err == nil {
			if err = write(r.dst, &pgproto3.CopyDone{}); err != nil {
				r.broken, err = true, fmt.Errorf("destination: %w", err)
			}
		}
		if err != nil {
			patience := time.Unix(1, 0)
			if r.broken {
				patience = time.Now().Add(lastWords)
			}
			r.interrupt(patience)
		}
		<-answer.done
	}
	// A complaint of the destination is the cause of what went wrong elsewhere, unless it is only that the stream ended.
	var pg *pgconn.PgError
	switch {
	case errors.As(answer.err, &pg):
		return 0, fmt.Errorf("destination: %w", answer.err)
	case err != nil:
		return 0, err
	case answer.err != nil:
		return 0, fmt.Errorf("destination: %w", answer.err)
	case answer.rows != sent:
		return 0, fmt.Errorf("%w: %d sent, %d stored", errCount, sent, answer.rows)
	}
	return sent, nil
}

// pump starts the source's COPY and forwards its rows until the source is ready for the next command.
func (r *relay) pump(ctx context.Context) (rows int64, err error) {
	if err := write(r.src, &pgproto3.Query{String: r.out}); err != nil {
		return 0, fmt.Errorf("source: %w", err)
	}
	rows = -1
	for {
		if err := r.forward(ctx); err != nil {
			return 0, err
		}
		kind, body, err := r.control()
		if err != nil {
			return 0, fmt.Errorf("source: %w", err)
		}
		switch kind {
		case 0: // more is to come
			n, err := r.src.Read(r.buf[r.end:])
			if n == 0 && err != nil {
				return 0, fmt.Errorf("source: %w", err)
			}
			r.end += n
		case 'E':
			return 0, &sourceError{serverError(body)}
		case 'C':
			rows, err = copied(body)
			if err != nil {
				return 0, fmt.Errorf("source: %w", err)
			}
		case 'Z':
			if rows < 0 {
				return 0, errors.New("source: COPY ended without a result")
			}
			return rows, nil
		}
	}
}

// forward passes on all CopyData at the front of the buffer with one write.
func (r *relay) forward(ctx context.Context) error {
	pos, rows := r.start, 0
	for pos < r.end {
		if r.body > 0 {
			n := min(r.body, r.end-pos)
			pos, r.body = pos+n, r.body-n
			continue
		}
		if r.end-pos < 5 || r.buf[pos] != 'd' {
			break
		}
		size := binary.BigEndian.Uint32(r.buf[pos+1:])
		if size < 4 || size > 1<<31-1 {
			return fmt.Errorf("source: CopyData message of impossible length %d", size)
		}
		pos, r.body, rows = pos+5, int(size)-4, rows+1
	}
	if n := pos - r.start; n > 0 {
		if err := r.moving(ctx, n, rows); err != nil {
			return err
		}
		if _, err := r.dst.Write(r.buf[r.start:pos]); err != nil {
			r.broken = true
			return fmt.Errorf("destination: %w", err)
		}
	}
	r.end = copy(r.buf, r.buf[pos:r.end])
	r.start = 0
	return nil
}

// control takes one message other than CopyData off the buffer; kind 0 means that it has not come completely, or none at
// all. body is valid until the next read.
func (r *relay) control() (kind byte, body []byte, err error) {
	kind, body, size, err := message(r.buf[r.start:r.end])
	if err != nil || kind == 0 {
		if size > len(r.buf) {
			r.buf = append(r.buf, make([]byte, size-len(r.buf))...)
		}
		return 0, nil, err
	}
	if kind == 'd' {
		return 0, nil, nil
	}
	r.start += size
	return kind, body, nil
}

// message looks at the first message in b: kind 0 when it is incomplete; size counts all its bytes as far as known.
func message(b []byte) (kind byte, body []byte, size int, err error) {
	if len(b) < 5 {
		return 0, nil, 5, nil
	}
	n := binary.BigEndian.Uint32(b[1:])
	if b[0] == 0 || n < 4 || b[0] != 'd' && n > maxControl {
		return 0, nil, 0, fmt.Errorf("message of impossible type %q or length %d", b[0], n)
	}
	size = int(n) + 1
	if len(b) < size {
		return 0, nil, size, nil
	}
	return b[0], b[5:size], size, nil
}

// answers reads what the destination says during COPY FROM.
type answers struct {
	conn  net.Conn
	ready chan struct{} // closed when it asks for rows
	done  chan struct{} // closed when it has ended; then the fields below are valid
	rows  int64
	err   error
}

func (a *answers) read() {
	buf, end := make([]byte, 8<<10), 0
	a.rows = -1
	for {
		kind, body, size, err := message(buf[:end])
		switch {
		case err != nil:
			a.err = err
			return
		case kind == 0:
			if size > len(buf) {
				buf = append(buf, make([]byte, size-len(buf))...)
			}
			n, err := a.conn.Read(buf[end:])
			if n == 0 && err != nil {
				a.err = err
				return
			}
			end += n
			continue
		case kind == 'G':
			close(a.ready)
		case kind == 'E':
			a.err = serverError(body)
			return
		case kind == 'C':
			if a.rows, a.err = copied(body); a.err != nil {
				return
			}
		case kind == 'Z':
			if a.rows < 0 {
				a.err = errors.New("COPY ended without a result")
			}
			return
		}
		end = copy(buf, buf[size:end])
	}
}

func write(conn net.Conn, m pgproto3.FrontendMessage) error {
	b, err := m.Encode(nil)
	if err == nil {
		_, err = conn.Write(b)
	}
	return err
}

func serverError(body []byte) error {
	var m pgproto3.ErrorResponse
	if err := m.Decode(body); err != nil {
		return fmt.Errorf("decode an error of the server: %w", err)
	}
	return pgconn.ErrorResponseToPgError(&m)
}

// copied reads the command tag "COPY n".
func copied(body []byte) (int64, error) {
	tag := strings.TrimRight(string(body), "\x00")
	if !strings.HasPrefix(tag, "COPY ") {
		return 0, fmt.Errorf("unexpected result %q of COPY", tag)
	}
	return pgconn.NewCommandTag(tag).RowsAffected(), nil
}
