package sync_test

import (
	"os"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// Each server is stopped the hard way while changes flow. The task says what is wrong and comes back by itself.
func TestServersRestart(t *testing.T) {
	t.Parallel()
	src, dst := testenv.Start(t, testenv.Config{}), testenv.Start(t, testenv.Config{})
	l := setupBetween(t, src, dst, items)
	l.start("WITH (retry_limit = 0)") // an outage is no fault that counts
	for i, server := range []*testenv.Cluster{dst, src} {
		l.source("UPDATE item SET v = v + 1")
		if err := server.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		if server == dst {
			l.source("UPDATE item SET v = v + 1")
		}
		l.reach("fault rectification")
		if l.status("error") == "" {
			t.Error("a fault without an error")
		}
		if err := server.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.s, l.d = src.Connect(t, l.srcDB), dst.Connect(t, l.dstDB)
		l.reach("incremental synchronization")
		l.want("error after the fault", l.status("error, retries"), "|0")
		l.source("INSERT INTO item VALUES (1000 + " + string(rune('0'+i)) + ")")
		l.caughtUp()
		l.equal()
	}
	l.want("log", l.sql("SELECT level, event FROM sync_log WHERE task = '%[1]s' AND event IN ('fault', 'incremental begun') ORDER BY time"),
		"info|incremental begun\nwarning|fault\ninfo|incremental begun\nwarning|fault\ninfo|incremental begun")
}

// A network that is cut is waited for, whatever retry_limit says, in the full phase and after it.
func TestNetworkIsWaitedFor(t *testing.T) {
	t.Parallel()
	l := setup(t, items+"INSERT INTO item VALUES (101, 'the last marker')")
	dst, to := l.through(l.dst, l.dstDB)
	src, from := l.through(l.src, l.srcDB)
	l.from, l.to = from, to
	outage := func(p *testenv.Proxy) {
		t.Helper()
		before := l.logged("retry_in=2s")
		if err := p.Refuse(true); err != nil {
			t.Fatal(err)
		}
		p.Cut()
		l.reach("fault rectification")
		l.eventually("the task tries more than once", func() bool { return l.logged("retry_in=2s") > before })
		l.want("state in the outage", l.status("state"), "fault rectification")
		if err := p.Refuse(false); err != nil {
			t.Fatal(err)
		}
		l.reach("incremental synchronization")
	}
	copied := dst.StallAfter(lastRow)
	l.create("START NOW CONFIRM ALL WITH (retry_limit = 0)")
	l.await("the copy comes to the last row", copied)
	if err := dst.Refuse(true); err != nil {
		t.Fatal(err)
	}
	dst.Resume()
	outage(dst)
	l.equal()
	l.source("UPDATE item SET v = 1")
	outage(src)
	l.source("UPDATE item SET v = 2")
	l.caughtUp()
	l.equal()
}

// logged counts the lines of the daemon's log that are about the task and have a text.
func (l *lab) logged(text string) (n int) {
	l.Helper()
	content, err := os.ReadFile(l.daemon.LogFile())
	if err != nil {
		l.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, "task="+l.task+" ") && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// A password that is not valid any more fails the task at once, with the statement that mends it.
func TestPasswordChanges(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	role := "owner_of_" + l.dstDB
	l.destination("CREATE ROLE " + role + " SUPERUSER LOGIN PASSWORD 'first'")
	l.to = strings.NewReplacer("user="+testenv.Superuser, "user="+role, testenv.Password, "first").Replace(l.to)
	l.start("")
	change := func(password string) {
		l.destination("ALTER ROLE " + role + " PASSWORD " + password)
		l.destination("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role + "'")
	}
	change(`'it''s "the" \second'`)
	l.fails("incremental synchronization failed")
	l.contains(l.status("error"), "password authentication failed for user \""+role+`"`)
	l.contains(l.status("error_hint"), "ALTER SYNC TASK "+l.task+" SET DESTINATION PASSWORD '…';")
	l.source("UPDATE item SET v = 1")
	l.sql(`ALTER SYNC TASK %[1]s SET DESTINATION PASSWORD 'it''s "the" \second'`)
	l.sql("RESUME SYNC TASK %[1]s")
	l.caughtUp()
	l.equal()
	// While the task streams, the new password is in use before the old one stops working.
	l.sql("ALTER SYNC TASK %[1]s SET DESTINATION PASSWORD 'third'")
	l.destination("ALTER ROLE " + role + " PASSWORD 'third'")
	l.eventually("the stream goes on with the new password", func() bool {
		return l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND event = 'settings changed'") == "1"
	})
}

// A stop waits for a network that is down, and goes on when it is back. Who cannot wait stops by force.
func TestStopDuringAnOutage(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		t.Run(map[bool]string{false: "waiting", true: "by force"}[force], func(t *testing.T) {
			t.Parallel()
			l := setup(t, items+"CREATE SEQUENCE q; SELECT nextval('q')")
			proxy, to := l.through(l.dst, l.dstDB)
			l.to = to
			l.start("")
			if err := proxy.Refuse(true); err != nil {
				t.Fatal(err)
			}
			proxy.Cut()
			l.source("UPDATE item SET v = -1")
			l.sql("STOP SYNC TASK %[1]s")
			l.eventually("the stop is delayed", func() bool {
				return l.sql("SELECT count(*) > 0 FROM sync_log WHERE task = '%[1]s' AND event = 'stop delayed'") == "t"
			})
			l.want("state in the outage", l.status("state"), "task stopping")
			if force {
				l.sql("STOP SYNC TASK %[1]s FORCE")
				l.reach("completed")
				l.want("left", l.sql("SELECT side, kind FROM sync_leftovers WHERE task = '%[1]s' ORDER BY 1, 2"), "destination|ledger\ndestination|sequence")
				l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0")
				return
			}
			if err := proxy.Refuse(false); err != nil {
				t.Fatal(err)
			}
			l.reach("completed")
			l.equal()
			l.want("sequence", l.one(l.d, "SELECT last_value FROM q"), "10001")
			l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"), "0")
		})
	}
}

// A pause takes effect although the destination does not answer, and the copy goes on after it.
func TestPauseWhileCopying(t *testing.T) {
	t.Parallel()
	l := setup(t, items+"INSERT INTO item VALUES (101, 'the last marker')")
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	stalled := proxy.StallAfter(lastRow)
	l.create("START NOW CONFIRM ALL")
	l.await("the copy comes to the last row", stalled)
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	proxy.Cut()
	proxy.Resume()
	l.source("DELETE FROM item WHERE id < 10; UPDATE item SET v = 3 WHERE id > 90")
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("incremental synchronization")
	l.caughtUp()
	l.equal()
}

// A fault that is not the network's is tried again retry_limit times, and each fault anew: once the stream has got on, earlier attempts
// do not count.
func TestOtherFaultsAreLimited(t *testing.T) {
	t.Parallel()
	for _, decoder := range []string{"pgoutput", "test_decoding"} {
		t.Run(decoder, func(t *testing.T) {
			t.Parallel()
			l := setup(t, items)
			l.start("WITH (retry_limit = 2, decoder = " + decoder + ")")
			// What the server lacks it may have the next time.
			l.destination(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END $$;
				CREATE TRIGGER refuse BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE item ENABLE ALWAYS TRIGGER refuse`)
			l.source("UPDATE item SET v = 1 WHERE id = 1")
			l.reach("fault rectification")
			l.contains(l.status("error"), "no room")
			l.fails("incremental synchronization failed")
			if n := l.logged("retry_in="); n != 2 {
				t.Errorf("tried again %d times, not twice", n)
			}
			l.contains(l.status("error"), "no room")
			l.destination("ALTER TABLE item DISABLE TRIGGER refuse")
			l.sql("RESUME SYNC TASK %[1]s")
			l.reach("incremental synchronization")
			l.source("UPDATE item SET v = 2")
			l.caughtUp()
			l.equal()
			l.destination("ALTER TABLE item ENABLE ALWAYS TRIGGER refuse")
			l.source("UPDATE item SET v = 3 WHERE id = 1")
			l.reach("fault rectification")
			l.destination("ALTER TABLE item DISABLE TRIGGER refuse")
			l.reach("incremental synchronization") // by itself
			l.caughtUp()
			l.equal()
		})
	}
}
