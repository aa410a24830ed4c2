package sync_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// lastRow matches the row that a table ends with, on its way into the destination.
func lastRow(dir testenv.Direction, kind byte, body []byte) bool {
	return dir == testenv.ToTarget && kind == 'd' && bytes.Contains(body, []byte("the last marker"))
}

// The daemon is killed, and ended in good order, while it copies. The next one goes on, with the changes made meanwhile.
func TestKilledWhileCopying(t *testing.T) {
	t.Parallel()
	killedWhileCopying(t, "pgoutput")
}

func killedWhileCopying(t *testing.T, decoder string) {
	t.Helper()
	l := setupAlone(t, items+`
		CREATE TABLE big (id int PRIMARY KEY, t text);
		INSERT INTO big SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 5000) i;
		INSERT INTO big VALUES (5001, 'the last marker');
		CREATE TABLE keyless (a int); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless SELECT 1 FROM generate_series(1, 20)`)
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	stalled := proxy.StallAfter(lastRow)
	l.create("START NOW CONFIRM ALL WITH (decoder = " + decoder + ")")
	for i, end := range []func() error{l.daemon.Kill9, l.daemon.Terminate} {
		l.await("the copy comes to the last row", stalled)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		l.source(fmt.Sprintf(`UPDATE big SET t = 'changed' WHERE id %% 3 = %[1]d AND id <= 5000; DELETE FROM item WHERE id %% 3 = %[1]d;
			INSERT INTO keyless SELECT 1 FROM generate_series(1, 20)`, i))
		if i == 0 {
			stalled = proxy.StallAfter(lastRow)
		}
		proxy.Cut()
		proxy.Resume()
		l.restart()
		l.want("state after the start", l.status("state"), "full synchronization")
	}
	l.reach("incremental synchronization")
	l.source("INSERT INTO big VALUES (9000, 'after')")
	l.caughtUp()
	l.equal()
	l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT temporary"), "1")
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
}

// writer commits transactions until it is stopped; wait tells how many.
func (l *lab) writer() (wait func() int, stop func()) {
	l.Helper()
	conn := l.src.Connect(l.T, l.srcDB)
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan struct{})
	var n int
	var err error
	go func() {
		defer close(done)
		for ctx.Err() == nil && err == nil {
			n++
			err = transaction(context.WithoutCancel(ctx), conn, n)
		}
	}()
	l.Cleanup(func() { cancel(); <-done })
	return func() int {
		l.Helper()
		<-done
		if err != nil {
			l.Fatal(err)
		}
		return n
	}, cancel
}

// transaction inserts a row and moves an amount between two others: the sum of all stays what it was.
func transaction(ctx context.Context, conn *pgx.Conn, n int) error {
	sql := fmt.Sprintf(`BEGIN; INSERT INTO entry VALUES (%d, repeat('x', %d)); UPDATE account SET v = v - 1 WHERE id = %d;
		UPDATE account SET v = v + 1 WHERE id = %d; COMMIT`, n, n%200, 1+n%10, 1+(n+3)%10)
	return conn.PgConn().Exec(ctx, sql).Close()
}

// The daemon is killed, and ended in good order, while changes flow. Nothing is lost, nothing comes twice.
func TestKilledWhileStreaming(t *testing.T) {
	t.Parallel()
	l := setupAlone(t, `CREATE TABLE entry (n int, t text); ALTER TABLE entry REPLICA IDENTITY FULL;
		CREATE TABLE account (id int PRIMARY KEY, v int); INSERT INTO account SELECT i, 100 FROM generate_series(1, 10) i`)
	l.start("")
	wait, stop := l.writer()
	applied := 0
	for _, end := range []func() error{l.daemon.Kill9, l.daemon.Terminate, l.daemon.Kill9} {
		applied += 50
		l.eventually("changes flow", func() bool {
			return l.one(l.d, fmt.Sprintf("SELECT count(*) >= %d FROM entry", applied)) == "t"
		})
		if err := end(); err != nil {
			t.Fatal(err)
		}
		l.restart()
		l.want("state after the start", l.status("state"), "incremental synchronization")
		applied = len(l.one(l.d, "SELECT repeat('x', count(*)::int) FROM entry"))
	}
	stop()
	n := wait()
	l.caughtUp()
	l.equal()
	l.want("rows", l.one(l.d, "SELECT count(*), count(DISTINCT n) FROM entry"), fmt.Sprintf("%[1]d|%[1]d", n))
	l.want("sum", l.one(l.d, "SELECT sum(v) FROM account"), "1000")
	l.want("conflicts", l.sql("SELECT count(*) FROM sync_conflicts"), "0")
}

// A stop in progress survives the daemon.
func TestKilledWhileStopping(t *testing.T) {
	t.Parallel()
	l := setupAlone(t, items+"CREATE SEQUENCE q; SELECT nextval('q')")
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	l.start("")
	proxy.Stall(testenv.Both)
	l.source("UPDATE item SET v = -1")
	l.sql("STOP SYNC TASK %[1]s")
	if err := l.daemon.Kill9(); err != nil {
		t.Fatal(err)
	}
	proxy.Resume()
	l.restart()
	l.reach("completed")
	l.equal()
	l.want("sequence", l.one(l.d, "SELECT last_value FROM q"), "10001")
	l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0")
}

// The private PostgreSQL of the catalog is killed while a task copies. What the task has done meanwhile gets on record.
func TestCatalogIsKilled(t *testing.T) {
	t.Parallel()
	l := setupAlone(t, items+"INSERT INTO item VALUES (101, 'the last marker')")
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	stalled := proxy.StallAfter(lastRow)
	l.create("START NOW CONFIRM ALL")
	l.await("the copy comes to the last row", stalled)
	files, err := filepath.Glob(filepath.Join(l.daemon.DataDir(), "catalog", "*", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v: %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.SplitN(string(content), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	proxy.Resume()
	l.eventually("the task streams", func() bool {
		rows, err := l.exec(t.Context(), "SELECT state FROM sync_status")
		return err == nil && table(rows) == "incremental synchronization"
	})
	l.source("UPDATE item SET v = 7")
	l.caughtUp()
	l.equal()
}
