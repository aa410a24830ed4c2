package fullcopy_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// A row that a trigger of the destination keeps away does not pass for one that collided.
func TestAppendWithTrigger(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 10)`)
	w.destination.Exec(t, w.to, `CREATE TABLE a (id int PRIMARY KEY); CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER s BEFORE INSERT ON a FOR EACH ROW WHEN (NEW.id = 5) EXECUTE FUNCTION swallow(); ALTER TABLE a ENABLE ALWAYS TRIGGER s`)
	w.cfg.ExistingObjects = fullcopy.ExistingAppend
	_, err := fullcopy.Run(t.Context(), w.cfg)
	if !strings.Contains(tablesError(t, err).Error(), "another number of rows") {
		t.Errorf("got %v", err)
	}
	equal(t, "rows", value[int](t, w.dst, "SELECT count(*) FROM a"), 0)
	exec(t, w.dst, "ALTER TABLE a DISABLE TRIGGER s; INSERT INTO a VALUES (3)")
	w.run(t)
	equal(t, "rows", value[int](t, w.dst, "SELECT count(*) FROM a"), 10)
	equal(t, "ignored", w.report.table("a").RowsIgnored, int64(1))
}

// What needs an object that is not the source's is not made with the one that has its name, be it one of many or not.
func TestNothingIsMadeOfAnothersObject(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TABLE a (id int); CREATE TABLE b (id int);
		CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION touch(); CREATE TRIGGER t BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION touch()`)
	w.destination.Exec(t, w.to, `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
	_, err := fullcopy.Run(t.Context(), w.cfg)
	equal(t, "failures", len(objectsError(t, err).Failures), 3)
	equal(t, "triggers", value[int](t, w.dst, "SELECT count(*) FROM pg_trigger"), 0)
}

// A partition is part of what another task has filled, whether that has rows in it or not.
func TestPartitionOfAnotherTask(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (1), (2)`)
	w.run(t)
	w.source.Exec(t, w.from, "CREATE SCHEMA other; CREATE TABLE other.x (id int); INSERT INTO other.x VALUES (101)")
	x := schema.Name{Schema: "other", Name: "x"}
	for existing, to := range map[fullcopy.Existing]schema.Name{fullcopy.ExistingReplace: public("p1"), fullcopy.ExistingUse: public("p2")} {
		w.cfg.Task, w.cfg.ExistingObjects = newTask(), existing
		w.cfg.Selection = schema.Selection{Tables: []schema.Name{x}, Map: schema.Mapping{Relations: []schema.RelationMap{{From: x, To: to}}}}
		if _, err := fullcopy.Run(t.Context(), w.cfg); err == nil || !strings.Contains(err.Error(), "rows of another task") {
			t.Errorf("%s: got %v", existing, err)
		}
		testenv.MustEqual(t, w.src, w.dst, "public.p")
	}
}

// A large object that is refused does not make those pass for copied that came in its transaction.
func TestLargeObjectRefused(t *testing.T) {
	t.Parallel()
	w := setup(t, lobs)
	role := "lob_" + w.to
	w.destination.Exec(t, "postgres", "CREATE ROLE "+role+" LOGIN PASSWORD 'pw'; GRANT ALL ON DATABASE "+w.to+" TO "+role)
	w.destination.Exec(t, w.to, "GRANT ALL ON SCHEMA public TO "+role)
	w.cfg.LargeObjects, w.cfg.Destination = true, parse(t, w.destination.ConnString(w.to)+" user="+role+" password=pw")
	w.run(t)
	w.sameRows(t, lobRows, lobRows)
	exec(t, w.src, "SELECT lo_put(20001, 0, 'new')")
	exec(t, w.dst, "ALTER LARGE OBJECT 20003 OWNER TO CURRENT_USER")
	exec(t, w.dst, "DELETE FROM pgsyncd.progress WHERE task = $1::uuid", w.cfg.Task) // begun anew
	_, err := fullcopy.Run(t.Context(), w.cfg)
	equal(t, "failure", objectsError(t, err).Failures[0].Name, "20003")
	exec(t, w.dst, "ALTER LARGE OBJECT 20003 OWNER TO "+role)
	w.run(t)
	w.sameRows(t, lobRows, lobRows)
}
