package fullcopy_test

import (
	"errors"
	"strings"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"
)

func objectsError(t *testing.T, err error) *fullcopy.ObjectsError {
	t.Helper()
	var objects *fullcopy.ObjectsError
	if !errors.As(err, &objects) {
		t.Fatalf("got %v", err)
	}
	return objects
}

// What the destination refuses is listed with the causes first; the next run tries only that again.
func TestObjectsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1);
		CREATE TABLE b (id int); CREATE VIEW v AS SELECT * FROM b; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	w.incremental()
	exec(t, w.dst, "CREATE TABLE b (other text)")
	_, err := fullcopy.Run(t.Context(), w.cfg)
	objects := objectsError(t, err)
	equal(t, "failures", len(objects.Failures), 2)
	equal(t, "cause", objects.Failures[0].Name+" "+objects.Failures[0].Type, `"public"."b" TABLE`)
	equal(t, "consequence", objects.Failures[1].Dependent, true)
	equal(t, "others are tried", value[int](t, w.dst, "SELECT f()"), 1)
	exec(t, w.dst, "DROP TABLE b")
	w.report.objects = nil
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
	for _, o := range w.report.objects {
		if o.Type == "FUNCTION" {
			t.Errorf("%s %s was created again", o.Type, o.Name)
		}
	}
}

// Constraints that the rows violate do not keep others from being made.
func TestConstraintRefused(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (id int PRIMARY KEY, t text UNIQUE); INSERT INTO a VALUES (1, 'x');
		CREATE TABLE b (a int REFERENCES a, c text UNIQUE); CREATE INDEX i ON b (c); INSERT INTO b VALUES (1, 'x')`)
	w.cfg.ExistingObjects = fullcopy.ExistingAppend
	exec(t, w.dst, "CREATE TABLE a (id int, t text); INSERT INTO a VALUES (1, 'y'), (1, 'z')")
	_, err := fullcopy.Run(t.Context(), w.cfg)
	objects := objectsError(t, err)
	var failed []string
	for _, f := range objects.Failures {
		failed = append(failed, f.Name)
	}
	equal(t, "failures", failed, []string{`"a_pkey" ON "public"."a"`})
	tables := new(fullcopy.TablesError)
	if !errors.As(err, &tables) || len(tables.Failures) != 1 {
		t.Fatalf("got %v", err)
	}
	equal(t, "rows that could collide are not added", value[int](t, w.dst, "SELECT count(*) FROM a"), 2)
	testenv.MustEqual(t, w.src, w.dst, "public.b")
	exec(t, w.dst, "DELETE FROM a")
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
	equal(t, "constraints", value[int](t, w.dst, "SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"), 4)
}

func TestExistingUse(t *testing.T) {
	t.Parallel()
	w := setup(t, shop)
	w.cfg.ExistingObjects = fullcopy.ExistingUse
	// Other order and types, further columns, a foreign key that forbids TRUNCATE.
	exec(t, w.dst, `CREATE TABLE orders (more text DEFAULT 'm', total numeric, customer bigint, id bigint PRIMARY KEY);
		CREATE TABLE mine (o bigint REFERENCES orders)`)
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst, "public.customers", "public.child")
	sum := "SELECT count(*) || ' ' || sum(id) || ' ' || sum(customer) || ' ' || sum(total) FROM orders"
	equal(t, "orders", value[string](t, w.dst, sum), value[string](t, w.src, sum))
	equal(t, "default", value[int](t, w.dst, "SELECT count(*) FROM orders WHERE more = 'm'"), 5000)
}

func TestExistingUseNotEmpty(t *testing.T) {
	t.Parallel()
	for _, split := range []int64{0, 64 << 10} {
		w := setup(t, shop)
		w.cfg.ExistingObjects, w.cfg.SplitAbove = fullcopy.ExistingUse, split
		exec(t, w.dst, `CREATE TABLE orders (id int PRIMARY KEY, customer bigint, total numeric(10,2)); INSERT INTO orders VALUES (-1)`)
		_, err := fullcopy.Run(t.Context(), w.cfg)
		var unit *fullcopy.UnitError
		var tables *fullcopy.TablesError
		if !errors.As(err, &tables) || !errors.As(tables.Failures[0].Err, &unit) {
			t.Fatalf("got %v", err)
		}
		equal(t, "row", value[int](t, w.dst, "SELECT count(*) FROM orders"), 1)
		testenv.MustEqual(t, w.src, w.dst, "public.customers")
	}
}

// Tables that cannot take the rows are named, the others are copied.
func TestMisfits(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE lacks (a int, b int); CREATE TABLE generates (a int, b int); CREATE TABLE good (a int); INSERT INTO good VALUES (1)")
	w.cfg.ExistingObjects = fullcopy.ExistingUse
	w.destination.Exec(t, w.to, "CREATE TABLE lacks (a int); CREATE TABLE generates (a int, b int GENERATED ALWAYS AS (a + 1) STORED)")
	_, err := fullcopy.Run(t.Context(), w.cfg)
	var tables *fullcopy.TablesError
	if !errors.As(err, &tables) || len(tables.Failures) != 2 {
		t.Fatalf("got %v", err)
	}
	testenv.MustEqual(t, w.src, w.dst, "public.good")

	w = setup(t, "CREATE TABLE t (r regclass)")
	w.cfg.Format = fullcopy.FormatBinary
	if _, err := fullcopy.Run(t.Context(), w.cfg); !errors.As(err, &tables) {
		t.Fatalf("got %v", err)
	}
}

func TestExistingReplace(t *testing.T) {
	t.Parallel()
	w := setup(t, shop)
	w.run(t)
	exec(t, w.dst, "UPDATE customers SET name = 'old'; CREATE TABLE stranger AS SELECT 1 AS one")
	first := w.cfg.Task
	w.cfg.Task, w.cfg.ExistingObjects = newTask(), fullcopy.ExistingReplace
	_, err := fullcopy.Run(t.Context(), w.cfg)
	equal(t, "refused", objectsError(t, err).Failures[0].Type, "TABLE")
	equal(t, "rows of another task stay", value[int](t, w.dst, "SELECT count(*) FROM orders"), 5000)
	erase(t, w, first)
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
	equal(t, "stranger", value[int](t, w.dst, "SELECT one FROM stranger"), 1)

	exec(t, w.dst, "CREATE VIEW dependent AS SELECT * FROM orders")
	erase(t, w, w.cfg.Task)
	w.cfg.Task = newTask()
	_, err = fullcopy.Run(t.Context(), w.cfg)
	if objects := objectsError(t, err); !strings.Contains(objects.Error(), "orders") {
		t.Errorf("got %v", err)
	}
	equal(t, "nothing is dropped", value[int](t, w.dst, "SELECT count(*) FROM dependent"), 5000)
}

// erase does what the end of a task does.
func erase(t *testing.T, w *world, task string) {
	t.Helper()
	if err := ledger.Erase(t.Context(), w.dst, task); err != nil {
		t.Fatal(err)
	}
}

// Trap 30: two tasks into one table. The first creates and empties it; the second only adds, and when it is cut off and
// repeated, rows of the first stay and its own are not doubled.
func TestAppend(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT i, repeat('x', 100) FROM generate_series(1, 50000) i;
		CREATE SEQUENCE s START 500`)
	w.run(t)
	second := *w
	second.from = w.source.Database(t)
	second.source.Exec(t, second.from, `CREATE TABLE a (id int PRIMARY KEY, t text);
		INSERT INTO a SELECT -i, repeat('x', 100) FROM generate_series(1, 50000) i; CREATE SEQUENCE s START 3`)
	second.src = second.source.Connect(t, second.from)
	second.cfg.Task, second.cfg.ExistingObjects, second.cfg.SplitAbove = newTask(), fullcopy.ExistingAppend, 1<<20
	second.incremental()
	_, destination := second.through(t)
	n := 0
	cut := destination.CutAfter(func(d testenv.Direction, kind byte, _ []byte) bool {
		if d == testenv.ToTarget && kind == 'd' {
			n++
		}
		return n == 30000
	})
	_, err := fullcopy.Run(t.Context(), second.cfg)
	<-cut
	if err == nil {
		t.Fatal("the cut was not noticed")
	}
	equal(t, "rows", value[int](t, w.dst, "SELECT count(*) FROM a"), 50000)
	second.run(t)
	equal(t, "rows", value[string](t, w.dst, "SELECT count(*) || ' ' || count(*) FILTER (WHERE id < 0) FROM a"), "100000 50000")
	equal(t, "sequence", value[int](t, w.dst, "SELECT last_value FROM s"), 500)

	// The first would have to empty the table to copy it again; the second's claim forbids it.
	exec(t, w.dst, "DELETE FROM pgsyncd.copied WHERE task = $1::uuid", w.cfg.Task)
	_, err = fullcopy.Run(t.Context(), w.cfg)
	var unit *fullcopy.UnitError
	var tables *fullcopy.TablesError
	if !errors.As(err, &tables) || !errors.As(tables.Failures[0].Err, &unit) {
		t.Fatalf("got %v", err)
	}
	equal(t, "rows", value[int](t, w.dst, "SELECT count(*) FROM a"), 100000)
}

