package fullcopy_test

import (
	"context"
	"errors"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

func (w *world) objectStates() map[string]fullcopy.ObjectState {
	states := map[string]fullcopy.ObjectState{}
	for _, o := range w.report.objects {
		states[o.Type+" "+o.Name] = o.State
	}
	return states
}

// An object that fails keeps only those waiting that need it: everything else is made and copied, and every failure is told at
// once. The next run tries what is left and nothing else.
func TestFailuresDoNotSpread(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TYPE mood AS ENUM ('sad', 'ok');
		CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
		CREATE TABLE moody (id int PRIMARY KEY, m mood); INSERT INTO moody VALUES (1, 'ok');
		CREATE TABLE free (id int PRIMARY KEY, moody int REFERENCES moody); INSERT INTO free VALUES (1, 1), (2, NULL);
		CREATE INDEX on_f ON free (f(id)); CREATE INDEX on_moody ON free (moody);
		CREATE TABLE checked (id int CHECK (id <> 13)); INSERT INTO checked VALUES (1);
		CREATE TABLE filled (id int UNIQUE, g int GENERATED ALWAYS AS IDENTITY); INSERT INTO filled VALUES (1);
		CREATE STATISTICS st ON id, g FROM filled;
		CREATE VIEW over_filled AS SELECT * FROM filled; CREATE VIEW over_free AS SELECT * FROM free;
		CREATE MATERIALIZED VIEW kept AS SELECT * FROM free;
		CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER on_free BEFORE INSERT ON free FOR EACH ROW EXECUTE FUNCTION touch();
		CREATE TRIGGER on_filled BEFORE INSERT ON filled FOR EACH ROW EXECUTE FUNCTION touch();
		CREATE SEQUENCE s START 42;`)
	// A domain of that name is in the way of the enum, and would even do as a column's type; the rows of one table are not the task's.
	w.destination.Exec(t, w.to, `CREATE DOMAIN mood AS text; CREATE TABLE filled (id int); INSERT INTO filled VALUES (7)`)
	_, err := fullcopy.Run(t.Context(), w.cfg)
	failed, causes := map[string]bool{}, 0
	for _, f := range objectsError(t, err).Failures {
		failed[f.Type+" "+f.Name] = true
		if !f.Dependent {
			causes++
		}
	}
	equal(t, "causes", causes, 2)
	equal(t, "failures", failed, map[string]bool{
		`TYPE "public"."mood"`: true, `TABLE "public"."moody"`: true, `TABLE "public"."filled"`: true, `VIEW "public"."over_filled"`: true,
		`SEQUENCE "public"."filled_g_seq"`: true, `SEQUENCE VALUE "public"."filled_g_seq"`: true,
	})
	testenv.MustEqual(t, w.src, w.dst, "public.free", "public.checked")
	states := w.objectStates()
	for object, want := range map[string]fullcopy.ObjectState{
		`INDEX "public"."on_f"`: fullcopy.ObjectCreated, `INDEX "public"."on_moody"`: fullcopy.ObjectCreated,
		`TRIGGER "on_free" ON "public"."free"`: fullcopy.ObjectCreated, `VIEW "public"."over_free"`: fullcopy.ObjectCreated,
		`TRIGGER "on_filled" ON "public"."filled"`: "", `FK CONSTRAINT "free_moody_fkey" ON "public"."free"`: "",
		`POPULATION OF MATERIALIZED VIEW "public"."kept"`: "",
	} {
		equal(t, object, states[object], want)
	}
	for name, want := range map[string]fullcopy.TableState{
		"free": fullcopy.TableDone, "checked": fullcopy.TableDone, "moody": fullcopy.TableFailed, "filled": fullcopy.TableFailed,
	} {
		equal(t, name, w.report.table(name).State, want)
	}
	equal(t, "rows of others", value[int](t, w.dst, "SELECT id FROM filled"), 7)

	w.destination.Exec(t, w.to, "DROP DOMAIN mood; DROP TABLE filled; DELETE FROM free WHERE id = 2")
	w.report.objects = nil
	_, err = fullcopy.Run(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	testenv.MustEqual(t, w.src, w.dst, "public.moody", "public.filled", "public.checked")
	equal(t, "a finished table stays as it is", value[int](t, w.dst, "SELECT count(*) FROM free"), 1)
	if state, again := w.objectStates()[`INDEX "public"."on_moody"`]; again {
		t.Errorf("a finished index is %s again", state)
	}
	equal(t, "foreign keys", value[int](t, w.dst, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), 1)
	equal(t, "sequence", value[int](t, w.dst, "SELECT last_value FROM s"), 42)
	equal(t, "materialized view", value[int](t, w.dst, "SELECT count(*) FROM kept"), 1)
}

// Policies never make a copy incomplete: where they would apply the table is refused, with the way out.
func TestRowSecurity(t *testing.T) {
	t.Parallel()
	w := setup(t, "")
	role := "rls_" + w.from
	w.source.Exec(t, "postgres", "CREATE ROLE "+role+" LOGIN PASSWORD 'pw'")
	w.source.Exec(t, w.from, `CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON guarded USING (id = 1);
		INSERT INTO guarded VALUES (1), (2); CREATE TABLE open (id int); INSERT INTO open VALUES (1);
		GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+role)
	w.cfg.Source = parse(t, w.source.ConnString(w.from)+" user="+role+" password=pw")
	_, err := fullcopy.Run(t.Context(), w.cfg)
	var policy *fullcopy.PolicyError
	if !errors.As(tablesError(t, err).Failures[0].Err, &policy) || policy.Side != "source" || policy.Table != public("guarded") || tablesError(t, err).Hint() != policy.Hint() {
		t.Fatalf("got %v", err)
	}
	testenv.MustEqual(t, w.src, w.dst, "public.open")
	w.source.Exec(t, w.from, "ALTER ROLE "+role+" BYPASSRLS")
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
	equal(t, "policies", value[string](t, w.dst, "SELECT polname || ' ' || relrowsecurity FROM pg_policy JOIN pg_class c ON c.oid = polrelid"), "few true")

	// Likewise in the destination.
	w = setup(t, "CREATE TABLE guarded (id int); INSERT INTO guarded VALUES (1), (2)")
	w.destination.Exec(t, "postgres", "CREATE ROLE "+role+" LOGIN PASSWORD 'pw'; GRANT ALL ON DATABASE "+w.to+" TO "+role)
	w.destination.Exec(t, w.to, `CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
		GRANT ALL ON TABLE guarded TO `+role+"; GRANT ALL ON SCHEMA public TO "+role)
	w.cfg.Destination = parse(t, w.destination.ConnString(w.to)+" user="+role+" password=pw")
	w.cfg.ExistingObjects = fullcopy.ExistingUse
	_, err = fullcopy.Run(t.Context(), w.cfg)
	if !errors.As(tablesError(t, err).Failures[0].Err, &policy) || policy.Side != "destination" {
		t.Fatalf("got %v", err)
	}
}

