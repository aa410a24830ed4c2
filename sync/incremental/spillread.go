package incremental

import (
	"bufio"
	"crypto/tls"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"
)

const (
	readBuffer = 128 << 10
	enough     = readBuffer / 16        // where so much was there at once, more is
	calmPause  = 100 * time.Microsecond // timers of the Go runtime wait for ten times as long
	calmAge    = 100 * time.Millisecond // what committed so long ago is in no hurry
)

// calmReader reads from a source. A walsender sends every message by itself, and whoever waits for it is woken as often. What belongs to
// a transaction in progress, or to an old one, is in no hurry, so more of it may gather before it is read: that takes far less of both
// processors.
type calmReader struct {
	conn  net.Conn
	pause func() bool // what comes next is in no hurry
	last  int         // bytes that were read at once
}

func (r *calmReader) Read(p []byte) (n int, err error) {
	if r.last < enough && r.pause() {
		ts := unix.NsecToTimespec(int64(calmPause))
		_ = unix.Nanosleep(&ts, nil)
	}
	r.last, err = r.conn.Read(p)
	return r.last, err
}

// widen makes the link read much at once, as soon as everything is used that was read before.
func (l *link) widen() {
	if l.wide || l.frontend.ReadBufferLen() > 0 {
		return
	}
	l.wide = true
	r := &calmReader{conn: l.conn, pause: func() bool { return false }}
	// Of an encrypted connection a read returns one message, however much is there.
	if _, encrypted := l.conn.(*tls.Conn); !encrypted {
		d, ok := l.decode.(*pgoutput)
		r.pause = func() bool { return ok && d.spill != nil && d.spill.current != nil || l.in.old() }
	}
	l.frontend = pgproto3.NewFrontend(bufio.NewReaderSize(r, readBuffer), l.conn)
}
