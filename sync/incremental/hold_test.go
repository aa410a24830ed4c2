package incremental_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

const holdTables = `CREATE TABLE t (id int PRIMARY KEY, n int, pad text); CREATE TABLE log (id int, v text); ALTER TABLE log REPLICA IDENTITY FULL;
	CREATE TABLE large (id int PRIMARY KEY, v text); CREATE TABLE emptied (id int)`

// write commits transactions of every size until ctx ends, and is never far ahead of the stream.
func (l *lab) write(ctx context.Context, r *running, conn *pgx.Conn, writer int) error {
	random := rand.New(rand.NewPCG(uint64(writer), 1)) //nolint:gosec // a test's load
	var before pglogrepl.LSN
	for i := 0; ctx.Err() == nil; i++ {
		if i%20 == 0 {
			_ = r.WaitApplied(ctx, before) // or the end of ctx
			var now string
			err := conn.QueryRow(context.WithoutCancel(ctx), `SELECT pg_current_wal_lsn()::text`).Scan(&now)
			if err == nil {
				before, err = pglogrepl.ParseLSN(now)
			}
			if err != nil {
				return err
			}
		}
		sql := fmt.Sprintf(`BEGIN; UPDATE t SET n = n + 1, pad = repeat('x', %d) WHERE id = %d; INSERT INTO log VALUES (%d, 'w%d');
			DELETE FROM log WHERE ctid = (SELECT ctid FROM log WHERE v = 'w%d' LIMIT 1 FOR UPDATE SKIP LOCKED); COMMIT`,
			random.IntN(3000), random.IntN(100), i, writer, writer)
		switch {
		case i%50 == 49:
			sql = fmt.Sprintf(`INSERT INTO large SELECT i, repeat('y', 100) FROM generate_series(%[1]d, %[1]d + 1000) i ON CONFLICT (id) DO UPDATE SET v = large.v || '.'`, writer*10000)
		case i%70 == 69 && writer == 0:
			sql = `BEGIN; TRUNCATE emptied; INSERT INTO emptied SELECT generate_series(1, 10); COMMIT`
		}
		// A query is not interrupted: that would leave the session in an unknown state.
		if err := conn.PgConn().Exec(context.WithoutCancel(ctx), sql).Close(); err != nil {
			return fmt.Errorf("%w\n%s", err, sql)
		}
	}
	return nil
}

// figure reads what identifies the rows of all tables.
const figure = `SELECT concat_ws(' ', (SELECT md5(string_agg(x::text, '' ORDER BY x)) FROM t x), (SELECT md5(string_agg(x::text, '' ORDER BY x)) FROM log x),
	(SELECT md5(string_agg(x::text, '' ORDER BY x)) FROM large x), (SELECT sum(n) FROM t), (SELECT count(*) FROM log), (SELECT count(*) FROM large))`

// exactPair opens transactions that show the source and the destination in the same state.
func (l *lab) exactPair(ctx context.Context, r *running, s, d *pgx.Conn) (pglogrepl.LSN, error) {
	reach, release, err := r.Hold(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = release() }()
	repl, err := l.cfg.Source.ConnectReplication(ctx, "test")
	if err != nil {
		return 0, err
	}
	defer func() { _ = repl.Close(context.WithoutCancel(ctx)) }()
	slot, err := pglogrepl.CreateReplicationSlot(ctx, repl, l.cfg.Slot[:40]+"_held", l.cfg.Plugin, pglogrepl.CreateReplicationSlotOptions{Temporary: true, SnapshotAction: "EXPORT_SNAPSHOT"})
	if err != nil {
		return 0, err
	}
	if err := s.PgConn().Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '`+slot.SnapshotName+`'`).Close(); err != nil {
		return 0, err
	}
	at, err := pglogrepl.ParseLSN(slot.ConsistentPoint)
	if err != nil {
		return 0, err
	}
	if _, err := reach(ctx, at); err != nil {
		return 0, err
	}
	if err := d.PgConn().Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1`).Close(); err != nil {
		return 0, err
	}
	return at, release()
}

