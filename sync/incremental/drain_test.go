package incremental_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/testenv"
)

// drained begins the names of tests whose labs read every backlog, however small, from copies of the slot and in small pieces.
const drained = "TestDrained"

// drainedTraps are traps in what is read from copies of the slot.
var drainedTraps = map[string]func(*testing.T){
	"backlog":                    testDrainOfABacklog,
	"tail":                       testDrainOfATail,
	"cuts":                       testCutsInADrain,
	"slot replaced":              testSlotReplacedInADrain,
	"source restarted":           testSourceRestartedInADrain,
	"giant transaction":          testGiantTransactionInADrain,
	"no slot to spare":           testNoSlotToSpare,
	"no right to copy":           testNoRightToCopyASlot,
	"next owner":                 testNextOwnerInADrain,
	"stop":                       testStopInADrain,
	"inserts updates deletes":    TestInsertsUpdatesDeletes,
	"stop after":                 TestStopAtDrainsAndConfirms,
	"held":                       TestHeldStream,
	"large transaction":          TestLargeTransactionIsAppliedInPieces,
	"keepalives":                 TestKeepalivesDoNotConfirmWhatIsNotApplied,
	"destination lost":           TestNothingConfirmedIsLostWithTheDestination,
	"fence":                      TestFormerOwnerIsFenced,
	"unknown outcome":            TestCommitOfUnknownOutcomeIsNotRepeated,
	"slot lost":                  TestLostSlotIsNoticed,
	"key updates":                TestKeyUpdatesSwapAndChain,
	"unchanged TOAST":            TestUnchangedToastValuesSurvive,
	"truncate":                   TestTruncate,
	"duplicates":                 TestDuplicateRowsWithoutKey,
	"random batches":             TestRandomBatchesFold,
	"transactions are not split": TestTransactionsAreNotSplit,
	"no known encoding":          TestTextOfNoKnownEncoding,
	"commits before a copy":      TestCommitsBeforeACopyAreSkippedForItsTable,
	"new partitions":             TestPartitionsThatAreNewJoinTheStream,
	"structure of layouts":       TestIdentityGeneratedAndReorderedColumns,
}

func TestDrained(t *testing.T) {
	t.Parallel()
	for name, test := range drainedTraps {
		t.Run(name, test)
	}
}

func TestDrainedByTestDecoding(t *testing.T) {
	t.Parallel()
	for name, test := range drainedTraps {
		t.Run(name, test)
	}
	t.Run("every type", testEveryType)
	t.Run("other encoding", testOtherEncoding)
	t.Run("copies ahead", testCopiesAhead)
	t.Run("structure", testStructureChanges)
}

const drainTables = `CREATE TABLE account (id int PRIMARY KEY, v text, n numeric); CREATE TABLE log (id int, v text); ALTER TABLE log REPLICA IDENTITY FULL;
	CREATE TABLE wide (id int PRIMARY KEY, n int, big text); ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE part (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100);
	CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (100) TO (200); CREATE TABLE "Odd "" Näme" (id int PRIMARY KEY, "a.b" bytea); CREATE TABLE emptied (id int)`

// work writes some of everything, in many transactions.
func (l *lab) work(round int) {
	l.Helper()
	other := l.src.Connect(l.T, l.srcDB)
	l.exec(other, fmt.Sprintf(`BEGIN; INSERT INTO log VALUES (%d, 'began before, committed after')`, round))
	for i := range 12 {
		n := 100*round + i
		l.source(fmt.Sprintf(`BEGIN; INSERT INTO account VALUES (%[1]d, 'ö€😀''', %[1]d / 7.0); INSERT INTO log SELECT 1, 'twice' FROM generate_series(1, 3);
			SAVEPOINT s; DELETE FROM account; ROLLBACK TO s; DELETE FROM log WHERE ctid IN (SELECT ctid FROM log WHERE v = 'twice' LIMIT 1); COMMIT`, n))
		l.source(fmt.Sprintf(`INSERT INTO wide VALUES (%[1]d, 1, repeat('x', 20000 + %[1]d)); UPDATE wide SET n = n + 1 WHERE id %% 3 = 0`, n))
		l.source(fmt.Sprintf(`UPDATE account SET id = -id - 1 WHERE id = %d; UPDATE account SET v = NULL WHERE id %% 5 = 0`, n))
		l.source(fmt.Sprintf(`INSERT INTO emptied VALUES (%[1]d); INSERT INTO "Odd "" Näme" VALUES (%[1]d, '\x00ff27')`, n))
	}
	l.source(`TRUNCATE emptied; INSERT INTO emptied VALUES (1), (1)`)
	l.source(fmt.Sprintf(`INSERT INTO part SELECT i, 'p' FROM generate_series(90, 110) i; UPDATE part SET id = id + 50 WHERE id = 95; DELETE FROM part; INSERT INTO part VALUES (%d, 'q')`, round))
	l.exec(other, `COMMIT`)
	if err := other.Close(l.Context()); err != nil {
		l.Fatal(err)
	}
}

