package incremental_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// streamMessage matches the nth message of the output plugin; of test_decoding, whose heartbeats come as transactions, the nth change.
func streamMessage(n int64) testenv.Match {
	var seen atomic.Int64
	return func(dir testenv.Direction, kind byte, body []byte) bool {
		return dir == testenv.ToClient && kind == 'd' && len(body) > 25 && body[0] == 'w' && !slices.ContainsFunc([]string{"BEGIN ", "COMMIT ", "message: "},
			func(word string) bool { return bytes.HasPrefix(body[25:], []byte(word)) }) && seen.Add(1) == n
	}
}

// cutEverywhere runs work once for every message that the source then sends, lets the stream have the messages up to that one
// and nothing after, cuts the link once what they bring is in the destination, and lets the next stream go on. bring tells
// by a query whether it is.
func (l *lab) cutEverywhere(messages int64, work func(round int64), bring func(message int64) string) {
	l.Helper()
	direct := l.cfg.Source
	for n := int64(1); n <= messages; n++ {
		proxy, through := l.through(l.src, l.srcDB)
		l.cfg.Source = through
		r := l.start()
		l.eventually("the stream runs", func() bool { return r.Applied() > 0 })
		stalled := proxy.StallAfter(streamMessage(n)) // both ways: nothing is confirmed either
		work(n)
		select {
		case <-stalled:
		case <-r.done:
			l.Fatalf("message %d: the stream ended by itself: %v", n, r.err)
		case <-time.After(patience):
			l.Fatalf("message %d does not come", n)
		}
		l.eventually(fmt.Sprintf("message %d is applied", n), func() bool { return l.one(l.d, bring(n)) == "t" })
		// Whoever takes what has come for more than it is gets the time to.
		position := l.one(l.d, `SELECT lsn FROM pgsyncd.progress`)
		looks := 0
		l.eventually("the position has been looked at often enough", func() bool {
			looks++
			if now := l.one(l.d, `SELECT lsn FROM pgsyncd.progress`); now != position {
				l.Fatalf("message %d: the position moves from %s to %s though nothing comes", n, position, now)
			}
			return looks == 30
		})
		proxy.Reset()
		if err := r.wait(); err == nil {
			l.Fatal("ended without error")
		}
		l.cfg.Source = direct
		_ = l.resume().kill()
		l.equal()
	}
}

// Progress is by commit order: when B begins after A and commits before it, A's changes lie before B's commit in the WAL and
// are still to come.
func TestInterleavedTransactionsSurviveCutsAfterEveryMessage(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE log (a text)`)
	a, b := l.src.Connect(t, l.srcDB), l.src.Connect(t, l.srcDB)
	// B's transaction: Begin, Relation, Insert, Relation, Insert, Commit; A's: Begin, two Inserts, Commit. Of test_decoding only
	// changes are counted.
	first, all := int64(6), int64(10)
	if l.cfg.Plugin == incremental.PluginTestDecoding {
		first, all = 3, 4
	}
	l.cutEverywhere(all, func(round int64) {
		l.exec(a, "BEGIN")
		l.exec(a, fmt.Sprintf("INSERT INTO t VALUES (%d, 'a')", 2*round))
		l.exec(b, "BEGIN")
		l.exec(b, fmt.Sprintf("INSERT INTO t VALUES (%d, 'b')", 2*round+1))
		l.exec(b, "INSERT INTO log VALUES ('b')")
		l.exec(b, "COMMIT")
		l.exec(a, "INSERT INTO log VALUES ('a')")
		l.exec(a, "COMMIT")
	}, func(message int64) string {
		return fmt.Sprintf(`SELECT (count(*) FILTER (WHERE a = 'b') >= %d) AND (count(*) FILTER (WHERE a = 'a') >= %d) FROM log`,
			message-1+min(message/first, 1), message-1+message/10)
	})
}

// The rows of one COPY share a WAL record; a position inside it does not exist.
func TestRowsOfOneRecordSurviveCutsBetweenThem(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (a int)`)
	// Begin, Relation, five Inserts, Commit.
	all := int64(8)
	if l.cfg.Plugin == incremental.PluginTestDecoding {
		all = 5
	}
	l.cutEverywhere(all, func(int64) {
		if _, err := l.s.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"a"}, pgx.CopyFromRows([][]any{{1}, {1}, {2}, {2}, {2}})); err != nil {
			t.Fatal(err)
		}
	}, func(message int64) string {
		return fmt.Sprintf(`SELECT count(*) >= %d FROM t`, 5*(message-1+message/8))
	})
}

