package fullcopy_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/testenv"

	"golang.org/x/sys/unix"
)

// limiterFunc is a Limiter.
type limiterFunc func(ctx context.Context, n int) error

func (f limiterFunc) Wait(ctx context.Context, n int) error { return f(ctx, n) }

// While rows come, the destination's log is asked to be written: the copy stands still until the slot of a bystander shows it.
func TestLogIsWrittenBehindTheRows(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a AS SELECT i AS id, repeat('x', 1000) AS filler FROM generate_series(1, 8000) i`)
	slot := "bystander_" + w.cfg.Task[len(w.cfg.Task)-12:]
	exec(t, w.dst, "SELECT pg_create_logical_replication_slot($1, 'test_decoding')", slot)
	bystander := w.destination.Connect(t, w.to)
	var moved atomic.Int64
	w.cfg.Limiter = limiterFunc(func(ctx context.Context, n int) error {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for seen := moved.Add(int64(n)) < 4<<20; !seen; {
			err := bystander.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_logical_slot_peek_changes($1, NULL, NULL)
				WHERE data LIKE 'message: transactional: 0 prefix: pgsyncd,%')`, slot).Scan(&seen)
			if err != nil {
				return fmt.Errorf("look at the log: %w", err)
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
		}
		return nil
	})
	w.run(t)
	if n := moved.Load(); n < 4<<20 {
		t.Errorf("only %d bytes were moved", n)
	}
	testenv.MustEqual(t, w.src, w.dst)
	exec(t, w.dst, "SELECT pg_drop_replication_slot($1)", slot)
}

// While rows come, the process leaves processors to those who have more to do.
func TestCopyStandsBack(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a AS SELECT 1 AS id`)
	var policy atomic.Uint32
	w.cfg.Limiter = limiterFunc(func(context.Context, int) error {
		attr, err := unix.SchedGetAttr(os.Getpid(), 0) // its first thread
		if err == nil {
			policy.Store(attr.Policy)
		}
		return err
	})
	w.run(t)
	equal(t, "scheduling policy", policy.Load(), uint32(unix.SCHED_BATCH))
}

// Rows are written to disk as they come, unless the administrator has decided how.
func TestWriteBack(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{"0": "1MB", "64kB": "64kB"} {
		w := setup(t, `CREATE TABLE a (id int); INSERT INTO a VALUES (1)`)
		exec(t, w.dst, "ALTER DATABASE "+w.to+" SET backend_flush_after = '"+set+"'")
		exec(t, w.dst, `CREATE TABLE a (id int); CREATE SCHEMA noted; CREATE TABLE noted.setting (value text);
			CREATE FUNCTION noted.note() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN INSERT INTO noted.setting VALUES (pg_catalog.current_setting('backend_flush_after')); RETURN NULL; END $$;
			CREATE TRIGGER note AFTER INSERT ON a FOR EACH STATEMENT EXECUTE FUNCTION noted.note();
			ALTER TABLE a ENABLE ALWAYS TRIGGER note`)
		w.cfg.ExistingObjects = fullcopy.ExistingUse
		w.run(t)
		equal(t, "backend_flush_after where "+set+" is set", value[string](t, w.dst, "SELECT value FROM noted.setting"), want)
	}
}
