package endpoint_test

import (
	"fmt"
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// results is one test as "item result" lines.
func results(checks []endpoint.Check) []string {
	var lines []string
	for _, check := range checks {
		lines = append(lines, check.Item+" "+check.Result)
	}
	return lines
}

func TestConnectionTest(t *testing.T) {
	t.Parallel()
	c := refusing(t)
	at := fmt.Sprintf("host=127.0.0.1 port=%d password=right-secret sslmode=disable ", c.Port())
	for name, row := range map[string]struct {
		conninfo, role string
		want           string // the failed items
	}{
		"source":      {c.ConnString("postgres"), endpoint.Source, ""},
		"destination": {c.ConnString("postgres"), endpoint.Destination, ""},
		"refused":     {"host=127.0.0.1 port=1 user=u", endpoint.Destination, "reachable TLS login database version primary"},
		"TLS":         {c.ConnString("postgres") + " sslmode=require", endpoint.Destination, "TLS login database version primary"},
		"login":       {at + "user=nologin dbname=postgres", endpoint.Source, "login database version replication connection"},
		"database":    {at + "user=plain dbname=nowhere", endpoint.Source, "database version replication connection"},
		"replication": {at + "user=plain dbname=postgres", endpoint.Source, "replication connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checks := endpoint.Test(testContext(t), parse(t, row.conninfo, endpoint.Options{}), row.role)
			want := []string{"reachable", "TLS", "login", "database", "version", "primary"}
			if row.role == endpoint.Source {
				want[5] = "replication connection"
			}
			for i, item := range want {
				if strings.Contains(row.want, item) {
					want[i] += " failed"
				} else {
					want[i] += " passed"
				}
			}
			if diff := cmp.Diff(want, results(checks)); diff != "" {
				t.Errorf("(-want +got):\n%s%+v", diff, checks)
			}
			if strings.Contains(fmt.Sprintf("%+v", checks), "-secret") {
				t.Errorf("%+v shows the password", checks)
			}
		})
	}
}

func TestStandbyAsDestination(t *testing.T) {
	t.Parallel()
	c := testenv.Start(t, testenv.Config{})
	standby := c.StartStandby(t, testenv.Config{})
	checks := endpoint.Test(testContext(t), parse(t, standby.ConnString("postgres"), endpoint.Options{}), endpoint.Destination)
	if last := checks[len(checks)-1]; last.Item != "primary" || last.Result != endpoint.Failed {
		t.Errorf("%+v", checks)
	}
}
