package sync_test

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"pgsyncd/testenv"

	"golang.org/x/sync/errgroup"
)

// load runs writers, each with transactions of its own, until stop is called.
func (l *lab) load(writers int, transaction func(writer, n int) string) (stop func()) {
	l.Helper()
	ctx, cancel := context.WithCancel(l.Context())
	g := &errgroup.Group{}
	for w := range writers {
		conn := l.src.Connect(l.T, l.srcDB)
		g.Go(func() error {
			for n := 0; ctx.Err() == nil; n++ {
				if err := conn.PgConn().Exec(context.WithoutCancel(ctx), transaction(w, n)).Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	l.Cleanup(func() { cancel(); _ = g.Wait() })
	return func() {
		l.Helper()
		cancel()
		if err := g.Wait(); err != nil {
			l.Fatal(err)
		}
	}
}

// beside is a second task from the same source, into a database of its own.
func (l *lab) beside(suffix string) *lab {
	l.Helper()
	second := *l
	second.task += suffix
	second.dstDB = l.dst.Database(l.T)
	second.d, second.to = l.dst.Connect(l.T, second.dstDB), l.dst.ConnString(second.dstDB)
	l.Cleanup(func() {
		if _, err := l.exec(context.WithoutCancel(l.Context()), "DROP SYNC TASK IF EXISTS "+second.task+" FORCE"); err != nil {
			l.Errorf("drop task: %s", describe(err))
		}
	})
	return &second
}

// Trap 6: every copy begins in the middle of inserts into tables without a key, where nothing but the exact position tells
// a row that was copied from one that is still to come.
func TestInsertsDuringTheCopy(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (w int, n int, t text); ALTER TABLE a REPLICA IDENTITY FULL; CREATE TABLE b (w int, n int); ALTER TABLE b REPLICA IDENTITY FULL;
		INSERT INTO a SELECT -1, i, repeat('y', 200) FROM generate_series(1, 20000) i`)
	stop := l.load(2, func(w, n int) string {
		return fmt.Sprintf(`BEGIN; INSERT INTO a SELECT %[1]d, %[2]d, 'x' FROM generate_series(1, %[3]d); INSERT INTO b VALUES (%[1]d, %[2]d); COMMIT`, w, n, 1+n%3)
	})
	labs := []*lab{l, l.beside("b")}
	for _, each := range labs {
		each.start("WITH (split_table_above = '1 MB')")
	}
	stop()
	for _, each := range labs {
		each.caughtUp()
		each.equal()
	}
}

// Trap 19: transactions that are open while the publication and the slot are made come whole, whichever side of the
// snapshot their commit falls on.
func TestTransactionsOpenAtTheStart(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`CREATE TABLE log (a int); ALTER TABLE log REPLICA IDENTITY FULL`)
	early, middle, late := l.src.Connect(t, l.srcDB), l.src.Connect(t, l.srcDB), l.src.Connect(t, l.srcDB)
	l.one(early, "BEGIN; INSERT INTO item VALUES (1001, 'early'); INSERT INTO log VALUES (1)")
	l.create("START NOW CONFIRM ALL")
	waits := func(n int) func() bool {
		return func() bool {
			return l.one(l.s, fmt.Sprintf(`SELECT count(*) >= %d FROM pg_locks w JOIN pg_locks h USING (transactionid) JOIN pg_stat_activity a ON a.pid = w.pid
				WHERE NOT w.granted AND h.granted AND a.backend_type = 'walsender' AND a.datname = current_database()`, n)) == "t"
		}
	}
	l.eventually("the slot waits for the open transaction", waits(1))
	l.one(middle, "BEGIN; INSERT INTO item VALUES (1002, 'middle'); UPDATE item SET v = -1 WHERE id = 1")
	l.one(early, "INSERT INTO log VALUES (2); UPDATE item SET v = -2 WHERE id = 2; COMMIT")
	l.eventually("the slot waits for the next one", waits(1))
	l.one(late, "BEGIN; INSERT INTO item VALUES (1003, 'late'); DELETE FROM item WHERE id = 3")
	l.one(middle, "INSERT INTO log VALUES (3); COMMIT")
	l.one(l.s, "INSERT INTO log VALUES (4)")
	// Or it waits for the last one as well, because transactions of other databases have come between.
	l.eventually("the slot is there", func() bool {
		return l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND confirmed_flush_lsn IS NOT NULL") == "1" ||
			l.one(l.s, fmt.Sprintf(`SELECT count(*) FROM pg_locks w JOIN pg_locks h USING (transactionid) JOIN pg_stat_activity a ON a.pid = w.pid
				WHERE NOT w.granted AND h.granted AND a.backend_type = 'walsender' AND a.datname = current_database() AND h.pid = %d`, late.PgConn().PID())) == "1"
	})
	l.one(late, "INSERT INTO log VALUES (5); UPDATE item SET id = 2001 WHERE id = 1001; COMMIT")
	l.reach("incremental synchronization")
	l.source("INSERT INTO log VALUES (6)")
	l.caughtUp()
	l.equal()
	l.want("rows", l.one(l.d, "SELECT count(*) FROM log"), "6")
}

// exported matches the answer to the creation of a slot, which names the snapshot.
func exported(dir testenv.Direction, kind byte, body []byte) bool {
	return dir == testenv.ToClient && kind == 'D' && snapshotName.Match(body)
}

var snapshotName = regexp.MustCompile(`[0-9A-F]{8}-[0-9A-F]{8}-[0-9]+`)

// Trap 27: a table that is rewritten or emptied between the snapshot and its lock looks empty under the snapshot, and a
// rewrite puts no rows into the stream. The answer with the snapshot is held back until that has happened.
func TestTablesRewrittenBeforeTheirCopy(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`CREATE TABLE vacuumed (id int, t text); CREATE TABLE altered (id int, t text); CREATE TABLE emptied (id int PRIMARY KEY, t text);
		INSERT INTO vacuumed SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i; INSERT INTO altered SELECT * FROM vacuumed; INSERT INTO emptied SELECT * FROM vacuumed;
		DELETE FROM vacuumed WHERE id % 2 = 0; ALTER TABLE vacuumed REPLICA IDENTITY FULL; ALTER TABLE altered REPLICA IDENTITY FULL`)
	proxy, from := l.through(l.src, l.srcDB)
	l.from = from
	stalled := proxy.StallAfter(exported)
	l.create("START NOW CONFIRM ALL")
	l.await("the slot is made", stalled)
	l.source("UPDATE item SET v = v + 1; INSERT INTO vacuumed VALUES (-1, 'after the snapshot')")
	l.source("VACUUM FULL vacuumed")
	l.source("ALTER TABLE altered ALTER id TYPE int USING id + 0; UPDATE altered SET t = 'changed' WHERE id < 100")
	l.source("TRUNCATE emptied; INSERT INTO emptied SELECT i, 'new' FROM generate_series(1, 10) i")
	proxy.Resume()
	l.reach("incremental synchronization")
	l.source("DELETE FROM vacuumed WHERE id = 1; UPDATE emptied SET t = 'newer' WHERE id = 1")
	l.caughtUp()
	l.equal()
}

// Trap 30: the second of two tasks into one table is killed while it copies. Rows of the first stay, its own come once, and both
// stream on.
func TestKilledWhileTwoTasksShareATable(t *testing.T) {
	t.Parallel()
	const table = `CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT %[1]s i, repeat('x', 100) FROM generate_series(1, 5000) i; INSERT INTO a VALUES (%[1]s 5001, 'the last marker')`
	l := setupAlone(t, fmt.Sprintf(table, "+"))
	l.start("")
	second := *l
	second.task += "b"
	second.srcDB = l.src.Database(t)
	second.s, second.from = l.src.Connect(t, second.srcDB), l.src.ConnString(second.srcDB)
	second.source(fmt.Sprintf(table, "-"))
	proxy, to := l.through(l.dst, l.dstDB)
	second.to = to
	stalled := proxy.StallAfter(lastRow)
	second.create("START NOW CONFIRM ALL WITH (existing_objects = append)")
	l.await("the second copy comes to its last row", stalled)
	if err := l.daemon.Kill9(); err != nil {
		t.Fatal(err)
	}
	l.source("UPDATE a SET t = 'changed' WHERE id % 3 = 0; DELETE FROM a WHERE id % 7 = 0")
	second.source("UPDATE a SET t = 'changed' WHERE id % 3 = 0; DELETE FROM a WHERE id % 7 = 0; UPDATE a SET id = id - 10000 WHERE id % 5 = 0")
	proxy.Cut()
	proxy.Resume()
	l.restart()
	second.client = nil
	second.reach("incremental synchronization")
	l.source("INSERT INTO a VALUES (20000, 'after')")
	second.source("INSERT INTO a VALUES (-20000, 'after'); DELETE FROM a WHERE id = -1")
	l.caughtUp()
	second.caughtUp()
	const rows = "SELECT count(*), md5(string_agg(a::text, ',' ORDER BY id)) FROM a WHERE "
	l.want("rows of the first", l.one(l.d, rows+"id > 0"), l.one(l.s, rows+"true"))
	l.want("rows of the second", l.one(l.d, rows+"id < 0"), l.one(second.s, rows+"true"))
	second.sql("DROP SYNC TASK %[1]s FORCE")
}
