package testenv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// through opens a session to a new database through a new proxy.
func through(t *testing.T) (*Cluster, *Proxy, *pgx.Conn) {
	t.Helper()
	c := Shared(t)
	db := c.Database(t)
	p := StartProxy(t, c.Addr())
	return c, p, dial(t, c, p, db)
}

func dial(t *testing.T, c *Cluster, p *Proxy, db string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), proxied(c, p, db))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func proxied(c *Cluster, p *Proxy, db string) string {
	_, port := p.Addr()
	return strings.Replace(c.ConnString(db), fmt.Sprintf("port=%d", c.Port()), fmt.Sprintf("port=%d", port), 1)
}

func isSimpleQuery(text string) Match {
	return func(dir Direction, kind byte, body []byte) bool {
		return dir == ToTarget && kind == 'Q' && strings.HasPrefix(string(body), text)
	}
}

func simple(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

func TestProxyCutAfterForwardsTheFrame(t *testing.T) {
	t.Parallel()
	c, p, conn := through(t)
	db := conn.Config().Database
	c.Exec(t, db, "CREATE TABLE t (a int)")
	fired := p.CutAfter(isSimpleQuery("COMMIT"))
	for _, sql := range []string{"BEGIN", "INSERT INTO t VALUES (1)"} {
		if err := simple(t.Context(), conn, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Refuse(true); err != nil { // pgx asks the server to cancel what is lost
		t.Fatal(err)
	}
	if err := simple(t.Context(), conn, "COMMIT"); err == nil {
		t.Fatal("COMMIT was answered although the connection was cut")
	}
	<-fired
	waitForRows(t, c, db, 1)
}

func TestProxyCutBeforeHoldsTheFrameBack(t *testing.T) {
	t.Parallel()
	c, p, conn := through(t)
	db := conn.Config().Database
	c.Exec(t, db, "CREATE TABLE t (a int)")
	fired := p.CutBefore(isSimpleQuery("COMMIT"))
	for _, sql := range []string{"BEGIN", "INSERT INTO t VALUES (1)"} {
		if err := simple(t.Context(), conn, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := simple(t.Context(), conn, "COMMIT"); err == nil {
		t.Fatal("COMMIT was answered")
	}
	<-fired
	// A table lock waits for the transaction to end, whichever way it does.
	c.Exec(t, db, "BEGIN; LOCK TABLE t; COMMIT")
	waitForRows(t, c, db, 0)
}

func waitForRows(t *testing.T, c *Cluster, db string, want int) {
	t.Helper()
	conn := c.Connect(t, db)
	Eventually(t, fmt.Sprintf("the table has %d rows", want), func() bool {
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == want
	})
}

func TestProxyStallHoldsAnswersUntilResume(t *testing.T) {
	t.Parallel()
	c, p, conn := through(t)
	db := conn.Config().Database
	c.Exec(t, db, "CREATE TABLE t (a int)")
	fired := p.StallAfter(isSimpleQuery("INSERT"))
	result := make(chan error, 1)
	go func() { result <- simple(t.Context(), conn, "INSERT INTO t VALUES (1)") }()
	<-fired
	waitForRows(t, c, db, 1) // the server did it
	select {
	case err := <-result:
		t.Fatalf("answered while stalled: %v", err)
	default:
	}
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections, want the stalled one", n)
	}
	p.Resume()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestProxyStallsNewConnections(t *testing.T) {
	t.Parallel()
	c, p, conn := through(t)
	p.Stall(ToClient)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, proxied(c, p, conn.Config().Database)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("connect through a stalled proxy: %v", err)
	}
	p.Resume()
	if err := conn.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestProxyCutResetAndRefuse(t *testing.T) {
	t.Parallel()
	c, p, conn := through(t)
	db := conn.Config().Database
	p.Cut()
	if err := conn.Ping(t.Context()); err == nil {
		t.Fatal("session survived Cut")
	}
	conn = dial(t, c, p, db)
	p.Reset()
	if err := conn.Ping(t.Context()); err == nil {
		t.Fatal("session survived Reset")
	}
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), proxied(c, p, db)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("connect to a refusing proxy: %v", err)
	}
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	p.SetTarget("127.0.0.1:1")
	if _, err := pgx.Connect(t.Context(), proxied(c, p, db)); err == nil {
		t.Fatal("connected although the target does not exist")
	}
	p.SetTarget(c.Addr())
	dial(t, c, p, db)
}

func TestProxyFollowsEncryptionRequests(t *testing.T) {
	t.Parallel()
	tlsCluster := Start(t, Config{TLS: true})
	for _, tc := range []struct {
		name    string
		cluster *Cluster
		sslmode string
		framed  bool
	}{
		{"refused", Shared(t), "prefer", true},
		{"agreed", tlsCluster, "verify-full sslrootcert=" + tlsCluster.CAFile(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := StartProxy(t, tc.cluster.Addr())
			fired := p.CutAfter(isSimpleQuery("SELECT 42"))
			conninfo := strings.Replace(proxied(tc.cluster, p, "postgres"), "sslmode=disable", "sslmode="+tc.sslmode, 1)
			conn, err := pgx.Connect(t.Context(), conninfo)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(t.Context()) }()
			err = simple(t.Context(), conn, "SELECT 42")
			if tc.framed {
				if err == nil {
					t.Fatal("the rule did not see the query after a refused SSLRequest")
				}
				<-fired
			} else if err != nil {
				t.Fatalf("encrypted session: %v", err)
			}
		})
	}
}

func TestProxyPassesLargeDataThroughDelayAndThrottle(t *testing.T) {
	t.Parallel()
	_, p, conn := through(t)
	p.Delay(5 * time.Millisecond)
	p.Throttle(20 << 20)
	p.CutAfter(func(_ Direction, kind byte, _ []byte) bool { return kind == '!' }) // looks at every frame
	want := strings.Repeat("x", 3<<20)
	var got string
	if err := conn.QueryRow(t.Context(), "SELECT $1::text", want).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%d bytes came back, or others than the %d sent", len(got), len(want))
	}
}

func TestProxySeesWholeFrames(t *testing.T) {
	t.Parallel()
	_, p, conn := through(t)
	var bodies []string
	fired := p.CutAfter(func(dir Direction, kind byte, body []byte) bool {
		if dir == ToClient && kind == 'D' {
			bodies = append(bodies, string(body[6:]))
		}
		return dir == ToClient && kind == 'C' && string(body) == "SELECT 3\x00"
	})
	err := simple(t.Context(), conn, "SELECT 'row' || i FROM generate_series(1, 3) i")
	var pgErr *pgconn.PgError
	if err == nil || errors.As(err, &pgErr) {
		t.Fatalf("want a broken connection, got %v", err)
	}
	<-fired
	if got := strings.Join(bodies, " "); got != "row1 row2 row3" {
		t.Errorf("rows seen: %s", got)
	}
}
