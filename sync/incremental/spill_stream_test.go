package incremental_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// setupStreaming makes a lab whose source sends transactions of more than 64 kB before they have committed.
func setupStreaming(t *testing.T, ddl string) *lab {
	t.Helper()
	src, dst := testenv.SharedPair(t)
	return setupStreamingOn(t, src, dst, ddl)
}

func setupStreamingOn(t *testing.T, src, dst *testenv.Cluster, ddl string) *lab {
	t.Helper()
	l := setupOn(t, src, dst, ddl)
	l.source(`ALTER DATABASE ` + l.srcDB + ` SET logical_decoding_work_mem = '64kB'`)
	l.cfg.Drain.Above = -1 // what a copy of the slot returns has committed
	return l
}

// inProgress returns the sizes of the files of transactions that have not ended.
func (l *lab) inProgress() (sizes []int64) {
	l.Helper()
	entries, err := os.ReadDir(filepath.Join(l.cfg.SpillDir, l.cfg.Task))
	if err != nil && !os.IsNotExist(err) {
		l.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sizes = append(sizes, info.Size())
		}
	}
	return sizes
}

// keeps waits until so many transactions in progress have come.
func (l *lab) keeps(n int) {
	l.Helper()
	l.eventually(fmt.Sprint(n, " transactions are kept"), func() bool { return len(l.inProgress()) == n })
}

// more does something in a session, and waits until more of its transaction has come.
func (l *lab) more(c *pgx.Conn, sql string) {
	l.Helper()
	sum := func() (n int64) {
		for _, size := range l.inProgress() {
			n += size
		}
		return n
	}
	before := sum()
	l.exec(c, sql)
	l.eventually("more of the transaction is kept", func() bool { return sum() > before })
}

// much inserts 400 rows, which exceed logical_decoding_work_mem, from a number on.
func much(table string, from int) string {
	return fmt.Sprintf(`INSERT INTO %s SELECT i, repeat(md5(i::text), 10) FROM generate_series(%d, %d) i;`, table, from, from+399)
}

// sessions opens sessions at the source.
func (l *lab) sessions() (a, b, c *pgx.Conn) {
	l.Helper()
	return l.src.Connect(l.T, l.srcDB), l.src.Connect(l.T, l.srcDB), l.src.Connect(l.T, l.srcDB)
}

// Several transactions come in turn; some commit, in another order than they began, one does not.
func TestTransactionsInProgressInterleave(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	interleaved(t, src, dst)
}

