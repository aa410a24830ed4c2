package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	wire "github.com/jackc/pgx/v5/pgproto3"
)

// withTLS gives a server a self-signed certificate for 127.0.0.1 on the given curve, and returns the authority for clients.
func withTLS(tb testing.TB, curve elliptic.Curve) (func(*Config), *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pgsyncd"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return func(c *Config) {
		c.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	}, pool
}

// login connects over TCP and returns the error.
func (h *harness) login(tb testing.TB, conninfo string, pool *x509.CertPool) error {
	tb.Helper()
	cfg, err := pgx.ParseConfig(conninfo)
	if err != nil {
		tb.Fatal(err)
	}
	if cfg.TLSConfig != nil && pool != nil {
		cfg.TLSConfig.RootCAs, cfg.TLSConfig.ServerName, cfg.TLSConfig.InsecureSkipVerify = pool, "127.0.0.1", false
		cfg.TLSConfig.VerifyPeerCertificate = nil
	}
	conn, err := pgx.ConnectConfig(tb.Context(), cfg)
	if err != nil {
		return err
	}
	var one int
	return errors.Join(conn.QueryRow(tb.Context(), "SELECT 1").Scan(&one), conn.Close(tb.Context()))
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	h := setup(t)
	if err := h.login(t, h.tcp("olga", "olga's password"), nil); err != nil {
		t.Errorf("right password: %v", err)
	}
	for _, user := range []string{"olga", "nobody", "nemo"} {
		err := h.login(t, h.tcp(user, "wrong"), nil)
		pg := pgError(t, err, "28P01")
		if want := fmt.Sprintf("password authentication failed for user %q", user); pg.Message != want || pg.Detail != "" || pg.Hint != "" {
			t.Errorf("the client was told %q %q %q", pg.Message, pg.Detail, pg.Hint)
		}
	}
}

// TestUnknownUsersLookLikeKnownOnes compares what a client sees before it has proved anything.
func TestUnknownUsersLookLikeKnownOnes(t *testing.T) {
	t.Parallel()
	h := setup(t)
	challenge := func(user string) (salt, iterations string) {
		p := &player{t: t, h: h}
		p.connect("tcp")
		defer p.hangUp()
		p.send = append(startupPacket(protocol3, map[string]string{"user": user}),
			encodeFrontend(&wire.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte("n,,n=,r=abcdefgh")})...)
		p.read("RR", &p.out)
		fields := strings.Split(p.out.String(), ",")
		if len(fields) < 3 {
			t.Fatalf("challenge for %s: %s", user, p.out.String())
		}
		return fields[len(fields)-2], strings.Trim(fields[len(fields)-1], "\"\n")
	}
	salt, iterations := challenge("nobody")
	again, _ := challenge("nobody")
	other, _ := challenge("somebody")
	known, knownIterations := challenge("olga")
	if salt != again || salt == other || len(salt) != len(known) || iterations != knownIterations {
		t.Errorf("nobody %s %s, again %s, somebody %s, olga %s %s", salt, iterations, again, other, known, knownIterations)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	for name, curve := range map[string]elliptic.Curve{"sha256": elliptic.P256(), "sha384": elliptic.P384(), "sha512": elliptic.P521()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			edit, pool := withTLS(t, curve)
			h := setup(t, edit, func(c *Config) { c.TLSRequired = true })
			base := strings.ReplaceAll(h.tcp("olga", "olga's password"), "sslmode=disable", "")
			for _, options := range []string{"sslmode=verify-full", "sslmode=require sslnegotiation=direct"} {
				if err := h.login(t, base+options, pool); err != nil {
					t.Errorf("%s: %v", options, err)
				}
			}
			wantCode(t, h.login(t, base+"sslmode=disable", nil), "28000")
			for options, want := range map[string]string{
				"sslmode=require channel_binding=require":                "1",
				"sslmode=require channel_binding=disable":                "1",
				"sslmode=require password=wrong channel_binding=require": `FATAL:  password authentication failed for user "olga"`,
				"sslmode=disable": "FATAL:  this server accepts TLS connections only",
			} {
				if out, _ := h.psql(t, base+options, "-Atc", "SELECT 1"); !strings.Contains(out, want) {
					t.Errorf("psql with %s printed %q", options, out)
				}
			}
			// The socket needs no TLS.
			if out, code := h.psql(t, h.local(), "-Atc", "SELECT 1"); code != 0 {
				t.Errorf("psql at the socket printed %q", out)
			}
		})
	}
}

// TestBindingToAnotherCertificate is a man in the middle who relays SCRAM through TLS of his own.
func TestBindingToAnotherCertificate(t *testing.T) {
	t.Parallel()
	edit, _ := withTLS(t, elliptic.P256())
	h := setup(t, edit)
	mitm, _ := withTLS(t, elliptic.P256())
	var cfg Config
	mitm(&cfg)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = client.Close() }()
		var request [8]byte
		_, _ = io.ReadFull(client, request[:])
		_, _ = client.Write([]byte{'S'})
		server, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.server.Addrs()[0].String())
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		_, _ = server.Write(request[:])
		_, _ = io.ReadFull(server, request[:1])
		in := tls.Server(client, cfg.TLS)
		out := tls.Client(server, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // he does not care
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(out, in); _ = server.Close() }()
		_, _ = io.Copy(in, out)
		_ = client.Close()
		<-done
	}()
	info := fmt.Sprintf("host=127.0.0.1 port=%d user=olga password='olga\\'s password' dbname=x sslmode=require channel_binding=require",
		listener.Addr().(*net.TCPAddr).Port)
	if out, code := h.psql(t, info, "-c", "SELECT 1"); code == 0 || !strings.Contains(out, "password authentication failed") {
		t.Errorf("psql exited with %d: %s", code, out)
	}
}

