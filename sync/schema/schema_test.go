package schema_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a database with the test's schema, and a connection as tasks have it.
type source struct {
	cluster  *testenv.Cluster
	db       string
	endpoint *endpoint.Endpoint
	conn     *pgx.Conn
}

func newDatabase(t *testing.T, c *testenv.Cluster, sql string) source {
	t.Helper()
	s := source{cluster: c, db: c.Database(t)}
	if sql != "" {
		c.Exec(t, s.db, sql)
	}
	var err error
	if s.endpoint, err = endpoint.Parse(c.ConnString(s.db), endpoint.Options{}); err != nil {
		t.Fatal(err)
	}
	if s.conn, err = s.endpoint.Connect(t.Context(), "schema test"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.conn.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func testSQL(t *testing.T, name string) string {
	t.Helper()
	sql, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(sql)
}

func (s source) read(t *testing.T, sel schema.Selection) *schema.Inventory {
	t.Helper()
	inv, err := schema.Read(t.Context(), s.conn, sel)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func (s source) pgDump(t *testing.T) string {
	t.Helper()
	path, _, err := schema.FindPgDump(t.Context(), s.cluster.VersionNum(), s.cluster.VersionNum())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (s source) dump(t *testing.T, tables ...schema.Name) *schema.Archive {
	t.Helper()
	dir := t.TempDir()
	a, err := schema.Dump(t.Context(), schema.DumpConfig{Endpoint: s.endpoint, PgDump: s.pgDump(t), WorkDir: dir, Relations: tables})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the working directory: %v, %v", left, err)
	}
	return a
}

func (s source) plan(t *testing.T, sel schema.Selection, o schema.PlanOptions) (*schema.Archive, *schema.Plan) {
	t.Helper()
	a := s.dump(t)
	p, err := a.Plan(s.read(t, sel), sel, o)
	if err != nil {
		t.Fatal(err)
	}
	return a, p
}

// build executes a plan as the full copy does, without data.
func (s source) build(t *testing.T, a *schema.Archive, p *schema.Plan) {
	t.Helper()
	s.exec(t, a.SessionSQL())
	for _, list := range [][]schema.Entry{p.Before, p.Indexes, p.Constraints, p.After} {
		for _, e := range list {
			if _, err := s.conn.PgConn().Exec(t.Context(), e.Definition).ReadAll(); err != nil {
				t.Fatalf("%s: %v\n%s", e.Key(), err, e.Definition)
			}
		}
	}
}

func (s source) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := s.conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// plainDump is the database's structure as pg_dump writes it.
func (s source) plainDump(t *testing.T, args ...string) string {
	t.Helper()
	connect, env, cleanup, err := s.endpoint.PgDump(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cleanup(); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(t.Context(), s.pgDump(t), append(append(args, "--schema-only", "--no-owner", "--no-acl"), connect...)...)
	cmd.Env = env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var lines []string
	for _, line := range strings.Split(string(out), "\n") {
		// Recent minor versions enclose the script in a random restrict key.
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func TestWholeDatabase(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "rich.sql"))
	dst := newDatabase(t, destinationCluster, "")
	archive, plan := src.plan(t, schema.Selection{All: true}, schema.PlanOptions{Indexes: true})
	dst.build(t, archive, plan)
	if diff := cmp.Diff(src.plainDump(t), dst.plainDump(t)); diff != "" {
		t.Errorf("structure differs (-source +destination):\n%s", diff)
	}
	if len(plan.Excluded) > 0 {
		t.Errorf("excluded: %v", plan.Excluded)
	}
	for _, e := range plan.Indexes {
		if e.Table == (schema.Name{}) {
			t.Errorf("%s belongs to no table", e.Key())
		}
	}
	for _, name := range plan.Matviews {
		dst.exec(t, "REFRESH MATERIALIZED VIEW "+name.String())
	}
	want := []schema.Name{{Schema: "shop", Name: "by_key"}, {Schema: "shop", Name: "zz_base"}, {Schema: "shop", Name: "aa_top"}}
	if diff := cmp.Diff(map[schema.Name]bool{want[0]: true, want[1]: true, want[2]: true}, set(plan.Matviews)); diff != "" {
		t.Errorf("materialized views: %s", diff)
	}
	keys := map[string]bool{}
	for _, list := range [][]schema.Entry{plan.Before, plan.Indexes, plan.Constraints, plan.After} {
		for _, e := range list {
			if keys[e.Key()] {
				t.Errorf("key %s is not unique", e.Key())
			}
			keys[e.Key()] = true
		}
	}
}

func set(names []schema.Name) map[schema.Name]bool {
	m := map[schema.Name]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}