func interleaved(t *testing.T, src, dst *testenv.Cluster) {
	t.Helper()
	l := setupStreamingOn(t, src, dst, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE log (a text)`)
	l.source(much("t", 1))
	r := l.start()
	r.catchUp()
	a, b, c := l.sessions()
	l.more(a, `BEGIN; UPDATE t SET v = v || 'x'; INSERT INTO log VALUES ('a')`)
	l.more(b, `BEGIN; `+much("t", 1001)+`INSERT INTO log VALUES ('b')`)
	l.more(c, `BEGIN; INSERT INTO log VALUES ('c');`+much("t", 2001))
	l.keeps(3)
	l.source(`INSERT INTO t VALUES (5001, 'ordinary'); INSERT INTO log VALUES ('o'); DELETE FROM t WHERE id = 5001; INSERT INTO t VALUES (5002, 'ordinary')`)
	r.catchUp() // the position passes what is kept
	if n := l.one(l.d, `SELECT count(*) FROM t WHERE v LIKE '%x' OR id BETWEEN 1001 AND 3000`); n != "0" {
		t.Errorf("%s rows before their commit", n)
	}
	l.more(a, much("t", 3001))
	l.more(b, `UPDATE t SET v = 'b' || v WHERE id > 1000`)
	l.exec(c, `ROLLBACK`)
	l.keeps(2)
	l.exec(b, `COMMIT`)
	l.source(`INSERT INTO log VALUES ('between')`)
	r.catchUp()
	l.keeps(1)
	l.more(a, `DELETE FROM t WHERE id < 200;`+much("t", 4001))
	l.exec(a, `COMMIT`)
	l.source(`UPDATE t SET v = 'last' WHERE id % 2 = 0`)
	r.catchUp()
	l.equal()
	l.keeps(0)
	_ = r.kill()
	if left, err := os.ReadDir(l.cfg.SpillDir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What was rolled back to a savepoint, in blocks before or in the same one, with savepoints inside or around it, does not arrive.
func TestSavepointsOfTransactionsInProgress(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	savepoints(t, src, dst)
}

func savepoints(t *testing.T, src, dst *testenv.Cluster) {
	t.Helper()
	l := setupStreamingOn(t, src, dst, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text); CREATE TABLE log (a text)`)
	r := l.start()
	a, _, _ := l.sessions()
	l.more(a, `BEGIN; SAVEPOINT s1;`+much("t", 1))
	l.exec(a, `ROLLBACK TO s1;`+much("t", 1)) // described anew
	l.more(a, `SAVEPOINT s2;`+much("t", 1001)+`SAVEPOINT s3;`+much("u", 1))
	l.more(a, `RELEASE s3;`+much("u", 1001)+`SAVEPOINT s4;`+much("t", 2001)+`ROLLBACK TO s4`)
	l.exec(a, `ROLLBACK TO s2; INSERT INTO log VALUES ('kept'); SAVEPOINT s5;`+much("u", 1)+`RELEASE s5; SAVEPOINT s6; DELETE FROM u; ROLLBACK TO s6`)
	// As many savepoints as loops with exception blocks make, each of them taken back or kept.
	l.more(a, `DO $$BEGIN FOR i IN 1..600 LOOP
		BEGIN
			INSERT INTO t VALUES (10000 + i, repeat('x', 300));
			IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
			BEGIN INSERT INTO u VALUES (10000 + i, repeat('y', 300)); IF i % 2 = 0 THEN RAISE division_by_zero; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP; END$$`)
	l.source(`INSERT INTO log VALUES ('another')`)
	r.catchUp()
	l.exec(a, `COMMIT`)
	r.catchUp()
	l.equal()
	l.more(a, `BEGIN; SAVEPOINT s;`+much("t", 20001))
	l.exec(a, `ROLLBACK TO s; COMMIT`)
	l.keeps(0)
	l.more(a, `BEGIN; SAVEPOINT s;`+much("t", 30001))
	l.exec(a, `ROLLBACK`)
	l.source(much("u", 50001))
	r.catchUp()
	l.equal()
	l.keeps(0)
}

// A table changes its shape within a transaction in progress, for good or not.
func TestShapesOfTransactionsInProgress(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	shapes(t, src, dst)
}

