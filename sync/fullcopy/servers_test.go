package fullcopy_test

import (
	"testing"

	"pgsyncd/testenv"
)

// A standby serves a copy without a stream.
func TestStandby(t *testing.T) {
	t.Parallel()
	w := setup(t, "")
	primary := testenv.Start(t, testenv.Config{})
	primary.Exec(t, "postgres", shop)
	standby := primary.StartStandby(t, testenv.Config{Settings: map[string]string{"hot_standby_feedback": "on"}})
	w.source, w.from = standby, "postgres"
	w.untilSource(t, "to_regclass('public.orders') IS NOT NULL")
	w.src, w.cfg.Source = standby.Connect(t, w.from), parse(t, standby.ConnString(w.from))
	w.cfg.SplitAbove, w.cfg.Workers = 64<<10, 8
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst, "public.customers", "public.orders", `"We ird"."Ta.b""le"`, "public.child")
	equal(t, "an unlogged table is empty there", value[int](t, w.dst, "SELECT count(*) FROM volatile"), 0)
}

// Neither side needs a superuser: the source one who may replicate and owns the tables, the destination one who may create
// schemas.
func TestOrdinaryUsers(t *testing.T) {
	t.Parallel()
	w := setup(t, "")
	for _, side := range []struct {
		c  *testenv.Cluster
		db string
	}{{w.source, w.from}, {w.destination, w.to}} {
		role := "u_" + side.db
		side.c.Exec(t, "postgres", "CREATE ROLE "+role+" LOGIN REPLICATION PASSWORD 'pw'; GRANT ALL ON DATABASE "+side.db+" TO "+role)
		side.c.Exec(t, side.db, "GRANT ALL ON SCHEMA public TO "+role)
	}
	w.source.Exec(t, w.from, "SET ROLE u_"+w.from+";"+shop+tree)
	w.incremental()
	w.cfg.Source = parse(t, w.source.ConnString(w.from)+" user=u_"+w.from+" password=pw")
	w.cfg.Destination = parse(t, w.destination.ConnString(w.to)+" user=u_"+w.to+" password=pw")
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
	// Owners are not carried: everything belongs to the user of the task.
	equal(t, "owners", value[string](t, w.dst, "SELECT string_agg(DISTINCT tableowner::text, ' ') FROM pg_tables WHERE schemaname = 'public'"), "u_"+w.to)
}

// Servers that are killed in the middle come back with what was committed.
func TestKill(t *testing.T) {
	t.Parallel()
	w := setup(t, "")
	w.source, w.destination = testenv.Start(t, testenv.Config{}), testenv.Start(t, testenv.Config{})
	w.from, w.to = "postgres", "postgres"
	w.cfg.Source, w.cfg.Destination = parse(t, w.source.ConnString(w.from)), parse(t, w.destination.ConnString(w.to))
	w.source.Exec(t, w.from, keyless+`CREATE TABLE c AS SELECT * FROM a; CREATE INDEX ON c (n); INSERT INTO c SELECT * FROM c;
		INSERT INTO c SELECT * FROM c; INSERT INTO c SELECT * FROM c; CREATE TABLE d AS SELECT * FROM c`)
	w.incremental()
	w.cfg.SplitAbove = 4 << 20
	for _, victim := range []*testenv.Cluster{w.destination, w.source} {
		source, destination := w.through(t)
		source.Throttle(4 << 20)
		destination.Throttle(4 << 20)
		wait := w.background(t.Context())
		w.untilDestination(t, "EXISTS (SELECT FROM pg_stat_progress_copy)")
		if err := victim.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := wait(); err == nil {
			t.Fatal("the kill was not noticed")
		}
		if err := victim.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.cfg.Source, w.cfg.Destination = parse(t, w.source.ConnString(w.from)), parse(t, w.destination.ConnString(w.to))
	w.run(t)
	testenv.MustEqual(t, w.source.Connect(t, w.from), w.destination.Connect(t, w.to))
}
