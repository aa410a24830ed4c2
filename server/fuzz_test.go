package server

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	wire "github.com/jackc/pgx/v5/pgproto3"
)

// Slack of the checks after each input: goroutines of connections that are just ending, and bytes of heap.
const (
	goroutineSlack = 20
	heapSlack      = 256 << 20
)

// afterwards checks that the server is as it was: nobody is left, and a good client is served.
type afterwards struct {
	h          *harness
	goroutines int
	inputs     int
}

func newAfterwards(f *testing.F, h *harness) *afterwards {
	f.Helper()
	if err := h.login(f, h.tcp("olga", "olga's password"), nil); err != nil {
		f.Fatal(err)
	}
	return &afterwards{h: h, goroutines: runtime.NumGoroutine()}
}

func (a *afterwards) check(t *testing.T) {
	t.Helper()
	eventually(t, "everybody has left", func() bool { return a.h.sessions() == 0 && len(a.h.server.pending) == 0 })
	if a.inputs++; a.inputs%50 != 1 {
		return
	}
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= a.goroutines+goroutineSlack })
	if err := a.h.login(t, a.h.tcp("olga", "olga's password"), nil); err != nil {
		t.Fatalf("a good client is not served: %v", err)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > heapSlack {
		t.Fatalf("%d bytes of heap are in use", m.HeapInuse)
	}
}

// seeds adds the client's side of every conversation in the transcripts whose connections begin so.
func seeds(f *testing.F, beginning string) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var p *player
		add := func() {
			if p != nil && len(p.send) > 0 {
				f.Add(p.send)
			}
			p = nil
		}
		for line := range strings.Lines(string(text)) {
			switch {
			case strings.HasPrefix(line, beginning):
				add()
				p = &player{t: f}
			case strings.HasPrefix(line, "login"), strings.HasPrefix(line, "connect"):
				add()
			case strings.HasPrefix(line, "> ") && p != nil:
				p.send = append(p.send, p.frameOf(line[2:])...)
			}
		}
		add()
	}
}

// FuzzStartup sends arbitrary bytes to somebody who has not logged in.
func FuzzStartup(f *testing.F) {
	h := setup(f)
	seeds(f, "connect")
	f.Add(append(startupPacket(protocol3, map[string]string{"user": "olga"}),
		encodeFrontend(&wire.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte("n,,n=,r=abcdefgh")})...))
	a := newAfterwards(f, h)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, addr := range h.server.Addrs() {
			conn, err := new(net.Dialer).DialContext(t.Context(), addr.Network(), addr.String())
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, conn, data)
		}
		a.check(t)
	})
}

// FuzzSession sends arbitrary bytes in a session.
func FuzzSession(f *testing.F) {
	h := setup(f)
	h.backend.role = "pg_monitor"
	seeds(f, "login")
	a := newAfterwards(f, h)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &player{t: t, h: h}
		p.connect("unix")
		p.send = startupPacket(protocol3, map[string]string{"user": "admin"})
		p.read("Z", io.Discard)
		ending := append(encodeFrontend(&wire.Sync{}), encodeFrontend(&wire.Terminate{})...)
		exchange(t, p.conn, append(bytes.Clone(data), ending...))
		a.check(t)
	})
}

// exchange sends data, reads what the server answers until it closes or has nothing more to say, and hangs up.
func exchange(t *testing.T, conn net.Conn, data []byte) {
	t.Helper()
	defer func() { _ = conn.Close() }()
	go func() { _, _ = conn.Write(data) }() // the server may close first
	buf := make([]byte, 1<<16)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // an unfinished frame is waited for in vain
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}