// TestHeldStream: at each hold, both sides are in the same state, whatever is under way.
func TestHeldStream(t *testing.T) {
	t.Parallel()
	l := setup(t, holdTables)
	l.source(`INSERT INTO t SELECT i, 0, '' FROM generate_series(0, 99) i; ALTER DATABASE ` + l.srcDB + ` SET logical_decoding_work_mem = '64kB'`)
	l.cfg.BatchBytes, l.cfg.Workers = 64<<10, 4
	r := l.start()
	r.catchUp()
	ctx, stop := context.WithCancel(t.Context())
	writers, writing := errgroup.WithContext(ctx)
	for n := range 6 {
		conn := l.src.Connect(t, l.srcDB)
		writers.Go(func() error { return l.write(writing, r, conn, n) })
	}
	s, d, now := l.src.Connect(t, l.srcDB), l.dst.Connect(t, l.dstDB), l.src.Connect(t, l.srcDB)
	last := pglogrepl.LSN(0)
	for n := range 12 {
		at, err := l.exactPair(t.Context(), r, s, d)
		if err != nil {
			t.Fatal(err)
		}
		if at <= last {
			t.Fatalf("hold %d at %s, after %s", n, at, last)
		}
		last = at
		shown := l.one(s, `SELECT pg_current_snapshot()`)
		l.eventually("what the snapshot shows has ended", func() bool {
			return l.one(now, `SELECT NOT EXISTS (SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS x (id) WHERE pg_visible_in_snapshot(x.id, '`+shown+`'))`) == "t"
		})
		if a, b := l.one(s, figure), l.one(d, figure); a != b {
			t.Errorf("hold %d at %s:\n%s\n%s", n, at, a, b)
		}
		l.exec(s, `COMMIT`)
		l.exec(d, `COMMIT`)
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Error(err)
	}
	r.catchUp()
	l.equal()
}

// TestHoldKeepsTheLink: the source is answered while the stream stands still and the queue is full.
func TestHoldKeepsTheLink(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	l.source(`ALTER DATABASE ` + l.srcDB + ` SET wal_sender_timeout = '1s'`)
	l.cfg.BatchBytes = 16 << 10
	r := l.start()
	r.catchUp()
	reach, release, err := r.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reach(t.Context(), l.end()); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.source(fmt.Sprintf(`INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(%[1]d, %[1]d + 99) i`, 100*i))
	}
	asked := l.one(l.s, `SELECT clock_timestamp()`)
	l.eventually("the source is answered for much longer than it waits", func() bool {
		return l.one(l.s, `SELECT count(*) FROM pg_stat_replication WHERE pid = (SELECT active_pid FROM pg_replication_slots WHERE slot_name = '`+
			l.cfg.Slot+`') AND reply_time > '`+asked+`'::timestamptz + interval '3 s'`) == "1"
	})
	if n := l.one(l.d, `SELECT count(*) FROM t`); n != "0" {
		t.Errorf("%s rows have come", n)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if err := release(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	r.catchUp()
	l.equal()
}

// TestHoldFollows: a stream that is not told where to stop goes on at a distance, and cannot stop behind where it is.
func TestHoldFollows(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	r := l.start()
	r.catchUp()
	before := l.end()
	reach, release, err := r.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	for i := range 5 {
		l.source(fmt.Sprintf(`INSERT INTO t VALUES (%d)`, i))
		r.catchUp()
	}
	l.equal()
	if _, err := reach(t.Context(), before); err == nil {
		t.Error("the stream is said to be where it was before")
	}
	if _, err := reach(t.Context(), l.end()); err != nil {
		t.Error(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// TestHoldEnds with its context, with the stream, and before another one begins.
func TestHoldEnds(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	r := l.start()
	r.catchUp()
	ctx, cancel := context.WithCancelCause(t.Context())
	reach, release, err := r.Hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	impatient, expired := context.WithTimeout(t.Context(), time.Millisecond)
	defer expired()
	if _, _, err := r.Hold(impatient); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second hold: %v", err)
	}
	l.source(`INSERT INTO t VALUES (1)`)
	cause := errors.New("cancelled")
	cancel(cause)
	r.catchUp()
	if err := release(); !errors.Is(err, cause) {
		t.Errorf("after the end of its context: %v", err)
	}
	if _, err := reach(t.Context(), l.end()); !errors.Is(err, cause) {
		t.Errorf("after the end of its context: %v", err)
	}

	reach, release, err = r.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.source(`INSERT INTO t VALUES (2)`)
	fence, err := reach(t.Context(), l.end())
	if got := l.one(l.d, `SELECT count(*) FROM t`); err != nil || got != "2" {
		t.Errorf("reached: %v, %s rows", err, got)
	}
	if got := l.one(l.d, `SELECT fence FROM pgsyncd.progress WHERE task = '`+l.cfg.Task+`'`); got != fmt.Sprint(fence) {
		t.Errorf("fence %d, the ledger has %s", fence, got)
	}
	l.source(`INSERT INTO t VALUES (3)`)
	_ = r.kill()
	if err := release(); err == nil {
		t.Error("the stream has ended, and yet stood still")
	}
	if _, _, err := r.Hold(t.Context()); err == nil {
		t.Error("a stream that has ended is held")
	}
	if got := l.one(l.d, `SELECT count(*) FROM t`); got != "2" {
		t.Errorf("%s rows have come to a held stream", got)
	}
	l.resume()
	l.equal()
}
