package testenv

import "encoding/binary"

// Untyped requests with which a client may open a connection (PostgreSQL documentation, "Message Formats").
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

// maxBody is how much of a frame's body a match function gets to see.
const maxBody = 64 << 10

// phase is what the next byte of a direction is.
type phase int

const (
	startup phase = iota // an untyped packet of the client: length, code, body
	typed                // a message: type, length, body
	opaque               // TLS, or anything else that is not v3 protocol
)

// framer cuts one direction of a connection into frames. It never waits for a whole frame: piece returns as soon as the
// match function could decide.
type framer struct {
	phase phase
	head  []byte // of the current frame, with up to maxBody bytes of its body
	rest  int    // bytes of the current frame's body that are not in head
}

// piece is a stretch of bytes to forward. If first, it begins a frame whose type and start of body are given; if last, the
// frame ends with it.
type piece struct {
	bytes       []byte
	first, last bool
	kind        byte // 0 for untyped packets
	body        []byte
}

// next takes the next piece off data. ok is false when there is too little data for one; all of data is kept by the framer
// then.
func (f *framer) next(data []byte) (p piece, remaining []byte, ok bool) {
	if f.phase == opaque {
		p, f.head = piece{bytes: append(f.head, data...)}, nil
		return p, nil, len(p.bytes) > 0
	}
	if f.rest > 0 {
		n := min(f.rest, len(data))
		f.rest -= n
		return piece{bytes: data[:n], last: f.rest == 0}, data[n:], n > 0
	}
	prefix := 4
	if f.phase == typed {
		prefix = 5
	}
	data = f.fill(prefix, data)
	if len(f.head) < prefix {
		return piece{}, nil, false
	}
	size := int(binary.BigEndian.Uint32(f.head[prefix-4:])) - 4
	if size < 0 || (f.phase == startup && (f.head[0] != 0 || size > 10000)) {
		f.phase = opaque // a TLS hello without SSLRequest, or garbage
		return f.next(data)
	}
	data = f.fill(prefix+min(size, maxBody), data)
	if len(f.head) < prefix+min(size, maxBody) {
		return piece{}, nil, false
	}
	p = piece{bytes: f.head, first: true, last: size <= maxBody, body: f.head[prefix:]}
	if f.phase == typed {
		p.kind = f.head[0]
	}
	f.head, f.rest = nil, size-len(p.body)
	return p, data, true
}

// fill moves bytes from data to head until head has n.
func (f *framer) fill(n int, data []byte) []byte {
	take := min(max(n-len(f.head), 0), len(data))
	f.head = append(f.head, data[:take]...)
	return data[take:]
}

// code is the request code of an untyped packet.
func (p piece) code() uint32 {
	if len(p.body) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(p.body)
}