// A task that adds rows waits until the one that fills the same table is done with it.
func TestAppendWaits(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
	w.run(t)
	exec(t, w.dst, "CREATE TABLE kept AS SELECT * FROM pgsyncd.copied; DELETE FROM pgsyncd.copied") // as in the middle of several parts
	second := *w
	second.cfg.Task, second.cfg.ExistingObjects = newTask(), fullcopy.ExistingAppend
	told := w.report.phase(func(p string) bool { return strings.Contains(p, "waiting for another task") })
	wait := second.background(t.Context())
	<-told
	exec(t, w.dst, "INSERT INTO pgsyncd.copied SELECT * FROM kept")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", value[int](t, w.dst, "SELECT count(*) FROM a"), 2)
}

// Databases of other encodings are converted once; equal ones are not touched.
func TestEncodings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to string }{{"LATIN1", "UTF8"}, {"LATIN1", "LATIN1"}, {"SQL_ASCII", "SQL_ASCII"}} {
		t.Run(c.from+" "+c.to, func(t *testing.T) {
			t.Parallel()
			w := setup(t, "")
			make := func(c *testenv.Cluster, db, encoding string) {
				c.Exec(t, "postgres", "DROP DATABASE "+db+" WITH (FORCE)")
				c.Exec(t, "postgres", "CREATE DATABASE "+db+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING '"+encoding+"'")
			}
			make(w.source, w.from, c.from)
			make(w.destination, w.to, c.to)
			w.src, w.dst = w.source.Connect(t, w.from), w.destination.Connect(t, w.to)
			if c.from == "SQL_ASCII" {
				exec(t, w.src, `CREATE TABLE a AS SELECT E'\xff\xfe' || ''::text AS t`)
			} else {
				exec(t, w.src, `CREATE TABLE "ä" (t text)`)
				exec(t, w.src, `INSERT INTO "ä" VALUES ('größe')`)
			}
			w.run(t)
			if c.from == "SQL_ASCII" {
				equal(t, "bytes", value[string](t, w.dst, "SELECT encode(t::bytea, 'hex') FROM a"), "fffe")
			} else {
				testenv.MustEqual(t, w.src, w.dst)
			}
		})
	}
}
