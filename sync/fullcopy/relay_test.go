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

// Whatever the lengths of messages and the boundaries of reads, every CopyData arrives unchanged, and nothing else does.
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
			d := frame('d', bytes.Repeat([]byte{'d'}, rapid.IntRange(0, 100).Draw(t, "length")))
			all, want = append(all, d...), append(want, d...)
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
		if err != nil || rows != 7 || messages != n || !bytes.Equal(out, want) {
			t.Fatalf("%d rows, %d of %d messages, error %v\n got %q\nwant %q", rows, messages, n, err, out, want)
		}
	})
}

// Whatever a source sends, the relay ends, and forwards only whole headers of CopyData.
func FuzzPump(f *testing.F) {
	f.Add([]byte("d\x00\x00\x00\x05xC\x00\x00\x00\x0bCOPY 1\x00Z\x00\x00\x00\x05T"))
	f.Add([]byte("d\x00\x00\x00\x00"))
	f.Add([]byte("E\xff\xff\xff\xff"))
	f.Add([]byte("E\x00\x00\x00\x10SERROR\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, _, _, _ := pumpBytes(t, 16, [][]byte{data})
		if len(out) > len(data) || len(out) > 0 && (out[0] != 'd' || len(out) < 5) {
			t.Errorf("forwarded %q", out)
		}
	})
}
