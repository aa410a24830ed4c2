package fullcopy_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

func (w *world) untilSource(t *testing.T, sql string, args ...any) {
	t.Helper()
	until(t, w.source.Connect(t, w.from), sql, args...)
}

func (w *world) untilDestination(t *testing.T, sql string) {
	t.Helper()
	until(t, w.destination.Connect(t, w.to), sql)
}

// until waits until an expression is true.
func until(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	testenv.Eventually(t, sql, func() (ok bool) {
		if err := conn.QueryRow(t.Context(), "SELECT "+sql, args...).Scan(&ok); err != nil {
			t.Fatal(err)
		}
		return ok
	})
}

const lockWait = `EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgsyncd%' AND wait_event_type = 'Lock')`

// Trap 27: what happens to a table between the snapshot and its lock is not lost. Every case leaves a table whose old file
// is gone under the snapshot.
func TestChangedBeforeLock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, sql string }{
		{"truncate", "TRUNCATE late; INSERT INTO late SELECT i, 'new' FROM generate_series(1, 10) i"},
		{"alter type", "ALTER TABLE late ALTER COLUMN id TYPE bigint"},
		{"add column", "ALTER TABLE late ADD COLUMN more text DEFAULT 'm'"},
		{"drop column", "ALTER TABLE late DROP COLUMN t"},
		{"rename", "ALTER TABLE late RENAME TO later"},
		{"drop", "DROP TABLE late"},
		{"new one of that name", "DROP TABLE late; CREATE TABLE late (other int); INSERT INTO late VALUES (1)"},
		{"leaf", "TRUNCATE events_2021_a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, tree+`CREATE TABLE late (id int, t text); INSERT INTO late SELECT i, 't' FROM generate_series(1, 1000) i;
				CREATE TABLE early AS SELECT * FROM late`)
			exec(t, w.src, "BEGIN; LOCK TABLE late, events_2021_a")
			wait := w.background(t.Context())
			w.untilSource(t, lockWait)
			exec(t, w.src, c.sql+"; COMMIT")
			if err := wait(); err != nil {
				t.Fatal(err)
			}
			testenv.MustEqual(t, w.src, w.dst)
		})
	}
}

// The same with a slot: the rounds have positions of their own. What a rewrite leaves is in no stream. The tables are changed
// while the answer to the slot's creation is held back.
func TestRewrittenAfterSlot(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE late (w int, n int, t text); INSERT INTO late SELECT 0, i, 't' FROM generate_series(1, 1000) i;
		CREATE TABLE early AS SELECT * FROM late; DELETE FROM late WHERE n % 2 = 0`)
	w.incremental()
	source, _ := w.through(t)
	created := source.StallAfter(func(d testenv.Direction, kind byte, body []byte) bool {
		return d == testenv.ToClient && kind == 'D' && bytes.Contains(body, []byte(w.cfg.Slot)) && bytes.Contains(body, []byte("pgoutput"))
	})
	wait := w.background(t.Context())
	<-created
	exec(t, w.src, "INSERT INTO late SELECT 1, i, 'after' FROM generate_series(1, 100) i")
	exec(t, w.src, "VACUUM FULL late")
	exec(t, w.src, "ALTER TABLE late ALTER COLUMN n TYPE int USING n + 0") // of the same type, so that no definition differs
	exec(t, w.src, "INSERT INTO early VALUES (1, 1, 'after')")
	source.Resume()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	positions := `SELECT count(DISTINCT lsn) FROM pgsyncd.copied`
	equal(t, "positions", value[int](t, w.dst, positions), 2)
	w.follow(t)
	testenv.MustEqual(t, w.src, w.dst)
}

// A large value passes in pieces.
func TestLargeRow(t *testing.T) {
	w := setup(t, `CREATE TABLE large (id int PRIMARY KEY, b bytea);
		ALTER TABLE large ALTER COLUMN b SET STORAGE EXTERNAL;
		INSERT INTO large SELECT i, decode(repeat('0123456789abcdef', 8 << 20), 'hex') FROM generate_series(1, 2) i`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w.run(t)
	runtime.ReadMemStats(&after)
	// Each row is 64 MB, 128 MB as text.
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("%d MB were allocated", n>>20)
	}
	sql := "SELECT string_agg(md5(b), ' ' ORDER BY id) FROM large"
	equal(t, "content", value[string](t, w.dst, sql), value[string](t, w.src, sql))
}

// A destination that refuses a row in the middle of a table says so at once; other tables are copied, and only the refused
// one is copied by the next run.
func TestRefusedRow(t *testing.T) {
	t.Parallel()
	for _, split := range []int64{0, 1 << 20} {
		w := setup(t, `CREATE TABLE bad (id int, t text); INSERT INTO bad SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i;
			CREATE TABLE good AS SELECT * FROM bad WHERE id < 100`)
		w.cfg.ExistingObjects, w.cfg.SplitAbove = fullcopy.ExistingUse, split
		exec(t, w.dst, "CREATE TABLE bad (id int CONSTRAINT not_five CHECK (id <> 50000), t text)")
		_, err := fullcopy.Run(t.Context(), w.cfg)
		var refused *fullcopy.TablesError
		if !errors.As(err, &refused) || len(refused.Failures) != 1 || !strings.Contains(err.Error(), "not_five") {
			t.Fatalf("got %v", err)
		}
		equal(t, "good", value[int](t, w.dst, "SELECT count(*) FROM good"), 99)
		equal(t, "state", w.report.table("bad").State, fullcopy.TableFailed)
		exec(t, w.dst, "ALTER TABLE bad DROP CONSTRAINT not_five")
		exec(t, w.dst, "DELETE FROM good")
		w.run(t)
		testenv.MustEqual(t, w.src, w.dst, "public.bad")
		equal(t, "good is not copied again", value[int](t, w.dst, "SELECT count(*) FROM good"), 0)
	}
}

