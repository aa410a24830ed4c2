package endpoint

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Check is one row of a connection test.
type Check struct {
	Item       string
	Result     string // passed or failed
	Found      string
	Suggestion string // empty when passed
}

// Results of a Check.
const (
	Passed = "passed"
	Failed = "failed"
)

// Roles of an endpoint.
const (
	Source      = "source"
	Destination = "destination"
)

// The versions that are supported, as in server_version_num / 100.
const (
	OldestSource      = 904
	OldestDestination = 905
	Newest            = 1800
)

const testApplication = "pgsyncd connection test"

// causesBeforeLogin are those that leave unknown whether the login is right.
var causesBeforeLogin = map[string]bool{
	CauseConnInfo: true, CauseUnreachable: true, CauseUnknownHost: true, CauseRefused: true, CauseNoSocket: true,
	CauseTimeout: true, CauseClosed: true, CauseNotReady: true,
}

var causesOfTLS = map[string]bool{
	CauseNoTLS: true, CauseInvalidCA: true, CauseHostName: true, CauseCertificate: true, CauseTLS: true,
}

// Test connects to the endpoint as the role source or destination would and
// returns one row per question. A question that could not be asked has failed.
func Test(ctx context.Context, e *Endpoint, role string) []Check {
	conn, err := e.Connect(ctx, testApplication)
	if err != nil {
		return failures(err, role)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // the answer is already known
	}()
	where := fmt.Sprintf("%s port %d", e.Host(), e.Port())
	if address := conn.PgConn().Conn().RemoteAddr(); address != nil && address.Network() == "tcp" {
		where += " (" + address.String() + ")"
	}
	checks := []Check{
		passed("reachable", where),
		passed("TLS", describeTLS(conn)),
		passed("login", "as "+e.User()),
		passed("database", e.Database()),
	}
	checks = append(checks, testServer(ctx, conn, role)...)
	if role == Source {
		checks = append(checks, testReplication(ctx, e))
	}
	return checks
}

func passed(item, found string) Check { return Check{Item: item, Result: Passed, Found: found} }

// failures spreads one error over the questions: those before the one it answers
// have passed, those after it were not asked.
func failures(err error, role string) []Check {
	d := Diagnose(err)
	items := []string{"reachable", "TLS", "login", "database", "version", "primary"}
	if role == Source {
		items = append(items[:5], "replication connection")
	}
	failed := 2
	switch {
	case causesBeforeLogin[d.Cause]:
		failed = 0
	case causesOfTLS[d.Cause]:
		failed = 1
	case d.Cause == CauseNoDatabase || d.Cause == CauseNoConnect:
		failed = 3
	}
	var checks []Check
	for i, item := range items {
		switch {
		case i < failed:
			checks = append(checks, passed(item, "yes"))
		case i == failed:
			checks = append(checks, Check{item, Failed, d.Cause + ": " + d.Message, d.Hint})
		default:
			checks = append(checks, Check{item, Failed, "not tested, because of: " + d.Cause, ""})
		}
	}
	return checks
}

func describeTLS(conn *pgx.Conn) string {
	secured, ok := conn.PgConn().Conn().(*tls.Conn)
	if !ok {
		return "not used"
	}
	state := secured.ConnectionState()
	return fmt.Sprintf("%s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
}

func testServer(ctx context.Context, conn *pgx.Conn, role string) []Check {
	var number int
	var text string
	var standby bool
	err := conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int,
		pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery()`).Scan(&number, &text, &standby)
	if err != nil {
		return []Check{{"version", Failed, Diagnose(err).Message, ""}}
	}
	checks := []Check{passed("version", text)}
	oldest, name := OldestSource, "9.4"
	if role == Destination {
		oldest, name = OldestDestination, "9.5"
	}
	if number/100 < oldest || number/10000 > Newest/100 {
		checks[0] = Check{
			"version", Failed, text,
			fmt.Sprintf("A %s must be PostgreSQL %s to %d.", role, name, Newest/100),
		}
	}
	if role == Destination {
		primary := passed("primary", "yes")
		if standby {
			primary = Check{"primary", Failed, "the server is a standby", "Connect to the primary (target_session_attrs=read-write with all hosts listed)."}
		}
		checks = append(checks, primary)
	}
	return checks
}

func testReplication(ctx context.Context, e *Endpoint) Check {
	conn, err := e.ConnectReplication(ctx, testApplication)
	if err != nil {
		d := Diagnose(err)
		return Check{"replication connection", Failed, d.Cause + ": " + d.Message, d.Hint}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(closing) // the answer is already known
	return passed("replication connection", "replication=database")
}