// ahead reports whether the source may forget what the destination does not have.
func (l *lab) ahead() bool {
	l.Helper()
	confirmed := l.one(l.s, `SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '`+l.cfg.Slot+`'`)
	return l.one(l.d, `SELECT '`+confirmed+`' > lsn FROM pgsyncd.progress`) == "t"
}

// A keepalive that overtakes stalled transactions must not confirm them.
func TestKeepalivesDoNotConfirmWhatIsNotApplied(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	// The source asks for a reply every second that it hears nothing, and ends the link after two.
	l.source(`ALTER DATABASE ` + l.srcDB + ` SET wal_sender_timeout = '2s'`)
	r := l.start()
	l.source(`INSERT INTO t VALUES (0)`)
	r.catchUp()
	l.destination(`BEGIN; LOCK TABLE t`)
	for i := 1; i <= 50; i++ {
		l.source(fmt.Sprintf(`INSERT INTO t VALUES (%d); SELECT pg_logical_emit_message(true, 'x', 'y')`, i))
	}
	end := l.end()
	r.StopAt(end) // has a heartbeat written as well
	l.eventually("the source knows that everything was received", func() bool {
		if l.ahead() {
			t.Fatal("confirmed what is not applied")
		}
		return l.one(l.s, `SELECT count(*) FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid
			WHERE s.slot_name = '`+l.cfg.Slot+`' AND r.write_lsn >= '`+end.String()+`'`) == "1"
	})
	_ = r.kill()
	l.destination(`ROLLBACK`)
	l.resume()
	l.equal()
}

// What was confirmed is still there after the destination crashed.
func TestNothingConfirmedIsLostWithTheDestination(t *testing.T) {
	t.Parallel()
	dst := testenv.Start(t, testenv.Config{Settings: map[string]string{"wal_writer_delay": "10s", "synchronous_commit": "off"}})
	l := setupOn(t, testenv.Shared(t), dst, `CREATE TABLE t (id int PRIMARY KEY)`)
	for round := range 3 {
		r := l.start()
		l.source(fmt.Sprintf(`INSERT INTO t SELECT generate_series(%d, %d)`, 100*round, 100*round+99))
		r.catchUp()
		lsn := l.one(l.d, `SELECT lsn FROM pgsyncd.progress`)
		l.eventually("the source knows", func() bool {
			return l.one(l.s, `SELECT confirmed_flush_lsn >= '`+lsn+`' FROM pg_replication_slots WHERE slot_name = '`+l.cfg.Slot+`'`) == "t"
		})
		if err := dst.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		_ = r.kill()
		if err := dst.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.d = dst.Connect(t, l.dstDB)
		_ = l.resume().kill()
		l.equal()
	}
}

