package precheck_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/precheck"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is one pair of databases with a role of their own on either side. The
// roles have what a task needs and no more.
type fixture struct {
	t                *testing.T
	src, dst         *testenv.Cluster
	srcDB, dstDB     string
	srcRole, dstRole string
	in               precheck.Input
	admin, dstAdmin  *pgx.Conn
	all              schema.Selection
}

const rolePassword = "role-secret"

// parameterGrants is held by whoever grants or revokes on a parameter: all such grants of a cluster are one row, which
// PostgreSQL does not let two sessions change at once.
var parameterGrants sync.Mutex

func setup(t *testing.T, src, dst *testenv.Cluster) *fixture {
	t.Helper()
	f := &fixture{t: t, src: src, dst: dst, srcDB: src.Database(t), dstDB: dst.Database(t), all: schema.Selection{All: true}}
	f.srcRole, f.dstRole = f.srcDB+"_r", f.dstDB+"_r"
	f.admin, f.dstAdmin = src.Connect(t, f.srcDB), dst.Connect(t, f.dstDB)
	f.source(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN REPLICATION PASSWORD '%[3]s'; GRANT CREATE ON DATABASE %[2]s TO %[1]s;
		GRANT CREATE ON SCHEMA public TO %[1]s; SET ROLE %[1]s;
		CREATE TABLE orders (id bigserial PRIMARY KEY, code text UNIQUE, note varchar(20));
		CREATE TABLE items (id int PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders);
		INSERT INTO orders (code) VALUES ('a'); INSERT INTO items VALUES (1, 1); RESET ROLE`, f.srcRole, f.srcDB, rolePassword))
	f.destination(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[3]s'; GRANT CREATE ON DATABASE %[2]s TO %[1]s;
		GRANT CREATE ON SCHEMA public TO %[1]s; GRANT SET ON PARAMETER session_replication_role TO %[1]s`, f.dstRole, f.dstDB, rolePassword))
	f.in = precheck.Input{
		Source:      f.parse(src, f.srcDB, f.srcRole),
		Destination: f.parse(dst, f.dstDB, f.dstRole),
		Selection:   f.all, Incremental: true, Slot: "pgsyncd_" + f.srcDB, Publication: "pgsyncd_" + f.srcDB,
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for conn, role := range map[*testenv.Cluster]string{src: f.srcRole, dst: f.dstRole} {
			disown(ctx, t, conn, role, f.srcDB, f.dstDB)
		}
	})
	return f
}

// disown takes from a role what would keep its databases' clusters from being
// used by later tests.
func disown(ctx context.Context, t *testing.T, c *testenv.Cluster, role string, databases ...string) {
	t.Helper()
	for _, db := range databases {
		conn, err := pgx.Connect(ctx, c.ConnString(db))
		if err != nil {
			continue // a database of the other cluster
		}
		parameterGrants.Lock()
		_, err = conn.Exec(ctx, "DROP OWNED BY "+role+" CASCADE")
		parameterGrants.Unlock()
		_ = conn.Close(ctx) // the next error decides
		if err != nil {
			t.Error(err)
		}
	}
}

func (f *fixture) parse(c *testenv.Cluster, db, role string) *endpoint.Endpoint {
	f.t.Helper()
	e, err := endpoint.Parse(fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s sslmode=disable",
		c.Host(), c.Port(), db, role, rolePassword), endpoint.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

func (f *fixture) source(sql string)      { f.t.Helper(); f.exec(f.admin, sql) }
func (f *fixture) destination(sql string) { f.t.Helper(); f.exec(f.dstAdmin, sql) }

func (f *fixture) exec(conn *pgx.Conn, sql string) {
	f.t.Helper()
	if strings.Contains(sql, "ON PARAMETER") {
		parameterGrants.Lock()
		defer parameterGrants.Unlock()
	}
	if _, err := conn.Exec(f.ctx(), sql); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
}

func (f *fixture) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	f.t.Cleanup(cancel)
	return ctx
}

// open returns the results that did not pass, by item.
func (f *fixture) open() map[string]precheck.Result {
	f.t.Helper()
	open, seen := map[string]precheck.Result{}, map[string]bool{}
	for _, r := range precheck.Run(f.ctx(), f.in) {
		if seen[r.Item] {
			f.t.Errorf("item %q occurs twice", r.Item)
		}
		seen[r.Item] = true
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, rolePassword) || strings.Contains(text, testenv.Password) {
			f.t.Errorf("%s shows a password", text)
		}
		if r.Outcome != precheck.Passed {
			open[r.Item] = r
		} else if r.Found == "" {
			f.t.Errorf("%s: nothing was found", r.Item)
		}
	}
	return open
}

func (f *fixture) mustPass() {
	f.t.Helper()
	for item, r := range f.open() {
		f.t.Errorf("%s: %s: %s (%s)", item, r.Outcome, r.Found, r.Suggestion)
	}
}

func TestHealthyRolesPass(t *testing.T) {
	t.Parallel()
	setup(t, testenv.Shared(t), testenv.Shared(t)).mustPass()
}

func TestSuperuserPasses(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	f := setup(t, src, dst)
	for _, incremental := range []bool{true, false} {
		f.in.Incremental = incremental
		f.in.Source, f.in.Destination = superuser(t, src, f.srcDB), superuser(t, dst, f.dstDB)
		f.mustPass()
	}
}

func superuser(t *testing.T, c *testenv.Cluster, db string) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Parse(c.ConnString(db), endpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}
