package server

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// socketPair is a socket and the other end of its connection.
func socketPair(t *testing.T, network string) (near, far net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error {
		conn, err := l.Accept()
		far = conn
		return errors.Join(err, l.Close())
	})
	conn, err := new(net.Dialer).DialContext(t.Context(), network, l.Addr().String())
	if err := errors.Join(err, g.Wait()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		_ = far.Close()
	})
	near = asSocket(conn)
	if _, ok := near.(*socket); !ok {
		t.Fatalf("a connection over %s is left as a %T", network, near)
	}
	return near, far
}

func eachNetwork(t *testing.T, test func(t *testing.T, near, far net.Conn)) {
	t.Helper()
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			near, far := socketPair(t, network)
			test(t, near, far)
		})
	}
}

// More than any socket buffers, so that both directions have to wait for the other side.
func TestSocketCarriesEverything(t *testing.T) {
	t.Parallel()
	eachNetwork(t, testSocketCarriesEverything)
}

func testSocketCarriesEverything(t *testing.T, near, far net.Conn) {
	sent := make([]byte, 16<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(sent)
	var g errgroup.Group
	g.Go(func() error {
		if n, err := near.Write(sent); err != nil || n != len(sent) {
			return errors.Join(err, errors.New("not everything was written"))
		}
		return near.(*socket).CloseWrite()
	})
	g.Go(func() error {
		_, err := io.Copy(far, far) // what comes goes back
		return errors.Join(err, far.(stream).CloseWrite())
	})
	var got []byte
	g.Go(func() (err error) {
		got, err = io.ReadAll(near)
		return err
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes went out and %d others came back", len(sent), len(got))
	}
}

func TestSocketIsWokenByDeadlines(t *testing.T) {
	t.Parallel()
	eachNetwork(t, testSocketIsWokenByDeadlines)
}

func testSocketIsWokenByDeadlines(t *testing.T, near, _ net.Conn) {
	var g errgroup.Group
	g.Go(func() error {
		_, err := near.Read(make([]byte, 1))
		return err
	})
	g.Go(func() error {
		for { // until nobody's buffer takes any more
			if _, err := near.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	})
	time.AfterFunc(time.Millisecond, func() { _ = near.SetDeadline(longAgo) })
	if err := g.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("ended by %v", err)
	}
	_ = near.SetDeadline(time.Time{})
}

func TestSocketTellsOfTheEnd(t *testing.T) {
	t.Parallel()
	eachNetwork(t, testSocketTellsOfTheEnd)
}

func testSocketTellsOfTheEnd(t *testing.T, near, far net.Conn) {
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := near.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader's callers compare
		t.Errorf("read of a closed connection: %d, %v", n, err)
	}
	var err error
	for err == nil { // TCP learns of it by the answer to a first write
		_, err = near.Write([]byte("x"))
	}
	if n, again := near.Write([]byte("x")); n != 0 || again == nil {
		t.Errorf("write after %v: %d, %v", err, n, again)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}