// The creation of a slot waits for transactions that write; it says for which, and gives up without leaving a slot.
func TestSlotWaits(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE a (id int)")
	w.incremental()
	writer := w.source.Connect(t, w.from)
	exec(t, writer, "BEGIN; CREATE TABLE uncommitted ()")
	told := w.report.phase(func(p string) bool { return strings.Contains(p, "waiting for the end of") })
	pause := errors.New("paused")
	ctx, cancel := context.WithCancelCause(t.Context())
	wait := w.background(ctx)
	<-told
	cancel(pause)
	if err := wait(); !errors.Is(err, pause) {
		t.Fatalf("got %v", err)
	}
	equal(t, "slots", value[int](t, w.src, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1", w.cfg.Slot), 0)
	exec(t, writer, "COMMIT")
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
}

// A pause cancels everything that is under way on both servers, and the copy can go on later.
func TestPause(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (id int, t text); INSERT INTO a SELECT i, repeat('x', 100) FROM generate_series(1, 200000) i;
		CREATE TABLE b AS SELECT * FROM a; CREATE TABLE c AS SELECT * FROM a LIMIT 1`)
	w.incremental()
	w.cfg.SplitAbove = 4 << 20
	_, destination := w.through(t)
	destination.Throttle(1 << 20)
	pause := errors.New("paused")
	ctx, cancel := context.WithCancelCause(t.Context())
	wait := w.background(ctx)
	w.untilDestination(t, `EXISTS (SELECT FROM pg_stat_progress_copy WHERE datname = current_database() AND bytes_processed > 1000000)`)
	cancel(pause)
	if err := wait(); !errors.Is(err, pause) {
		t.Fatalf("got %v", err)
	}
	none := `NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgsyncd%')`
	w.untilSource(t, none)
	w.untilDestination(t, none)
	destination.Throttle(0)
	w.run(t)
	testenv.MustEqual(t, w.src, w.dst)
}

// Without its slot a copy that was begun cannot go on.
func TestSlotLost(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE a (id int)")
	w.incremental()
	w.run(t)
	exec(t, w.src, "SELECT pg_drop_replication_slot($1)", w.cfg.Slot)
	var lost *fullcopy.LostError
	if _, err := fullcopy.Run(t.Context(), w.cfg); !errors.As(err, &lost) {
		t.Fatalf("got %v", err)
	}
}

// setupQueued begins to copy one table slowly, while the other, short, waits for its turn.
func setupQueued(t *testing.T) (w *world, destination *testenv.Proxy, wait func() error) {
	t.Helper()
	w = setup(t, `CREATE TABLE long (w int, n int, t text); INSERT INTO long SELECT 0, i, repeat('x', 100) FROM generate_series(1, 50000) i;
		CREATE TABLE short AS SELECT * FROM long LIMIT 10`)
	w.incremental()
	w.cfg.Workers = 1
	_, destination = w.through(t)
	destination.Throttle(1 << 20)
	wait = w.background(t.Context())
	w.untilDestination(t, "EXISTS (SELECT FROM pg_stat_progress_copy WHERE datname = current_database())")
	return w, destination, wait
}

// Somebody who waits to lock a table that is queued behind a long copy waits for the anchor, and the loader would wait for
// him. He gets his turn, and the table is copied after that.
func TestGiveWay(t *testing.T) {
	t.Parallel()
	w, destination, wait := setupQueued(t)
	truncated := make(chan error, 1)
	go func() {
		_, err := w.src.Exec(context.WithoutCancel(t.Context()), "TRUNCATE short; INSERT INTO short VALUES (1, 1, 'new')")
		truncated <- err
	}()
	w.untilSource(t, "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'short'::regclass)")
	destination.Throttle(0)
	if err := errors.Join(wait(), <-truncated); err != nil {
		t.Fatal(err)
	}
	equal(t, "positions", value[int](t, w.dst, "SELECT count(DISTINCT lsn) FROM pgsyncd.copied"), 2)
	w.follow(t)
	testenv.MustEqual(t, w.src, w.dst)
}

// Without its anchor a table can be rewritten in the middle of the round; the loader that comes to it finds out.
func TestAnchorLost(t *testing.T) {
	t.Parallel()
	w, destination, wait := setupQueued(t)
	exec(t, w.src, `SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
		WHERE relation = 'short'::regclass AND mode = 'AccessShareLock' AND application_name LIKE 'pgsyncd%'`)
	exec(t, w.src, "ALTER TABLE short ALTER COLUMN n TYPE int USING n + 0")
	destination.Throttle(0)
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	w.follow(t)
	testenv.MustEqual(t, w.src, w.dst)
}