// mustDrain fails unless copies of the slot were read.
func (l *lab) mustDrain() {
	l.Helper()
	if l.report.progress().Drained == 0 {
		l.Error("nothing was read from a copy of the slot")
	}
}

// noCopies waits until copies of the slot are gone.
func (l *lab) noCopies() {
	l.Helper()
	l.eventually("no copy of the slot is left", func() bool {
		return l.one(l.s, `SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND temporary`) == "0"
	})
}

func testDrainOfABacklog(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	for round := range 4 {
		l.work(2 * round)
		r := l.start()
		r.catchUp()
		l.equal()
		l.mustDrain()
		l.work(2*round + 1)
		r.catchUp()
		l.equal()
		_ = r.kill()
		l.noCopies()
	}
}

// testDrainOfATail: several drains begin before anything of the first is in the destination. All of it waits in the queue to become
// one batch, in which the applier cannot tell what came twice.
func testDrainOfATail(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	r := l.start()
	r.catchUp()
	l.destination(`BEGIN; LOCK TABLE log`)
	for round := range 4 {
		l.work(round)
		l.noCopies()
	}
	l.destination(`COMMIT`)
	r.catchUp()
	l.equal()
	l.mustDrain()
}

// testCutsInADrain cuts all links while the rows come, at each of many places.
func testCutsInADrain(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	l.cfg.BatchBytes = 4 << 10
	l.cfg.Drain.Changes = 40
	proxy, through := l.through(l.src, l.srcDB)
	direct := l.cfg.Source
	for round := range 10 {
		l.work(round)
		l.cfg.Source = through
		var seen atomic.Int64
		at := int64(1 + 17*round)
		cut := proxy.CutAfter(func(dir testenv.Direction, kind byte, body []byte) bool {
			return dir == testenv.ToClient && kind == 'D' && len(body) > 16 && body[1] == 2 && body[5] == 8 && seen.Add(1) == at // lsn, data
		})
		r := l.start()
		select {
		case <-cut:
			proxy.Cut()
		case <-time.After(patience):
			t.Fatal("the rows do not come")
		}
		if err := r.wait(); err == nil || !endpoint.Retryable(err) {
			t.Fatalf("ended with %v", err)
		}
		l.cfg.Source = direct
		_ = l.resume().kill()
		l.equal()
	}
	l.mustDrain()
}