// A selection need not have tables that hold rows.
func TestSelectedViewsAndSequences(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE a (id int); CREATE VIEW v AS SELECT 1 AS one; CREATE SEQUENCE s START 7; CREATE MATERIALIZED VIEW m AS SELECT 2 AS two")
	for _, c := range []struct {
		selection schema.Selection
		sql       string
	}{
		{schema.Selection{Views: []schema.Name{public("v")}}, `SELECT one FROM "other".v`},
		{schema.Selection{Sequences: []schema.Name{public("s")}}, `SELECT last_value - 6 FROM "other".s`},
		{schema.Selection{Matviews: []schema.Name{public("m")}}, `SELECT two - 1 FROM "other".m`},
	} {
		w.cfg.Task, w.cfg.Selection = newTask(), c.selection
		w.cfg.Selection.Map.Schemas = []schema.SchemaMap{{From: "public", To: "other"}}
		w.run(t)
		equal(t, c.sql, value[int](t, w.dst, c.sql), 1)
	}
	w.cfg.Selection = schema.Selection{}
	if _, err := fullcopy.Run(t.Context(), w.cfg); err == nil {
		t.Error("nothing was copied")
	}
}

// Owners and privileges of what existed are left alone.
func TestOwnersOfExisting(t *testing.T) {
	t.Parallel()
	w := setup(t, "")
	owner := "owner_" + w.from
	for _, c := range []*testenv.Cluster{w.source, w.destination} {
		if c == w.destination && w.source == w.destination {
			continue
		}
		c.Exec(t, "postgres", "CREATE ROLE "+owner)
	}
	w.source.Exec(t, w.from, "CREATE SCHEMA s; ALTER SCHEMA s OWNER TO "+owner+"; CREATE TABLE s.a (id int); CREATE TABLE s.b (id int); ALTER TABLE s.a OWNER TO "+owner+
		"; ALTER TABLE s.b OWNER TO "+owner)
	w.destination.Exec(t, w.to, "CREATE SCHEMA s; CREATE TABLE s.a (id int)")
	w.cfg.ExistingObjects, w.cfg.Selection.Accounts.All = fullcopy.ExistingUse, true
	w.cfg.Roles = func(context.Context, *pgx.Conn, *pgx.Conn) ([]string, error) { return []string{owner}, nil }
	w.run(t)
	equal(t, "owners", value[string](t, w.dst, "SELECT string_agg(relname || ' ' || (relowner = '"+owner+"'::regrole), ', ' ORDER BY relname) FROM pg_class WHERE relnamespace = 's'::regnamespace"), "a false, b true")
}
