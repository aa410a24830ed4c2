package sync_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// failover is a lab whose destination has a standby, and is reached through a proxy that can lead to either.
type failover struct {
	*lab
	standby *testenv.Cluster
	proxy   *testenv.Proxy
}

func setupFailover(t *testing.T) *failover {
	t.Helper()
	src, _ := testenv.SharedPair(t)
	dst := testenv.Start(t, testenv.Config{})
	l := setupBetween(t, src, dst, items+`CREATE TABLE keyless (a int); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1), (1); CREATE SEQUENCE q`)
	f := &failover{lab: l, standby: dst.StartStandby(t, testenv.Config{})}
	f.proxy, l.to = l.through(dst, l.dstDB)
	return f
}

// lsn is one position.
func (l *lab) lsn(conn *pgx.Conn, sql string) pglogrepl.LSN {
	l.Helper()
	lsn, err := pglogrepl.ParseLSN(l.one(conn, sql))
	if err != nil {
		l.Fatal(err)
	}
	return lsn
}

// confirmed is what the source was told to forget.
func (l *lab) confirmed() pglogrepl.LSN {
	l.Helper()
	return l.lsn(l.s, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE database = current_database() AND NOT temporary")
}

// looked waits until the daemon has looked at the standbys for more than a second, or the task has come to its end.
func (f *failover) looked() {
	f.Helper()
	now := f.one(f.d, "SELECT clock_timestamp()")
	f.eventually("the standbys are looked for twice", func() bool {
		return f.one(f.d, "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name LIKE '%standbys' AND query_start > timestamptz '"+now+"' + interval '1 s'") == "t" ||
			f.status("state") == "completed"
	})
}

// abandon kills the primary and promotes the standby, to which the proxy leads from then on.
func (f *failover) abandon() {
	f.Helper()
	if err := f.dst.Kill(); err != nil {
		f.Fatal(err)
	}
	if f.standby.PID() == 0 {
		if err := f.standby.StartAgain(f.Context()); err != nil {
			f.Fatal(err)
		}
	}
	f.want("promoted", f.one(f.standby.Connect(f.T, "postgres"), "SELECT pg_promote()"), "t")
	f.d = f.standby.Connect(f.T, f.dstDB)
	f.proxy.SetTarget(f.standby.Addr())
}

// A standby of the destination takes over that does not have the last commits. They were not confirmed, so they come again.
func TestDestinationFailsOver(t *testing.T) {
	t.Parallel()
	for _, decoder := range []string{"pgoutput", "test_decoding"} {
		t.Run(decoder, func(t *testing.T) {
			t.Parallel()
			f := setupFailover(t)
			f.start("WITH (retry_limit = 0, decoder = " + decoder + ")")
			f.source("UPDATE item SET v = 1; INSERT INTO keyless VALUES (2)")
			f.caughtUp()
			before := f.lsn(f.s, "SELECT pg_current_wal_lsn()")
			f.eventually("what the standby has is confirmed", func() bool { return f.confirmed() >= before })
			if err := f.standby.Stop("fast"); err != nil {
				t.Fatal(err)
			}
			begin := f.lsn(f.s, "SELECT pg_current_wal_insert_lsn()")
			f.source("UPDATE item SET v = 2, id = id + 500 WHERE id < 20; INSERT INTO keyless VALUES (2), (3); DELETE FROM keyless WHERE a = 1")
			f.caughtUp()
			f.equal() // with the old primary
			f.looked()
			if told := f.confirmed(); told > begin {
				t.Fatalf("confirmed is %s, beyond %s, which the standby has not", told, begin)
			}
			f.abandon()
			f.reach("incremental synchronization")
			f.source("INSERT INTO keyless VALUES (4)")
			f.caughtUp()
			f.equal()
			f.want("conflicts", f.status("conflicts"), "0")
			f.contains(f.sql("SELECT level, message, detail FROM sync_log WHERE task = '%[1]s' AND event = 'destination failed over'"),
				"warning|", "timeline 2, and was on 1", "told to forget")
			after := f.lsn(f.s, "SELECT pg_current_wal_lsn()")
			f.eventually("without a standby everything is confirmed", func() bool {
				f.source("INSERT INTO keyless VALUES (5)")
				return f.confirmed() >= after
			})
		})
	}
}

// A task that is stopped ends only when the destination's standbys have all its rows, because its slot ends with it.
func TestStopWaitsForStandbys(t *testing.T) {
	t.Parallel()
	f := setupFailover(t)
	f.start("")
	f.source("UPDATE item SET v = 1")
	f.caughtUp()
	f.standby.Pause()
	t.Cleanup(f.standby.Continue)
	f.source("UPDATE item SET v = 2; DELETE FROM item WHERE id < 10")
	f.sql("STOP SYNC TASK %[1]s")
	f.eventually("the destination has it", func() bool { return f.one(f.d, "SELECT count(*) FROM item WHERE v = 2") == "91" })
	f.looked()
	f.want("state", f.status("state"), "task stopping")
	f.standby.Continue()
	f.reach("completed")
	f.equal()
}

// Nor does it end before they have the values of its sequences, which are set last.
func TestStopWaitsForSequencesOfStandbys(t *testing.T) {
	t.Parallel()
	f := setupFailover(t)
	f.start("")
	f.caughtUp()
	locker := f.dst.Connect(t, f.dstDB)
	f.one(locker, "BEGIN; ALTER SEQUENCE q CACHE 2")
	f.sql("STOP SYNC TASK %[1]s")
	f.eventually("the sequence is to be set", func() bool {
		return f.one(f.d, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%setval%'") == "1"
	})
	f.standby.Pause()
	t.Cleanup(f.standby.Continue)
	f.one(locker, "ROLLBACK")
	f.looked()
	f.want("state", f.status("state"), "completing")
	f.standby.Continue()
	f.reach("completed")
}

// The standby that takes over lacks what was confirmed: the task says what is missing, and begins anew when it is told to.
func TestDestinationLosesChanges(t *testing.T) {
	t.Parallel()
	f := setupFailover(t)
	f.start("")
	f.source("UPDATE item SET v = 1")
	f.caughtUp()
	f.sql("PAUSE SYNC TASK %[1]s")
	f.reach("paused")
	f.eventually("the standby has it all", func() bool {
		return f.one(f.d, "SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication") == "t"
	})
	if err := f.standby.Stop("fast"); err != nil {
		t.Fatal(err)
	}
	f.sql("RESUME SYNC TASK %[1]s") // which knows of no standby
	f.reach("incremental synchronization")
	f.source("UPDATE item SET v = 2; DELETE FROM item WHERE id < 10")
	f.caughtUp()
	end := f.lsn(f.s, "SELECT pg_current_wal_lsn()")
	f.eventually("it is confirmed", func() bool { f.source("UPDATE item SET v = v + 1"); return f.confirmed() >= end })
	f.abandon()
	f.fails("incremental synchronization failed")
	f.contains(f.status("error"), "the replication slot is ahead of the destination")
	f.contains(f.status("error_detail"), "Missing in the destination are the transactions that the source committed from ", "timeline 2, and was on 1")
	f.contains(f.status("error_hint"), "RESET SYNC TASK "+f.task+";")
	f.sql("RESUME SYNC TASK %[1]s") // changes nothing
	f.reach("starting")
	f.fails("incremental synchronization failed")
	f.sql("RESET SYNC TASK %[1]s")
	f.reach("incremental synchronization")
	f.source("UPDATE item SET v = 9 WHERE id > 90")
	f.caughtUp()
	f.equal()
}

// The destination is restored on another cluster. That is another database until somebody says that it is complete.
func TestDestinationOnAnotherCluster(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	other := testenv.Start(t, testenv.Config{})
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	other.Exec(t, "postgres", "CREATE DATABASE "+l.dstDB)
	l.start("")
	l.source("UPDATE item SET v = 1")
	l.caughtUp()
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	dump := exec.CommandContext(t.Context(), filepath.Join(l.dst.BinDir(), "pg_dump"), "-d", l.dst.ConnString(l.dstDB))
	script, err := dump.Output()
	if err != nil {
		t.Fatal(err)
	}
	restore := exec.CommandContext(t.Context(), filepath.Join(l.dst.BinDir(), "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", other.ConnString(l.dstDB))
	restore.Stdin = bytes.NewReader(script)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	l.source("UPDATE item SET v = 2 WHERE id < 50; DELETE FROM item WHERE id = 1")
	proxy.SetTarget(other.Addr())
	proxy.Cut()
	l.d = other.Connect(t, l.dstDB)
	l.sql("RESUME SYNC TASK %[1]s")
	l.fails("incremental synchronization failed")
	l.contains(l.status("error"), "the destination is on another database cluster: its system identifier is ")
	l.contains(l.status("error_hint"), "RESUME SYNC TASK "+l.task+"; goes on", "SET DESTINATION")
	l.want("changes", l.one(l.d, "SELECT count(*) FROM item WHERE v = 2"), "0")
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("incremental synchronization")
	l.caughtUp()
	l.equal()
	l.contains(l.sql("SELECT message FROM sync_log WHERE task = '%[1]s' AND event = 'destination moved'"), "system identifier")
	// From now on that is the destination: no further word is needed after a restart.
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	l.source("UPDATE item SET v = 3")
	l.sql("RESUME SYNC TASK %[1]s")
	l.caughtUp()
	l.equal()
	// The former one is behind, and is not taken for it again.
	proxy.SetTarget(l.dst.Addr())
	proxy.Cut()
	l.fails("incremental synchronization failed")
	l.contains(l.status("error"), "the replication slot is ahead of the destination")
}
