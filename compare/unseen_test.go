package compare_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// TestObjectsThatCannotBeSeen: a table that the task's user may not lock in the destination is undecided, with all that it has, and it is
// said what to grant. Everything else is compared.
func TestObjectsThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both(`CREATE SCHEMA closed; CREATE TABLE t(id int PRIMARY KEY, v text DEFAULT 'a'); CREATE VIEW open_view AS SELECT 1 AS one;
		CREATE TABLE "Hidden"(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text CHECK (v <> ''), s serial); CREATE INDEX hidden_v ON "Hidden" (v); COMMENT ON TABLE "Hidden" IS 'c';
		CREATE TABLE closed.t(id int REFERENCES t); CREATE TABLE p(id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)`)
	l.exec(l.d, "ALTER TABLE t ALTER v SET DEFAULT 'b'")
	user := strings.ToLower(fmt.Sprintf("unseen_%d", l.d.PgConn().PID()))
	l.exec(l.d, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD 'x'; GRANT SELECT ON t, p, p1 TO %[1]s; GRANT SELECT ON closed.t TO %[1]s`, user))
	t.Cleanup(func() {
		if _, err := l.d.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+user+"; DROP ROLE "+user, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Error(err)
		}
	})
	c := l.d.Config()
	l.target = parse(t, fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=x sslmode=disable", c.Host, c.Port, c.Database, user))
	l.serve()
	found := l.unequal(compare.TypeObjects)
	for key, got := range found {
		switch {
		case key == `TABLE "public"."t"`:
			if !strings.HasPrefix(got, "different") {
				t.Errorf("%s: %s", key, got)
			}
		case strings.Contains(key, `"Hidden"`) || strings.Contains(key, "hidden_v") || strings.Contains(key, `"closed"."t"`) || strings.Contains(key, `"Hidden_`):
			if !strings.HasPrefix(got, "undecided") {
				t.Errorf("%s: %s", key, got)
			}
		default:
			t.Errorf("not planted: %s: %s", key, got)
		}
	}
	for _, key := range []string{`TABLE "public"."t"`, `TABLE "public"."Hidden"`, `TABLE "closed"."t"`} {
		if found[key] == "" {
			t.Errorf("%s is not told: %v", key, keys(found))
		}
	}
	var remarks string
	if err := l.catalog.Pool().QueryRow(t.Context(), `SELECT string_agg(DISTINCT remarks, E'\n') FROM sync.sync_compare_objects WHERE result = 'undecided'`).Scan(&remarks); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`GRANT SELECT ON "public"."Hidden" TO ` + user + ";", `GRANT USAGE ON SCHEMA "closed" TO ` + user + ";"} {
		if !strings.Contains(remarks, want) {
			t.Errorf("%q lacks %s", remarks, want)
		}
	}
	l.exec(l.d, fmt.Sprintf(`GRANT SELECT ON "Hidden" TO %[1]s; GRANT USAGE ON SCHEMA closed TO %[1]s`, user))
	if found := l.unequal(compare.TypeObjects); len(found) != 1 {
		t.Errorf("after the GRANTs: %v", found)
	}
	l.exec(l.d, fmt.Sprintf(`REVOKE SELECT ON "Hidden" FROM %s`, user))
	l.create("accounts", schema.Selection{All: true, Accounts: schema.Accounts{All: true}}, completed...)
	if run := l.await(l.queue(catalog.CompareRun{Type: compare.TypeAccounts})); run.State != compare.StateFailed || !strings.Contains(run.Error, `GRANT SELECT ON "public"."Hidden" TO `+user) {
		t.Errorf("accounts: %s %s", run.State, run.Error)
	}
}
