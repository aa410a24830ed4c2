package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5/pgconn"
	wire "github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sync/errgroup"
)

// TestStorm sends garbage before and after login; the daemon stays as it was and serves others.
func TestStorm(t *testing.T) {
	t.Parallel()
	d := testenv.StartDaemon(t, testenv.DaemonConfig{})
	d.PSQL(t, "CREATE SYNC USER mad PASSWORD '"+testenv.Password+"' ROLE MONITOR")
	throw(t, d, 50, 1) // what is allocated once
	calm(t, d)
	before, pid := memory(t, d), d.PID()
	throw(t, d, 600, 2)
	calm(t, d)
	if after := memory(t, d); after > before+200<<10 {
		t.Errorf("%d kB before, %d kB after", before, after)
	}
	if !d.Running() || d.PID() != pid {
		t.Fatal("the daemon has ended")
	}
	if log := readLog(t, d); strings.Contains(log, "panic") {
		t.Errorf("something panicked:\n%s", log)
	}
	if got := d.PSQL(t, "SHOW SYNC TASKS; SELECT name FROM sync_users ORDER BY 1"); got != "admin\nmad" {
		t.Errorf("afterwards: %s", got)
	}
}

// calm waits until no client is left.
func calm(t *testing.T, d *testenv.Daemon) {
	t.Helper()
	testenv.Eventually(t, "the sessions end", func() bool {
		return d.PSQL(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgsyncd_monitor'") == "0"
	})
	testenv.Eventually(t, "the connections end", func() bool {
		sockets, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.PID()))
		return err == nil && len(sockets) < 50
	})
}

// memory is the daemon's resident memory in kB.
func memory(t *testing.T, d *testenv.Daemon) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kB, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kB
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// throw sends spoiled conversations, several at once, every third of them after a login.
func throw(t *testing.T, d *testenv.Daemon, count int, seed uint64) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(8)
	for n := range count {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // reproducible, not secret
			var conn net.Conn
			var err error
			script := opening()
			if n%3 == 0 {
				conn, err = loggedIn(t.Context(), d.ConnString("mad"))
				script = conversation()
			} else {
				var dialer net.Dialer
				conn, err = dialer.DialContext(t.Context(), "tcp", d.Addr())
			}
			if err != nil {
				return fmt.Errorf("connection %d: %w", n, err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			// The daemon may hang up at any moment.
			_, _ = conn.Write(spoil(r, script))
			_ = conn.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
				return fmt.Errorf("connection %d of %d hangs", n, seed)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func loggedIn(ctx context.Context, conninfo string) (net.Conn, error) {
	conn, err := pgconn.Connect(ctx, conninfo)
	if err != nil {
		return nil, err
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	return hijacked.Conn, nil
}

// opening is what a client says before it is known.
func opening() []byte {
	var b []byte
	for _, m := range []wire.FrontendMessage{
		&wire.SSLRequest{}, &wire.GSSEncRequest{},
		&wire.StartupMessage{ProtocolVersion: wire.ProtocolVersion30, Parameters: map[string]string{"user": "mad", "database": "x"}},
		&wire.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=abcdefghijkl")},
		&wire.SASLResponse{Data: []byte("c=biws,r=abcdefghijkl,p=AAAA")},
		&wire.CancelRequest{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}},
	} {
		b, _ = m.Encode(b)
	}
	return b
}

// conversation uses every message that a client may send.
func conversation() []byte {
	var b []byte
	for _, m := range []wire.FrontendMessage{
		&wire.Query{String: "SHOW SYNC TASKS; SELECT 1"},
		&wire.Parse{Name: "s", Query: "SELECT $1::text", ParameterOIDs: []uint32{25}},
		&wire.Bind{PreparedStatement: "s", DestinationPortal: "p", ParameterFormatCodes: []int16{0}, Parameters: [][]byte{[]byte("x")}, ResultFormatCodes: []int16{1}},
		&wire.Describe{ObjectType: 'P', Name: "p"}, &wire.Execute{Portal: "p", MaxRows: 1}, &wire.Flush{}, &wire.Close{ObjectType: 'S', Name: "s"}, &wire.Sync{},
		&wire.Parse{Query: "SHOW SYNC HELP"}, &wire.Bind{}, &wire.Execute{}, &wire.Sync{},
		&wire.Query{String: "COPY (SELECT generate_series(1, 1000)) TO STDOUT"}, &wire.CopyData{Data: []byte("x\n")}, &wire.CopyDone{}, &wire.CopyFail{Message: "no"},
		&wire.FunctionCall{Function: 1, Arguments: [][]byte{{1}}}, &wire.Terminate{},
	} {
		b, _ = m.Encode(b)
	}
	return b
}

// spoil changes a few bytes, takes some out or puts some in; or it makes everything up.
func spoil(r *rand.Rand, script []byte) []byte {
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	if r.IntN(8) == 0 {
		return random(r.IntN(5000))
	}
	out := append([]byte(nil), script...)
	for range 1 + r.IntN(4) {
		at := r.IntN(len(out) + 1)
		switch end := min(len(out), at+1+r.IntN(20)); r.IntN(4) {
		case 0:
			out = append(out[:at:at], append(random(1+r.IntN(20)), out[at:]...)...)
		case 1:
			out = append(out[:at:at], out[end:]...)
		case 2:
			out = append(out[:end:end], out[at:]...)
		default:
			copy(out[at:end], random(end-at))
		}
	}
	return out
}