func shapes(t *testing.T, src, dst *testenv.Cluster) {
	t.Helper()
	l := setupStreamingOn(t, src, dst, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text); CREATE TABLE f (id int, v text); ALTER TABLE f REPLICA IDENTITY FULL`)
	l.destination(`ALTER TABLE t ADD w text; ALTER TABLE t ADD x int; ALTER TABLE f ADD w int DEFAULT 7; ALTER TABLE u ADD w text`)
	r := l.start()
	l.source(`INSERT INTO t VALUES (-1, 'known'); INSERT INTO u VALUES (-1, 'known'); INSERT INTO f VALUES (-1, 'known')`)
	a, b, _ := l.sessions()
	l.more(a, `BEGIN; `+much("t", 1))
	l.more(a, `ALTER TABLE t ADD w text; UPDATE t SET w = id::text;`+much("f", 1))
	l.more(b, `BEGIN; `+much("u", 1))
	l.exec(a, `ALTER TABLE f ADD w int DEFAULT 7; SAVEPOINT s; ALTER TABLE t DROP v`)
	l.more(a, `UPDATE t SET w = 'lost'; DELETE FROM f WHERE id < 50`)
	l.exec(a, `ROLLBACK TO s`)
	l.more(a, `UPDATE t SET v = v || w WHERE id % 2 = 0; DELETE FROM f WHERE id BETWEEN 100 AND 300; ALTER TABLE t ADD x int; INSERT INTO t SELECT i, 'x', 'x', i FROM generate_series(2001, 2100) i;`+much("f", 1001))
	l.exec(b, `ALTER TABLE u ADD w text`)
	l.more(b, `UPDATE u SET w = 'never'`)
	l.exec(b, `ROLLBACK`)
	l.source(`INSERT INTO u VALUES (5, 'after the abort')`)
	l.exec(a, `COMMIT`)
	// The source takes the shapes that came with the transaction for known.
	l.source(`INSERT INTO t VALUES (3001, 'v', 'w', 1); UPDATE t SET x = 5 WHERE id = 2; DELETE FROM f WHERE id = 5; UPDATE u SET v = 'new'; ALTER TABLE u ADD w text`)
	r.catchUp()
	l.equal()
}

// Everything that an applier treats in a way of its own comes before the commit as well.
func TestKindsOfChangesInProgress(t *testing.T) {
	t.Parallel()
	l := setupStreaming(t, `CREATE TABLE t (id int PRIMARY KEY, v text, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL; CREATE TABLE dup (id int, v text); ALTER TABLE dup REPLICA IDENTITY FULL;
		CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000); CREATE TABLE p2 PARTITION OF p DEFAULT;
		CREATE TYPE mood AS ENUM ('low', 'high'); CREATE TABLE e (id int PRIMARY KEY, m mood, v text); CREATE TABLE r (id int PRIMARY KEY REFERENCES e, v text)`)
	r := l.start()
	a, _, _ := l.sessions()
	l.more(a, `BEGIN; INSERT INTO t SELECT i, 'v', CASE WHEN i % 50 = 0 THEN repeat(md5(i::text), 3000) ELSE repeat('x', 400) END FROM generate_series(1, 400) i`)
	l.more(a, `UPDATE t SET v = 'toast unchanged', id = -id; UPDATE t SET big = repeat('y', 5000) WHERE id % 100 = 0; UPDATE t SET id = -id WHERE id > -200; DELETE FROM t WHERE id = -300`)
	l.more(a, `INSERT INTO dup SELECT i % 3, repeat('d', 300) FROM generate_series(1, 600) i; DELETE FROM dup WHERE ctid IN (SELECT ctid FROM dup WHERE id = 1 LIMIT 7)`)
	l.more(a, `SAVEPOINT s; TRUNCATE dup, t;`+much("p", 1)+` ROLLBACK TO s;`+much("p", 800)+`UPDATE p SET id = id + 5000 WHERE id < 900`)
	l.more(a, `INSERT INTO e SELECT i, 'high', repeat('e', 300) FROM generate_series(1, 400) i; INSERT INTO r SELECT i, 'r' FROM generate_series(1, 400) i`)
	l.exec(a, `COMMIT`)
	r.catchUp()
	l.equal()
	l.more(a, `BEGIN; INSERT INTO dup SELECT 9, repeat('n', 300) FROM generate_series(1, 400); TRUNCATE r, e, dup; `+much("p", 20000))
	l.more(a, `INSERT INTO dup SELECT 8, repeat('n', 300) FROM generate_series(1, 400); TRUNCATE p1`)
	l.exec(a, `COMMIT`)
	r.catchUp()
	l.equal()
	if n := l.one(l.d, `SELECT count(*) FROM dup`); n != "400" {
		t.Errorf("%s rows", n)
	}
	if n := len(l.report.recorded()); n != 0 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
}

// Conditions, lists of columns and several tables in one hold for transactions in progress.
func TestSelectionsOfTransactionsInProgress(t *testing.T) {
	t.Parallel()
	l := setupStreaming(t, `CREATE TABLE gate ()`)
	l.source(`CREATE TABLE t (id int PRIMARY KEY, v text, secret text DEFAULT 's'); CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (v text, id int PRIMARY KEY)`)
	l.destination(`CREATE TABLE t (id int PRIMARY KEY, w text); CREATE TABLE d (id int PRIMARY KEY, v text)`)
	l.begin(schema.Selection{
		All: true, Rules: []schema.TableRule{where("t", "id % 2 = 0", "id", "", "v", "w")},
		Map: schema.Mapping{Relations: []schema.RelationMap{{From: name("public", "a"), To: name("public", "d")}, {From: name("public", "b"), To: name("public", "d")}}},
	})
	l.views([3]string{"v", `SELECT id, v FROM t WHERE id % 2 = 0`, `SELECT id, w AS v FROM t`}, [3]string{"w", `SELECT id, v FROM a UNION ALL SELECT id, v FROM b`, `SELECT * FROM d`})
	r := l.start()
	a, b, _ := l.sessions()
	l.more(a, `BEGIN; INSERT INTO t SELECT i, repeat('v', 500) FROM generate_series(1, 1000) i`)
	l.more(b, `BEGIN; `+much("a", 1)+`INSERT INTO b SELECT 'b', i FROM generate_series(1001, 1100) i`)
	l.more(a, `UPDATE t SET id = id + 2001 WHERE id % 3 = 0; SAVEPOINT s; UPDATE t SET id = id + 7001; ROLLBACK TO s; DELETE FROM t WHERE id % 5 = 0`)
	l.more(b, `DELETE FROM a WHERE id < 50; INSERT INTO b SELECT repeat('was a', 100), generate_series(1, 49); UPDATE a SET id = id + 10000`)
	l.exec(b, `COMMIT`)
	l.exec(a, `COMMIT`)
	r.catchUp()
	l.equal("public.v", "public.w")
	l.more(a, `BEGIN; TRUNCATE a, b; `+much("a", 1))
	l.exec(a, `COMMIT`)
	r.catchUp()
	l.equal("public.v", "public.w")
	if n := len(l.report.recorded()); n != 0 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
}

// A copy shows the commits before it, those of transactions that the stream is sent in blocks too.
func TestCopiesAheadOfTransactionsInProgress(t *testing.T) {
	t.Parallel()
	l := setupStreaming(t, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)`)
	a, b, _ := l.sessions()
	l.exec(b, `BEGIN; `+much("t", 1001)+much("u", 1001))
	l.exec(a, `BEGIN; `+much("t", 1)+much("u", 1)+`COMMIT`)
	at := l.end()
	l.destination(much("t", 1)) // as if it had been copied now
	for table, lsn := range map[string]pglogrepl.LSN{"t": at, "u": 0} {
		if err := ledger.MarkCopied(t.Context(), l.d, l.cfg.Task, schema.Name{Schema: "public", Name: table}.String(), lsn); err != nil {
			t.Fatal(err)
		}
	}
	l.exec(b, `UPDATE t SET v = 'b' WHERE id < 10; COMMIT`)
	l.start().catchUp()
	l.equal()
	l.eventually("the source has told that it streamed", func() bool {
		return l.one(l.s, `SELECT stream_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = '`+l.cfg.Slot+`'`) == "t"
	})
}

