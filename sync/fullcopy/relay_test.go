package fullcopy

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"pgregory.net/rapid"
)

// pumpBytes lets a relay with a buffer of the given size read what a source sends in the given pieces, and returns what
// comes out at the destination.
func pumpBytes(t interface{ Context() context.Context }, size int, pieces [][]byte) (out []byte, rows int64, messages int, err error) {
	src, server := net.Pipe()
	dst, sink := net.Pipe()
	go func() {
		// The query comes first; a pipe has no buffer.
		if _, err := io.ReadFull(server, make([]byte, len("Q....\x00"))); err == nil {
			for _, p := range pieces {
				if _, err := server.Write(p); err != nil {
					break
				}
			}
		}
		_ = server.Close()
	}()
	collected := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(sink)
		collected <- b
	}()
	r := relay{src: src, dst: dst, buf: make([]byte, size), moving: func(_ context.Context, _, n int) error {
		messages += n
		return nil
	}}
	rows, err = r.pump(t.Context())
	_ = src.Close()
	_ = dst.Close()
	return <-collected, rows, messages, err
}

func frame(kind byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4))
	return append(b, body...)
}

// contents returns what whole CopyData messages hold; false where there is anything else.
func contents(b []byte) (all []byte, ok bool) {
	for len(b) > 0 {
		kind, body, size, err := message(b)
		if err != nil || kind != 'd' || len(body) == 0 {
			return nil, false
		}
		all, b = append(all, body...), b[size:]
	}
	return all, true
}

// Whatever the lengths of messages and the boundaries of reads, what every CopyData holds arrives unchanged, and nothing else does.
func TestPump(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := frame('H', []byte{0, 0, 0})
		var want []byte
		n := rapid.IntRange(0, 20).Draw(t, "messages")
		for range n {
			if rapid.IntRange(0, 5).Draw(t, "notice") == 0 {
				all = append(all, frame('N', []byte("SNOTICE\x00\x00"))...)
			}
			row := bytes.Repeat([]byte{'d', byte(len(want))}, rapid.IntRange(0, 50).Draw(t, "length"))
			all, want = append(all, frame('d', row)...), append(want, row...)
		}
		all = append(all, frame('c', nil)...)
		all = append(all, frame('C', []byte("COPY 7\x00"))...)
		all = append(all, frame('Z', []byte{'T'})...)
		var pieces [][]byte
		for len(all) > 0 {
			k := rapid.IntRange(1, len(all)).Draw(t, "read")
			pieces, all = append(pieces, all[:k]), all[k:]
		}
		out, rows, messages, err := pumpBytes(t, rapid.IntRange(5, 64).Draw(t, "buffer"), pieces)
		got, whole := contents(out)
		if err != nil || rows != 7 || messages != n || !whole || !bytes.Equal(got, want) {
			t.Fatalf("%d rows, %d of %d messages, error %v\n got %q\nwant %q", rows, messages, n, err, out, want)
		}
	})
}

// What a read returned goes on as one message, however many rows it is.
func TestRowsGoTogether(t *testing.T) {
	t.Parallel()
	var read, want []byte
	for i := range 100 {
		row := bytes.Repeat([]byte{byte(i)}, i%7)
		read, want = append(read, frame('d', row)...), append(want, row...)
	}
	read = append(read, frame('C', []byte("COPY 100\x00"))...)
	read = append(read, frame('Z', []byte{'T'})...)
	out, _, _, err := pumpBytes(t, relayBuffer, [][]byte{read})
	if err != nil || !bytes.Equal(out, frame('d', want)) {
		t.Errorf("error %v, forwarded %q", err, out)
	}
}

// Whatever a source sends, the relay ends, and forwards only whole messages of CopyData.
func FuzzPump(f *testing.F) {
	f.Add([]byte("d\x00\x00\x00\x05xC\x00\x00\x00\x0bCOPY 1\x00Z\x00\x00\x00\x05T"))
	f.Add([]byte("d\x00\x00\x00\x00"))
	f.Add([]byte("E\xff\xff\xff\xff"))
	f.Add([]byte("E\x00\x00\x00\x10SERROR\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, _, _, _ := pumpBytes(t, 16, [][]byte{data})
		if got, whole := contents(out); !whole || len(got) > len(data) {
			t.Errorf("forwarded %q", out)
		}
	})
}
