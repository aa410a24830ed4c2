package fullcopy_test

import (
	"runtime"
	"strings"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/testenv"
)

// indexed is a table that is too large to be finished in one transaction.
const indexed = `CREATE TABLE a (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED, filler text, UNIQUE (n, id) INCLUDE (filler));
	CREATE INDEX i ON a ((n + 1));
	INSERT INTO a SELECT i, -i, repeat('x', 200) FROM generate_series(1, 20000) i`

const constraintsSQL = `SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'a'::regclass`

// constraintStatements are the statements by which the constraints were made, as reported.
func (w *world) constraintStatements() (all []string) {
	for _, o := range w.report.objects {
		if o.Type == "CONSTRAINT" && o.State == fullcopy.ObjectCreated {
			all = append(all, o.Statement)
		}
	}
	return all
}

// Constraints take over indexes that were made along with the others, and are what they are in the source.
func TestConstraintsUsingIndexes(t *testing.T) {
	t.Parallel()
	w := setup(t, indexed)
	w.run(t)
	statements := w.constraintStatements()
	equal(t, "constraints", len(statements), 3)
	for _, s := range statements {
		if !strings.Contains(s, "USING INDEX") {
			t.Errorf("built its own index: %s", s)
		}
	}
	equal(t, "definitions", value[string](t, w.dst, constraintsSQL), value[string](t, w.src, constraintsSQL))
	testenv.MustEqual(t, w.src, w.dst)
}

// An index whose constraint failed is there when the copy is repeated, and is used, not built again.
func TestConstraintIndexStays(t *testing.T) {
	t.Parallel()
	w := setup(t, indexed)
	exec(t, w.dst, `CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
		$$ BEGIN IF pg_catalog.current_query() LIKE '%PRIMARY KEY USING INDEX%' THEN RAISE 'not today'; END IF; END $$`)
	exec(t, w.dst, "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION refuse(); ALTER EVENT TRIGGER refuse ENABLE ALWAYS")
	_, err := fullcopy.Run(t.Context(), w.cfg)
	objects := objectsError(t, err)
	equal(t, "failures", len(objects.Failures), 1)
	node := value[uint32](t, w.dst, "SELECT pg_relation_filenode('a_pkey')")
	exec(t, w.dst, "DROP EVENT TRIGGER refuse")
	w.report.objects = nil
	w.run(t)
	equal(t, "constraints made the second time", len(w.constraintStatements()), 1)
	equal(t, "file of the index", value[uint32](t, w.dst, "SELECT pg_relation_filenode('a_pkey')"), node)
	exec(t, w.dst, "DROP FUNCTION refuse")
	equal(t, "definitions", value[string](t, w.dst, constraintsSQL), value[string](t, w.src, constraintsSQL))
	testenv.MustEqual(t, w.src, w.dst)
}

// Statistics are gathered of expressions too, which takes their indexes.
func TestStatistics(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{indexed, strings.Replace(indexed, "(n + 1)", "n", 1)} {
		w := setup(t, sql)
		w.run(t)
		const count = "SELECT count(*) FROM pg_stats WHERE tablename IN ('a', 'i')"
		exec(t, w.src, "ANALYZE a")
		equal(t, "columns and expressions with statistics", value[int](t, w.dst, count), value[int](t, w.src, count))
	}
}

// There are values that a server stores but cannot gather statistics of.
func TestUnanalyzable(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (id int PRIMARY KEY, r numrange); INSERT INTO a SELECT i, '[1e-1000,1e1000)' FROM generate_series(1, 24) i`)
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
}

// A row of any size passes through in pieces. The test is alone in its process, as its measure is: parallel ones wait.
func TestWideRow(t *testing.T) { //nolint:paralleltest // see above
	const size = 200 << 20
	w := setup(t, `CREATE TABLE a (id int PRIMARY KEY, body bytea); ALTER TABLE a ALTER body SET STORAGE EXTERNAL;
		INSERT INTO a SELECT 1, convert_to(repeat('0123456789abcdef', 13107200), 'SQL_ASCII')`)
	equal(t, "size", value[int](t, w.src, "SELECT length(body) FROM a"), size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w.run(t)
	runtime.ReadMemStats(&after)
	t.Logf("%d MB were allocated in all", (after.TotalAlloc-before.TotalAlloc)>>20)
	if n := after.TotalAlloc - before.TotalAlloc; n > size/4 {
		t.Errorf("%d MB were allocated to copy a row of %d MB", n>>20, size>>20)
	}
	const digest = "SELECT md5(body) FROM a"
	equal(t, "row", value[string](t, w.dst, digest), value[string](t, w.src, digest))
}

// Indexes are built with a share of the server's buffers where that is more than its own setting.
func TestIndexMemory(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"1MB": "pg_size_bytes(current_setting('shared_buffers')) / 4", "300MB": "300 << 20"} {
		w := setup(t, `CREATE TABLE a (id int PRIMARY KEY)`)
		exec(t, w.dst, "ALTER DATABASE "+w.to+" SET maintenance_work_mem = '"+setting+"'")
		exec(t, w.dst, `CREATE SCHEMA noted; CREATE TABLE noted.memory (setting text);
			CREATE FUNCTION noted.note() RETURNS event_trigger LANGUAGE plpgsql AS
				$$ BEGIN INSERT INTO noted.memory VALUES (pg_catalog.current_setting('maintenance_work_mem')); END $$;
			CREATE EVENT TRIGGER note ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION noted.note();
			ALTER EVENT TRIGGER note ENABLE ALWAYS`)
		w.run(t)
		equal(t, setting, value[bool](t, w.dst, "SELECT bool_and(pg_size_bytes(setting) = "+want+") FROM noted.memory"), true)
	}
}