// A transaction that is prepared is neither there nor lost until somebody decides, whoever crashes meanwhile.
func TestPreparedTransactionsInProgress(t *testing.T) {
	t.Parallel()
	src := testenv.Start(t, testenv.Config{Settings: map[string]string{"logical_decoding_work_mem": "64kB"}})
	_, dst := testenv.SharedPair(t)
	l := setupOn(t, src, dst, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	crash := func(r *running) *running {
		l.Helper()
		if err := src.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		if err := r.wait(); !endpoint.Retryable(err) {
			t.Fatal(err)
		}
		if err := src.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.s = src.Connect(t, l.srcDB)
		return l.resume()
	}
	r := l.start()
	for round, decision := range []string{"COMMIT", "ROLLBACK", "COMMIT", "ROLLBACK"} {
		first := round*10000 + 1
		a, b, _ := l.sessions()
		l.more(a, `BEGIN; `+much("t", first))
		if round >= 2 {
			l.more(b, `BEGIN; `+much("t", first+2000)) // dies with the source
		}
		l.exec(a, `SAVEPOINT s;`+much("t", first+1000)+`ROLLBACK TO s;`+much("t", first+1200)+`PREPARE TRANSACTION 'p'`)
		l.source(fmt.Sprintf(`INSERT INTO t VALUES (%d, 'meanwhile')`, first+5000))
		r.catchUp()
		if round%2 == 0 {
			_ = r.kill()
			r = l.resume()
		}
		if round >= 1 {
			r = crash(r)
		}
		if n := l.one(l.d, fmt.Sprintf(`SELECT count(*) FROM t WHERE id BETWEEN %d AND %d`, first, first+4000)); n != "0" {
			t.Errorf("%s rows that are only prepared", n)
		}
		l.source(decision + ` PREPARED 'p'`)
		r.catchUp()
		l.equal()
		l.source(`CHECKPOINT`) // tells which transactions have died
		l.keeps(0)
	}
}

// A file that is not what was written ends the stream before anything of it is committed, and the next one gets the transaction anew.
func TestDamagedTransactionInProgressIsNotApplied(t *testing.T) {
	t.Parallel()
	l := setupStreaming(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	l.cfg.BatchBytes = 32 << 10 // so that a good part is applied when the damage is met
	for round, damage := range []func(path string, content []byte) error{
		func(path string, content []byte) error {
			content[len(content)-40] ^= 1
			return os.WriteFile(path, content, 0o600)
		},
		func(path string, content []byte) error { return os.Truncate(path, int64(len(content)-1)) },
		func(path string, content []byte) error { return os.WriteFile(path, append(content, content...), 0o600) },
		func(path string, _ []byte) error { return os.Truncate(path, 0) },
	} {
		r := l.start()
		a, _, _ := l.sessions()
		l.more(a, `BEGIN; `+much("t", round*10000))
		l.source(fmt.Sprintf(`INSERT INTO t VALUES (%d, 'before')`, round*10000+5000))
		r.catchUp()
		files, err := filepath.Glob(filepath.Join(l.cfg.SpillDir, l.cfg.Task, "*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		content, err := os.ReadFile(files[0])
		if err == nil {
			err = damage(files[0], content)
		}
		if err != nil {
			t.Fatal(err)
		}
		l.exec(a, `COMMIT`)
		if err := r.wait(); endpoint.Classify(err) != endpoint.FaultOther || !strings.Contains(err.Error(), "spilled transaction") {
			t.Fatalf("round %d: ended with %v", round, err)
		}
		if n := l.one(l.d, `SELECT count(*) FROM t`); n != fmt.Sprint(401*round+1) {
			t.Errorf("round %d: %s rows", round, n)
		}
		_ = l.resume().kill()
		l.equal()
	}
}

// Where the disk is short the source keeps its transactions, and the operator learns why.
func TestStreamGoesOnWithoutRoomForTransactionsInProgress(t *testing.T) {
	t.Parallel()
	l := setupStreaming(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	var log strings.Builder
	l.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	l.cfg.SpillReserve = 1 << 62
	r := l.start()
	a, _, _ := l.sessions()
	l.exec(a, `BEGIN; `+much("t", 1))
	l.source(`INSERT INTO t VALUES (0, 'ordinary')`)
	r.catchUp()
	l.exec(a, much("t", 1001)+`COMMIT`)
	r.catchUp()
	l.equal()
	end := l.end()
	r.StopAt(end)
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	warning := "level=WARN msg=\"transactions in progress cannot be kept, so the source keeps them\" path=" + filepath.Join(l.cfg.SpillDir, l.cfg.Task) + " free_bytes="
	if n := strings.Count(log.String(), warning); n != 1 {
		t.Errorf("%d warnings in %s", n, log.String())
	}
	l.keeps(0)
}

// Streams end in every way while several writers have transactions in progress; no change may be missing, come twice, or come without its commit.
func TestFaultsWhileTransactionsAreInProgress(t *testing.T) {
	t.Parallel()
	l := setupStreaming(t, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE log (id int, a text); ALTER TABLE log REPLICA IDENTITY FULL; CREATE TABLE small (id int PRIMARY KEY, n int)`)
	l.source(`INSERT INTO small SELECT i, 0 FROM generate_series(0, 3) i`)
	l.cfg.BatchBytes = 64 << 10
	fromSource, source := l.through(l.src, l.srcDB)
	toDestination, destination := l.through(l.dst, l.dstDB)
	l.cfg.Source, l.cfg.Destination = source, destination
	work := make(chan struct{}, 20)
	writers, ctx := errgroup.WithContext(t.Context())
	for w := range 4 {
		conn := l.src.Connect(t, l.srcDB)
		rng := rand.New(rand.NewPCG(uint64(w), 7)) //nolint:gosec // the same work every time
		writers.Go(func() error {
			for i := 0; ; i++ {
				if _, open := <-work; !open {
					return nil
				}
				for _, sql := range largeTransaction(rng, w, i) {
					if err := conn.PgConn().Exec(ctx, sql).Close(); err != nil {
						return fmt.Errorf("%s: %w", sql, err)
					}
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(9, 9)) //nolint:gosec // the same faults every time
	var last pglogrepl.LSN
	for round := range 12 {
		r := l.start()
		l.eventually("the stream works", func() bool {
			select {
			case <-r.done:
				return true
			default:
				return r.Applied() > last
			}
		})
		last = r.Applied()
		var cut <-chan struct{}
		switch round % 3 {
		case 0:
			cut = fromSource.CutAfter(streamMessage(int64(rng.IntN(3000) + 1)))
		case 1:
			cut = toDestination.CutAfter(frame(testenv.ToTarget, int64(rng.IntN(15)+1)))
		}
		for range 20 {
			work <- struct{}{}
		}
		// However quickly that is done, and in how few messages: there is more to do until it happens.
		l.eventually("the stream ends, or something is in progress", func() bool {
			select {
			case <-r.done:
				return true
			case <-cut:
				return true
			case <-ctx.Done():
				t.Fatal(writers.Wait())
			case work <- struct{}{}:
			default:
			}
			return cut == nil && len(l.inProgress()) > 0
		})
		if cut == nil {
			_ = r.kill()
		}
		if err := r.wait(); !endpoint.Retryable(err) {
			t.Fatal(err)
		}
		fromSource.ClearRules()
		toDestination.ClearRules()
	}
	close(work)
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	l.resume()
	l.equal()
	l.keeps(0)
}

// largeTransaction is a random one of a writer, with savepoints, in several statements.
func largeTransaction(rng *rand.Rand, writer, i int) []string {
	statements := []string{"BEGIN", fmt.Sprintf(`UPDATE small SET n = n + 1 WHERE id = %d`, writer)}
	depth := 0
	for step := range rng.IntN(8) + 1 {
		from := writer*1000000 + (i*10+step)%20*1000
		switch n := rng.IntN(7); {
		case n == 0:
			depth++
			statements = append(statements, fmt.Sprint("SAVEPOINT s", depth))
		case n == 1 && depth > 0:
			statements = append(statements, fmt.Sprint("ROLLBACK TO s", rng.IntN(depth)+1))
			depth = 0 // the others are gone, and those around are not used any more
		case n == 2 && depth > 0:
			statements = append(statements, fmt.Sprint("RELEASE s", depth))
			depth--
		case n == 3:
			statements = append(statements, fmt.Sprintf(`DELETE FROM log WHERE id = %d AND ctid IN (SELECT ctid FROM log WHERE id = %[1]d LIMIT 100)`, writer))
		case n == 4:
			statements = append(statements, fmt.Sprintf(`UPDATE t SET v = 'u' || v WHERE id BETWEEN %d AND %d`, from, from+200))
		case n == 5:
			statements = append(statements, fmt.Sprintf(`INSERT INTO log SELECT %d, repeat('l', 300) FROM generate_series(1, 300)`, writer))
		default:
			statements = append(statements, fmt.Sprintf(`DELETE FROM t WHERE id BETWEEN %d AND %d`, from, from+399), much("t", from))
		}
	}
	switch rng.IntN(5) {
	case 0:
		return append(statements, "ROLLBACK")
	case 1:
		return append(statements, fmt.Sprintf("PREPARE TRANSACTION 'w%d'", writer), fmt.Sprintf("COMMIT PREPARED 'w%d'", writer))
	case 2:
		return append(statements, fmt.Sprintf("PREPARE TRANSACTION 'w%d'", writer), fmt.Sprintf("ROLLBACK PREPARED 'w%d'", writer))
	}
	return append(statements, "COMMIT")
}

// The memory that a transaction takes does not depend on its size. Not in parallel: the memory of the whole process is measured.
func TestHugeTransactionInProgressTakesNoMemory(t *testing.T) {
	l := setupStreaming(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	l.cfg.BatchBytes = 256 << 10
	r := l.start()
	r.catchUp()
	done := make(chan uint64)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		var most uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-tick.C:
			case <-ctx.Done():
				done <- most
				return
			}
		}
	}()
	l.source(`INSERT INTO t SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 100000) i; UPDATE t SET v = v || '.' WHERE id % 10 = 0`)
	r.catchUp()
	cancel()
	most := <-done
	l.equal()
	t.Logf("at most %d MB", most>>20)
	if most > 48<<20 {
		t.Errorf("a transaction of 100 MB took %d MB with a budget of %d bytes", most>>20, l.cfg.BatchBytes)
	}
}