// TestStuffedBytes puts plain text between SSLRequest and the handshake (CVE-2021-23222).
func TestStuffedBytes(t *testing.T) {
	t.Parallel()
	edit, _ := withTLS(t, elliptic.P256())
	h := setup(t, edit)
	p := &player{t: t, h: h}
	p.connect("tcp")
	defer p.hangUp()
	p.send = append(p.frameOf("SSLRequest"), startupPacket(protocol3, map[string]string{"user": "olga"})...)
	p.line("byte")
	rest, err := io.ReadAll(p.conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	if !strings.HasSuffix(p.out.String(), "< S\n") || strings.Contains(string(rest), mechanism) {
		t.Errorf("the server went on: %s %q", p.out.String(), rest)
	}
}

func TestDirectTLSNeedsALPN(t *testing.T) {
	t.Parallel()
	edit, pool := withTLS(t, elliptic.P256())
	h := setup(t, edit)
	for _, protocols := range [][]string{nil, {"http/1.1"}, {alpn}} {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", NextProtos: protocols, MinVersion: tls.VersionTLS12}}
		conn, err := dialer.DialContext(t.Context(), "tcp", h.server.Addrs()[0].String())
		if err == nil {
			_, err = conn.Write(startupPacket(protocol3, map[string]string{"user": "olga"}))
			var first [1]byte
			if _, readErr := io.ReadFull(conn, first[:]); err == nil {
				err = readErr
			}
			_ = conn.Close()
		}
		if good := len(protocols) == 1 && protocols[0] == alpn; good != (err == nil) {
			t.Errorf("with ALPN %q: %v", protocols, err)
		}
	}
}

func TestSocketPeers(t *testing.T) {
	t.Parallel()
	h := setup(t)
	if err := os.Chmod(h.socket, 0o711); err != nil {
		t.Fatal(err)
	}
	stranger := exec.CommandContext(t.Context(), "psql", "-X", h.local(), "-Atc", "SELECT 'in'")
	want := "in\n"
	if os.Geteuid() == 0 {
		stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		want = `FATAL:  peer authentication failed for user "admin"`
	}
	out, _ := stranger.CombinedOutput()
	if !strings.Contains(string(out), want) {
		t.Errorf("psql printed %q, want %q", out, want)
	}
}

func TestTooManySessions(t *testing.T) {
	t.Parallel()
	h := setup(t, func(c *Config) { c.MaxSessions, c.ReservedSessions = 3, 2 })
	tcp, err := pgconn.Connect(t.Context(), h.tcp("olga", "olga's password"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close(t.Context()) }()
	wantCode(t, h.login(t, h.tcp("olga", "olga's password"), nil), "53300")
	h.connect(t)
	last := h.connect(t)
	_, err = pgx.Connect(t.Context(), h.local())
	wantCode(t, err, "53300")
	_ = last.Close(t.Context())
	eventually(t, "there is room again", func() bool { return h.login(t, h.local(), nil) == nil })
}

func TestTooManyPending(t *testing.T) {
	t.Parallel()
	h := setup(t, func(c *Config) { c.MaxPending, c.LoginTimeout = 2, 300*time.Millisecond })
	var waiting []net.Conn
	for range 2 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.server.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		waiting = append(waiting, conn)
	}
	eventually(t, "both are being served", func() bool { return len(h.server.pending) == 2 })
	if err := h.login(t, h.tcp("olga", "olga's password"), nil); err == nil {
		t.Error("a third connection was served")
	}
	for _, conn := range waiting { // until the login deadline
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("the server did not close: %v", err)
		}
	}
	eventually(t, "logins are possible again", func() bool { return h.login(t, h.tcp("olga", "olga's password"), nil) == nil })
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"Logger":           {Listen: []string{"localhost:0"}},
		"Listen":           {Logger: discard, Listen: []string{"localhost"}},
		"SocketDir":        {Logger: discard},
		"TLSRequired":      {Logger: discard, SocketDir: "/x", TLSRequired: true},
		"MaxSessions":      {Logger: discard, SocketDir: "/x", MaxSessions: -1},
		"ReservedSessions": {Logger: discard, SocketDir: "/x", ReservedSessions: -1},
		"MaxPending":       {Logger: discard, SocketDir: "/x", MaxPending: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not name %s: %v", want, err)
		}
	}
}

func TestSocketOfARunningServerStays(t *testing.T) {
	t.Parallel()
	h := setup(t)
	cfg := h.server.cfg
	cfg.Listen = []string{h.server.Addrs()[0].String()}
	if _, err := New(cfg, h.control, h.backend); err == nil {
		t.Fatal("a second server listens at the same address")
	}
	path := h.server.Addrs()[1].String()
	if l, err := listenUnix(net.ListenConfig{}, path); err == nil {
		_ = l.Close()
		t.Fatal("a second server took the socket")
	}
	h.stop()
	// What a killed server leaves is no obstacle.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Close(fd)
	l, err := listenUnix(net.ListenConfig{}, path)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}
