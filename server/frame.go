package server

import (
	"encoding/binary"
	"net"
	"time"
)

// Sizes in bytes. The maxima include the header; PostgreSQL itself takes up to 1 GB from anybody who is logged in.
const (
	headerSize    = 5 // type and length; the length does not count the type
	maxLoginFrame = 64 << 10
	maxFrame      = 16 << 20
	smallBuffer   = 8 << 10
	largeBuffer   = 64 << 10
)

// frameReader cuts a client's stream into frames of at most maxFrame bytes. It belongs to the session's receiving goroutine, except
// between watch and the call of the function watch returns.
type frameReader struct {
	conn net.Conn
	buf  []byte
	r, w int   // buf[r:w] is unread
	err  error // sticky error of the connection
}

func newFrameReader(conn net.Conn) *frameReader {
	return &frameReader{conn: conn, buf: make([]byte, smallBuffer)}
}

// frameSize returns the size of the frame that data begins with, header included; 0 when the header is incomplete.
func frameSize(data []byte) int {
	if len(data) < headerSize {
		return 0
	}
	return 1 + int(binary.BigEndian.Uint32(data[1:]))
}

// ready tells whether next will return without reading from the connection.
func (f *frameReader) ready() bool {
	size := frameSize(f.buf[f.r:f.w])
	return size > 0 && (size < headerSize || size > maxFrame || size <= f.w-f.r)
}

// next returns the next frame, header included. It is valid until the next call of next.
func (f *frameReader) next() ([]byte, error) {
	for {
		size := frameSize(f.buf[f.r:f.w])
		switch {
		case size > 0 && size < headerSize:
			return nil, protocolError("invalid message length")
		case size > maxFrame:
			return nil, protocolError("message of %d bytes exceeds the limit of %d bytes", size, maxFrame)
		case size > 0 && size <= f.w-f.r:
			frame := f.buf[f.r : f.r+size : f.r+size]
			f.r += size
			return frame, nil
		case f.err != nil:
			return nil, f.err
		}
		f.makeRoom(max(size, smallBuffer))
		f.read()
	}
}

// makeRoom moves what is unread to the front of a buffer of at least size bytes. A large buffer is given up once it is empty.
func (f *frameReader) makeRoom(size int) {
	if size > len(f.buf) || len(f.buf) > largeBuffer && f.r == f.w && size <= smallBuffer {
		grown := make([]byte, size)
		copy(grown, f.buf[f.r:f.w])
		f.buf = grown
	} else {
		copy(f.buf, f.buf[f.r:f.w])
	}
	f.r, f.w = 0, f.w-f.r
}

func (f *frameReader) read() {
	n, err := f.conn.Read(f.buf[f.w:])
	f.w += n
	f.err = err
}

// watch reads ahead in the background, so that the end of the connection is noticed while a statement is executing: gone is then
// called, once. A client that sends more than fits into a small buffer is not watched further. The returned function ends
// the watch; it must be called, and interrupts a read by means of the read deadline, which is off afterwards.
func (f *frameReader) watch(gone func(error)) (stop func()) {
	ahead := make([]byte, f.w-f.r+smallBuffer) // a new one, because the frame at hand is in the old one
	f.w = copy(ahead, f.buf[f.r:f.w])
	f.buf, f.r = ahead, 0
	done := make(chan struct{})
	stopping := make(chan struct{})
	go func() {
		defer close(done)
		for f.err == nil && f.w < len(f.buf) {
			f.read()
		}
		if f.err == nil {
			return
		}
		select {
		case <-stopping:
			f.err = nil // our own interruption; a true one shows again at the next read
		default:
			gone(f.err)
		}
	}()
	return func() {
		close(stopping)
		_ = f.conn.SetReadDeadline(longAgo)
		<-done
		_ = f.conn.SetReadDeadline(time.Time{})
	}
}

// longAgo is a deadline that interrupts at once.
var longAgo = time.Unix(1, 0)