// Whoever finds the position taken over stops without writing.
func TestFormerOwnerIsFenced(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (a int)`)
	r := l.start()
	l.source(`INSERT INTO t VALUES (1)`)
	r.catchUp()
	if _, err := ledger.Raise(t.Context(), l.d, l.cfg.Task); err != nil {
		t.Fatal(err)
	}
	l.source(`INSERT INTO t VALUES (2)`)
	if err := r.wait(); !errors.Is(err, ledger.ErrFenced) {
		t.Fatalf("ended with %v", err)
	}
	if n := l.one(l.d, `SELECT count(*) FROM t`); n != "1" {
		t.Errorf("%s rows", n)
	}
	l.resume()
	l.equal()
}

// The link is cut right after COMMIT was sent, and the server is slow: the next owner must wait for the outcome.
func TestCommitOfUnknownOutcomeIsNotRepeated(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (a int)`)
	l.destination(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_lock(28); RETURN NULL; END$$;
		CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();
		ALTER TABLE t ENABLE ALWAYS TRIGGER hold`)
	l.destination(`SELECT pg_advisory_lock(28)`)
	direct := l.cfg.Destination
	proxy, through := l.through(l.dst, l.dstDB)
	l.cfg.Destination = through
	first := l.start()
	l.source(`INSERT INTO t VALUES (1), (1), (2)`)
	look := l.dst.Connect(t, l.dstDB)
	waiting := func(kind string, n string) func() bool {
		return func() bool {
			return l.one(look, `SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
				WHERE a.datname = current_database() AND NOT granted AND locktype = '`+kind+`'`) == n
		}
	}
	l.eventually("COMMIT hangs in the server", waiting("advisory", "1"))
	if err := proxy.Refuse(true); err != nil { // a request to cancel does not get through either
		t.Fatal(err)
	}
	proxy.Cut()
	if err := first.wait(); err == nil {
		t.Fatal("ended without error")
	}
	l.cfg.Destination = direct
	second := l.start()
	l.eventually("the next owner waits for the former", waiting("transactionid", "1"))
	l.destination(`SELECT pg_advisory_unlock_all()`)
	second.catchUp()
	l.equal()
}

func TestLostSlotIsNoticed(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		harm func(l *lab)
		want error
	}{
		{"dropped", func(l *lab) { l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `')`) }, incremental.ErrSlotLost},
		{"recreated", func(l *lab) {
			l.source(`INSERT INTO t VALUES (2)`)
			l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `')`)
			l.source(`SELECT pg_create_logical_replication_slot('` + l.cfg.Slot + `', '` + l.cfg.Plugin + `')`)
			l.source(`INSERT INTO t VALUES (3)`)
		}, incremental.ErrAhead},
		{"advanced", func(l *lab) {
			l.source(`INSERT INTO t VALUES (2)`)
			l.source(`SELECT pg_replication_slot_advance('` + l.cfg.Slot + `', pg_current_wal_lsn())`)
		}, incremental.ErrAhead},
		{"of another plugin", func(l *lab) {
			l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `')`)
			other := map[string]string{"pgoutput": "test_decoding", "test_decoding": "pgoutput"}[l.cfg.Plugin]
			l.source(`SELECT pg_create_logical_replication_slot('` + l.cfg.Slot + `', '` + other + `')`)
		}, incremental.ErrSlotLost},
		{"physical", func(l *lab) {
			l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `')`)
			l.source(`SELECT pg_create_physical_replication_slot('` + l.cfg.Slot + `')`)
		}, incremental.ErrSlotLost},
		{"of another database", func(l *lab) {
			l.source(`SELECT pg_drop_replication_slot('` + l.cfg.Slot + `')`)
			other := l.src.Database(l.T)
			l.src.Exec(l.T, other, `SELECT pg_create_logical_replication_slot('`+l.cfg.Slot+`', '`+l.cfg.Plugin+`')`)
		}, incremental.ErrSlotLost},
		{"timeline", func(l *lab) { l.destination(`UPDATE pgsyncd.progress SET timeline = timeline + 1`) }, incremental.ErrTimeline},
		{"other cluster", func(l *lab) {
			l.dst.Exec(l.T, l.dstDB, `CREATE PUBLICATION pub FOR ALL TABLES`)
			l.dst.Exec(l.T, l.dstDB, `SELECT pg_create_logical_replication_slot('`+l.cfg.Slot+`', '`+l.cfg.Plugin+`')`)
			l.cfg.Source = l.cfg.Destination
		}, incremental.ErrOtherSystem},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := setup(t, `CREATE TABLE t (id int PRIMARY KEY)`)
			r := l.start()
			l.source(`INSERT INTO t VALUES (1)`)
			r.catchUp()
			_ = r.kill()
			l.eventually("the slot is free", func() bool {
				return l.one(l.s, `SELECT active FROM pg_replication_slots WHERE slot_name = '`+l.cfg.Slot+`'`) == "f"
			})
			c.harm(l)
			err := l.start().wait()
			if !errors.Is(err, c.want) {
				t.Fatalf("ended with %v", err)
			}
			if p, ok := errors.AsType[interface {
				error
				Permanent() bool
			}](err); !ok || !p.Permanent() {
				t.Errorf("not permanent: %v", err)
			}
			if n := l.one(l.d, `SELECT count(*) FROM t`); n != "1" {
				t.Errorf("%s rows", n)
			}
			l.source(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
				WHERE slot_name = '` + l.cfg.Slot + `' AND slot_type = 'physical'`)
		})
	}
}

func TestInvalidatedSlotIsNoticed(t *testing.T) {
	t.Parallel()
	src := testenv.Start(t, testenv.Config{Settings: map[string]string{"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}})
	_, dst := testenv.SharedPair(t)
	l := setupOn(t, src, dst, `CREATE TABLE t (id int PRIMARY KEY)`)
	l.eventually("the slot is lost", func() bool {
		l.source(`CREATE TABLE filler AS SELECT 1; DROP TABLE filler`)
		l.source(`SELECT pg_switch_wal()`)
		l.source(`CHECKPOINT`)
		return l.one(l.s, `SELECT wal_status FROM pg_replication_slots`) == "lost"
	})
	if err := l.start().wait(); !errors.Is(err, incremental.ErrSlotLost) {
		t.Fatalf("ended with %v", err)
	}
}
