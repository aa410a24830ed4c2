package sync_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// Trap 17: what is prepared comes when, and only when, it is committed, however often everybody crashed between. Parts that
// were rolled back never come, also of transactions that are decoded in several pieces.
func TestPreparedTransactions(t *testing.T) {
	t.Parallel()
	src := testenv.Start(t, testenv.Config{Settings: map[string]string{"logical_decoding_work_mem": "64kB"}})
	_, dst := testenv.SharedPair(t)
	l := setupOn(t, nil, src, dst, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE log (a int); ALTER TABLE log REPLICA IDENTITY FULL;
		INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i`)
	l.daemon = testenv.StartDaemon(t, testenv.DaemonConfig{})
	l.start("")
	large := func(from int) string {
		return fmt.Sprintf(`INSERT INTO t SELECT i, repeat('large', 20) FROM generate_series(%[1]d, %[1]d + 4999) i;
			SAVEPOINT a; UPDATE t SET v = 'gone'; INSERT INTO log SELECT generate_series(1, 3000); ROLLBACK TO a;
			SAVEPOINT b; UPDATE t SET v = 'kept' WHERE id %% 2 = 0; SAVEPOINT c; DELETE FROM t WHERE id < 10; ROLLBACK TO c; RELEASE b;
			SAVEPOINT d; DELETE FROM t WHERE id %% 5 = 0 AND id >= %[1]d; UPDATE t SET id = -id WHERE id %% 7 = 0 AND id >= %[1]d; INSERT INTO log VALUES (%[1]d);`, from)
	}
	l.source("BEGIN;" + large(1000) + "COMMIT")
	l.source("BEGIN;" + large(10000) + "PREPARE TRANSACTION 'one'")
	other := src.Connect(t, l.srcDB)
	l.one(other, "BEGIN; INSERT INTO log SELECT generate_series(1, 5000); PREPARE TRANSACTION 'two'")
	l.one(other, "BEGIN;"+`INSERT INTO t SELECT i, repeat('never', 20) FROM generate_series(20000, 24999) i; ROLLBACK`)
	l.source("INSERT INTO log VALUES (-1)")
	l.caughtUp()
	l.want("what is prepared", l.one(l.d, "SELECT count(*) FROM t WHERE abs(id) >= 10000"), "0")
	if err := l.daemon.Kill9(); err != nil {
		t.Fatal(err)
	}
	if err := src.Restart(t.Context(), "immediate"); err != nil {
		t.Fatal(err)
	}
	l.restart()
	l.s = src.Connect(t, l.srcDB)
	l.source("INSERT INTO log VALUES (-2)")
	l.caughtUp()
	l.want("what is prepared", l.one(l.d, "SELECT count(*) FROM t WHERE abs(id) >= 10000"), "0")
	l.source("COMMIT PREPARED 'one'")
	if err := src.Restart(t.Context(), "immediate"); err != nil {
		t.Fatal(err)
	}
	l.s = src.Connect(t, l.srcDB)
	l.source("ROLLBACK PREPARED 'two'")
	l.caughtUp()
	l.equal()
	l.want("what was prepared", l.one(l.d, "SELECT count(*) FROM log"), "4")
}

// Trap 18: the changes of one transaction are several times what the daemon may have in memory.
func TestHugeTransactionInLittleMemory(t *testing.T) {
	t.Parallel()
	l := setupAlone(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	defer func() { // however long it takes
		const limit = 256 << 10
		if kB := l.peakMemory(); kB > limit {
			t.Errorf("the daemon took %d MiB", kB>>10)
		}
	}()
	l.start("")
	l.source(`INSERT INTO t SELECT i, repeat(md5(i::text), 12) FROM generate_series(1, 1000000) i`)
	l.source(`BEGIN; UPDATE t SET v = v || 'x'; DELETE FROM t WHERE id % 10 = 0; COMMIT`)
	l.caughtUp()
	l.equal()
}

// peakMemory is the most that the daemon has had in memory, in kB.
func (l *lab) peakMemory() (kB int) {
	l.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.daemon.PID()))
	if err != nil {
		l.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kB); n == 1 {
			return kB
		}
	}
	l.Fatalf("no peak in %s", status)
	return 0
}

// Trap 22: after a crash the source decodes from an older position than the one it knew before. Nothing comes twice for that.
func TestSourceThatRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	src := testenv.Start(t, testenv.Config{})
	_, dst := testenv.SharedPair(t)
	l := setupBetween(t, src, dst, `CREATE TABLE account (id int PRIMARY KEY, v int); INSERT INTO account SELECT i, 100 FROM generate_series(1, 10) i;
		CREATE TABLE entry (n int, t text); ALTER TABLE entry REPLICA IDENTITY FULL`)
	l.start("WITH (retry_limit = 0)")
	n := 0
	work := func() {
		for range 30 {
			n++
			if err := transaction(t.Context(), l.s, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	for round := range 5 {
		open := src.Connect(t, l.srcDB) // its first change lies before what is confirmed next
		l.one(open, fmt.Sprintf("BEGIN; INSERT INTO entry VALUES (-%d, 'open')", round))
		work()
		l.caughtUp()
		l.source("CHECKPOINT")
		work()
		l.one(open, "COMMIT")
		if round%2 == 0 {
			l.source("CHECKPOINT")
		}
		work()
		if err := src.Restart(t.Context(), "immediate"); err != nil {
			t.Fatal(err)
		}
		l.s = src.Connect(t, l.srcDB)
		l.reach("incremental synchronization")
	}
	l.caughtUp()
	l.equal()
	l.want("rows", l.one(l.d, "SELECT count(*) FROM entry WHERE n > 0"), fmt.Sprint(n))
}
