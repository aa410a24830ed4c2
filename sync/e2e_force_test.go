package sync_test

import (
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// cleanUp executes what a forced stop has listed for one side.
func (l *lab) cleanUp(side string) {
	l.Helper()
	rows, err := l.exec(l.Context(), "SELECT cleanup_sql FROM sync_leftovers WHERE task = '"+l.task+"' AND side = '"+side+"'")
	if err != nil {
		l.Fatal(err)
	}
	conn := l.s
	if side == "destination" {
		conn = l.d
	}
	for _, row := range rows {
		l.one(conn, row[0])
	}
}

const sequenced = items + `CREATE TABLE line (id bigserial PRIMARY KEY, t text);
INSERT INTO line (t) SELECT 'x' FROM generate_series(1, 20);
CREATE TABLE small (id smallserial PRIMARY KEY); INSERT INTO small VALUES (30000);
CREATE SEQUENCE falling INCREMENT -1; CREATE TABLE "De""ep" (id bigint PRIMARY KEY DEFAULT nextval('falling'));
ALTER SEQUENCE falling OWNED BY "De""ep".id; INSERT INTO "De""ep" VALUES (DEFAULT), (DEFAULT); SELECT setval('small_id_seq', 30000)`

// sequences are what a forced stop lists of them when it has read the source.
const sequences = `destination|sequence|"public"."falling"
destination|sequence|"public"."line_id_seq"
destination|sequence|"public"."small_id_seq"`

// clean checks that nothing of the task is left on either side, and that the sequences go on.
func (l *lab) clean() {
	l.Helper()
	l.want("slots", l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"), "")
	l.want("publications", l.one(l.s, "SELECT pubname FROM pg_publication"), "")
	l.want("schemas", l.one(l.d, "SELECT nspname FROM pg_namespace WHERE nspname = 'pgsyncd'"), "")
	l.want("sequences", l.one(l.d, `SELECT (SELECT last_value FROM line_id_seq), (SELECT last_value FROM falling),
		(SELECT last_value FROM small_id_seq)`), "10020|-10002|32767")
}

// A forced stop ends a task whose source, or whose destination, is down. What it cannot do it lists as statements, and these
// do it.
func TestForcedStop(t *testing.T) {
	t.Parallel()
	src, dst := testenv.Start(t, testenv.Config{}), testenv.Start(t, testenv.Config{})
	for _, down := range []*testenv.Cluster{src, dst} {
		l := setupBetween(t, src, dst, sequenced)
		l.start("")
		if err := down.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		l.sql("STOP SYNC TASK %[1]s FORCE")
		l.reach("completed")
		left := l.sql("SELECT side, kind, name FROM sync_leftovers WHERE task = '%[1]s' ORDER BY 1, 2, 3")
		if err := down.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.s, l.d = src.Connect(t, l.srcDB), dst.Connect(t, l.dstDB)
		if down == src {
			slot := l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT temporary")
			publication := l.one(l.s, "SELECT pubname FROM pg_publication")
			l.want("left", left, strings.Join([]string{
				"destination|sequence|public.falling", "destination|sequence|public.line_id_seq", "destination|sequence|public.small_id_seq",
				"source|publication|" + publication, "source|replication slot|" + slot,
			}, "\n"))
		} else {
			l.want("left", left, "destination|ledger|pgsyncd\n"+sequences)
		}
		l.cleanUp("source")
		l.cleanUp("destination")
		l.clean()
		l.sql("DROP SYNC TASK %[1]s")
		l.want("leftovers after DROP", l.sql("SELECT count(*) > 0 FROM sync_leftovers WHERE task = '%[1]s'"), "t")
	}
}

// DROP FORCE ends a task that works.
func TestDropForce(t *testing.T) {
	t.Parallel()
	l := setup(t, sequenced)
	l.start("")
	e := l.refused("55000", "DROP SYNC TASK %[1]s")
	l.contains(e.Detail, `"incremental synchronization"`)
	l.contains(e.Hint, "STOP SYNC TASK "+l.task+";", "DROP SYNC TASK "+l.task+" FORCE;")
	l.sql("DROP SYNC TASK %[1]s FORCE")
	if len(l.notices) != 1 || !strings.Contains(l.notices[0].Hint, "sync_leftovers") {
		t.Errorf("notices %v", l.notices)
	}
	l.want("tasks", l.sql("SELECT count(*) FROM sync_tasks WHERE task = '%[1]s'"), "0")
	l.want("left", l.sql("SELECT side, kind, name FROM sync_leftovers WHERE task = '%[1]s' ORDER BY name"), sequences)
	l.cleanUp("destination")
	l.clean()
	l.want("sessions", l.one(l.d, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgsyncd%' AND datname = current_database()"), "0")
}

// A copy that is under way is dropped with what it made on the source.
func TestDropForceWhileCopying(t *testing.T) {
	t.Parallel()
	l := setup(t, items+"INSERT INTO item VALUES (101, 'the last marker')")
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	stalled := proxy.StallAfter(lastRow)
	l.create("START NOW CONFIRM ALL")
	l.await("the copy comes to the last row", stalled)
	proxy.Resume()
	l.sql("DROP SYNC TASK %[1]s FORCE")
	l.want("slots", l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"), "")
	l.want("publications", l.one(l.s, "SELECT pubname FROM pg_publication"), "")
	l.want("schemas", l.one(l.d, "SELECT nspname FROM pg_namespace WHERE nspname = 'pgsyncd'"), "")
}