// stalledDrain starts a stream whose drain waits for the destination.
func (l *lab) stalledDrain() (r *running, release func()) {
	l.Helper()
	l.cfg.BatchBytes = 4 << 10
	l.cfg.Drain.Changes = 16 // the first transactions are not so large that the walsender had better send them
	holder := l.dst.Connect(l.T, l.dstDB)
	l.exec(holder, `BEGIN; LOCK TABLE account`)
	l.work(1)
	for i := range 200 {
		l.source(fmt.Sprintf(`INSERT INTO account VALUES (%d, repeat('y', 1000))`, 1000+i))
	}
	r = l.start()
	l.eventually("a copy of the slot is read", func() bool {
		return l.one(l.s, `SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND temporary`) == "1"
	})
	l.eventually("the destination waits", func() bool {
		return l.one(l.d, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'account'::regclass`) == "1"
	})
	return r, func() { l.exec(holder, `COMMIT`) }
}

// testSlotReplacedInADrain: what the walsender holds nobody can replace, and who ends it is noticed.
func testSlotReplacedInADrain(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	r, release := l.stalledDrain()
	if _, err := l.s.Exec(t.Context(), `SELECT pg_drop_replication_slot($1)`, l.cfg.Slot); state(err) != "55006" {
		t.Fatalf("the slot can be dropped: %v", err)
	}
	l.source(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '` + l.cfg.Slot + `'`)
	l.eventually("the slot is dropped", func() bool {
		_, err := l.s.Exec(t.Context(), `SELECT pg_drop_replication_slot($1)`, l.cfg.Slot)
		return err == nil
	})
	l.source(`INSERT INTO log VALUES (7, 'lost')`)
	l.source(`SELECT pg_create_logical_replication_slot('` + l.cfg.Slot + `', '` + l.cfg.Plugin + `')`)
	if err := r.wait(); err == nil {
		t.Fatal("ended without error")
	}
	release()
	l.eventually("the former owner is gone", func() bool {
		return l.one(l.d, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%apply'`) == "0"
	})
	if err := l.start().wait(); !errors.Is(err, incremental.ErrAhead) {
		t.Fatalf("ended with %v", err)
	}
	if n := l.one(l.d, `SELECT count(*) FROM log WHERE id = 7`); n != "0" {
		t.Error("changes behind the loss were applied")
	}
}

func testSourceRestartedInADrain(t *testing.T) {
	t.Parallel()
	_, dst := testenv.SharedPair(t)
	l := setupOn(t, testenv.Start(t, testenv.Config{}), dst, drainTables)
	for range 2 {
		r, release := l.stalledDrain()
		if err := l.src.Restart(t.Context(), "immediate"); err != nil {
			t.Fatal(err)
		}
		l.s = l.src.Connect(t, l.srcDB)
		if err := r.wait(); err == nil || !endpoint.Retryable(err) {
			t.Fatalf("ended with %v", err)
		}
		release()
		_ = l.resume().kill()
		l.equal()
		l.noCopies()
		l.source(`TRUNCATE account, wide, part, "Odd "" Näme"`)
	}
}

// testGiantTransactionInADrain goes on with the walsender after a call that brought far more than was asked for.
func testGiantTransactionInADrain(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	l.cfg.BatchBytes = 64 << 10
	l.work(1)
	l.source(`INSERT INTO log SELECT i % 100, 'giant' FROM generate_series(1, 20000) i; DELETE FROM log WHERE id = 7`)
	l.work(2)
	r := l.start()
	r.catchUp()
	l.equal()
	l.mustDrain()
}

// without runs a stream that has to do without drains.
func (l *lab) without() {
	l.Helper()
	var told strings.Builder
	l.cfg.Logger = slog.New(slog.NewTextHandler(&told, nil))
	l.work(1)
	r := l.start()
	r.catchUp()
	l.work(2)
	r.catchUp()
	l.equal()
	_ = r.kill()
	if l.report.progress().Drained != 0 {
		l.Error("copies of the slot were read")
	}
	if n := strings.Count(told.String(), "backlog is left to the walsender"); n == 0 {
		l.Errorf("told %d times:\n%s", n, told.String())
	}
}

func testNoSlotToSpare(t *testing.T) {
	t.Parallel()
	_, dst := testenv.SharedPair(t)
	l := setupOn(t, testenv.Start(t, testenv.Config{Settings: map[string]string{"max_replication_slots": "1"}}), dst, drainTables)
	l.cfg.Drain.After = 10 * time.Millisecond
	l.without()
}

func testNoRightToCopyASlot(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	role := "copier_" + strings.ReplaceAll(l.cfg.Task, "-", "_")
	l.source(`CREATE ROLE ` + role + ` LOGIN REPLICATION PASSWORD 'secret';
		REVOKE EXECUTE ON FUNCTION pg_copy_logical_replication_slot(name, name, boolean, name) FROM PUBLIC`)
	t.Cleanup(func() {
		if err := l.s.PgConn().Exec(context.WithoutCancel(t.Context()), `DROP ROLE `+role).Close(); err != nil {
			t.Error(err)
		}
	})
	l.cfg.Source = parse(t, l.src.ConnString(l.srcDB)+" user="+role+" password=secret")
	l.cfg.Drain.After = 10 * time.Millisecond
	l.without()
}

// testNextOwnerInADrain: an owner that comes in the middle of a drain of the former gets the slot once that has noticed.
func testNextOwnerInADrain(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	former, release := l.stalledDrain()
	l.cfg.BatchBytes = 1 << 20
	next := l.start()
	release()
	if err := former.wait(); err == nil {
		t.Fatal("the former owner ended without error")
	}
	next.catchUp()
	l.equal()
}

// testStopInADrain stops at a position in the middle of the backlog.
func testStopInADrain(t *testing.T) {
	t.Parallel()
	l := setup(t, drainTables)
	l.work(1)
	stop := l.end()
	l.work(2)
	r := l.start()
	r.StopAt(stop)
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	if l.one(l.s, `SELECT confirmed_flush_lsn >= '`+stop.String()+`' AND NOT active FROM pg_replication_slots WHERE slot_name = '`+l.cfg.Slot+`'`) != "t" {
		t.Error("the slot is not confirmed and free")
	}
	l.noCopies()
	l.resume()
	l.equal()
}
