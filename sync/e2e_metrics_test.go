package sync_test

import (
	"testing"

	"pgsyncd/testenv"
)

// metrics are aggregates of the task's history.
func (l *lab) metrics(columns string) string {
	l.Helper()
	return l.sql("SELECT " + columns + " FROM sync_metrics WHERE task = '%[1]s'")
}

// What a task does shows in its metrics as it does it, and stays as history.
func TestMetrics(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("WITH (copy_workers = 2, apply_workers = 3)")
	l.eventually("the copy is counted", func() bool {
		return l.metrics("sum(extract_bytes_per_s) > 0 AND sum(apply_bytes_per_s) > 0 AND sum(extract_rows_per_s) > 0 AND sum(net_in_bytes_per_s) > 0 AND sum(net_out_bytes_per_s) > 0") == "t"
	})
	l.eventually("an idle stream is there", func() bool {
		return l.metrics("bool_or(apply_state IN ('idle', 'DML') AND workers = 3 AND memory_bytes > 1e6 AND disk_bytes > 1e6 AND slot_wal_bytes > 0 AND lag_bytes >= 0 AND cpu_pct >= 0)") == "t"
	})
	l.source("BEGIN; UPDATE item SET v = 1; COMMIT; BEGIN; UPDATE item SET v = 2 WHERE id < 10; COMMIT")
	l.caughtUp()
	l.eventually("the stream is counted", func() bool {
		return l.metrics("sum(apply_transactions_per_s) > 0 AND sum(extract_latency_ms) > 0 AND sum(apply_execute_ms) > 0 AND sum(apply_commit_ms) > 0 AND bool_or(apply_state = 'DML') AND max(delay_ms) < 60000") == "t"
	})
	l.want("a statement at the latest figures", l.sql(`SELECT count(*) FROM sync_metrics m JOIN sync_status s USING (task)
		WHERE task = '%[1]s' AND m.time = (SELECT max(time) FROM sync_metrics WHERE task = '%[1]s') AND s.delay_ms IS NOT NULL`), "1")
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	l.want("of a paused task", l.status("delay_ms, delay_exceeded, rows_per_s"), "|f|0.0")
	l.source("SELECT pg_logical_emit_message(false, 'pgsyncd test', repeat('x', 1000000))")
	l.eventually("the source is looked at meanwhile", func() bool { return l.status("slot_wal_bytes > 1000000 AND lag_bytes > 1000000") == "t" })
	l.eventually("in the history, too", func() bool { return l.metrics("max(slot_wal_bytes) > 1000000") == "t" })
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.want("of a completed task", l.status("delay_ms, lag_bytes, slot_wal_bytes, slot_wal_limit_bytes, slot_wal_eta_s"), "||||")
	l.want("history", l.metrics("count(*) > 0"), "t")
}

// A destination that does not answer makes the delay grow, which is said once.
func TestDelayExceeded(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	l.start("WITH (delay_threshold = '1s')")
	const told = "SELECT level, event FROM sync_log WHERE task = '%[1]s' AND event LIKE 'delay%' ORDER BY time"
	proxy.Stall(testenv.Both)
	l.source("UPDATE item SET v = 1")
	l.eventually("the delay is excessive", func() bool { return l.status("delay_exceeded AND delay_ms > 1000") == "t" })
	l.eventually("the log says so", func() bool { return l.sql(told) == "warning|delay exceeded" })
	proxy.Resume()
	l.caughtUp()
	l.eventually("the log says that it is over", func() bool { return l.sql(told) == "warning|delay exceeded\ninfo|delay normal" })
	l.eventually("the delay is gone", func() bool { return l.status("delay_ms") == "0" })
	l.equal()
	// The connection is cut: nothing is known of what waits, but that it does.
	if err := proxy.Refuse(true); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	l.reach("fault rectification")
	l.eventually("the delay grows in an outage", func() bool { return l.status("delay_exceeded") == "t" })
	l.eventually("the stream is missing", func() bool { return l.metrics("bool_or(apply_state = 'abnormal')") == "t" })
	if err := proxy.Refuse(false); err != nil {
		t.Fatal(err)
	}
	l.reach("incremental synchronization")
	l.eventually("it is over", func() bool { return l.status("delay_exceeded") == "f" })
}

// writeWAL writes so many megabytes on the source that no task wants.
func (l *lab) writeWAL(megabytes string) {
	l.Helper()
	l.source("SELECT pg_logical_emit_message(false, 'pgsyncd test', repeat('x', 1048576)) FROM generate_series(1, " + megabytes + ")")
}

// A slot that retains more than it may is spoken of once, until it has let go.
func TestMaxSlotWALWarns(t *testing.T) {
	t.Parallel()
	src := testenv.Start(t, testenv.Config{Settings: map[string]string{"max_slot_wal_keep_size": "1GB"}}) // nobody else writes WAL
	l := setupBetween(t, src, testenv.Shared(t), items)
	l.start("WITH (heartbeat_interval = '1s')")
	l.eventually("the server's limit is shown", func() bool { return l.status("slot_wal_limit_bytes = 1073741824") == "t" })
	l.sql("ALTER SYNC TASK %[1]s SET (max_slot_wal = '20 MB')")
	l.eventually("the task's limit is shown", func() bool { return l.status("slot_wal_limit_bytes = 20 * 1048576") == "t" })
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	const told = "SELECT level, event FROM sync_log WHERE task = '%[1]s' AND event LIKE 'slot%' ORDER BY time"
	l.writeWAL("21")
	l.eventually("the log says so", func() bool { return l.sql(told) == "warning|slot WAL exceeded" })
	l.contains(l.sql("SELECT message, detail FROM sync_log WHERE task = '%[1]s' AND event = 'slot WAL exceeded'"),
		"more than max_slot_wal (20 MB)", "ALTER SYNC TASK "+l.task+" SET (on_max_slot_wal = fail);")
	l.want("forecast", l.status("slot_wal_eta_s"), "0")
	l.writeWAL("5")
	l.eventually("more is retained", func() bool { return l.status("slot_wal_bytes > 25 * 1048576") == "t" })
	l.sql("RESUME SYNC TASK %[1]s")
	l.caughtUp()
	l.eventually("the slot lets go", func() bool {
		l.source("CHECKPOINT") // writes what the slot needs to move
		return l.sql(told) == "warning|slot WAL exceeded\ninfo|slot WAL normal"
	})
	l.want("state", l.status("state"), "incremental synchronization")
}

// Whatever keeps the task from its work, its slot goes before the source's disk is full, and the task says so.
func TestMaxSlotWALFails(t *testing.T) {
	t.Parallel()
	const limit = "WITH (max_slot_wal = '20 MB', on_max_slot_wal = fail)"
	for name, c := range map[string]struct {
		before func(*lab, *testenv.Proxy)
		state  string
	}{
		"paused": {func(l *lab, _ *testenv.Proxy) {
			l.sql("PAUSE SYNC TASK %[1]s")
			l.reach("paused")
		}, "incremental synchronization failed"},
		"fault": {func(l *lab, p *testenv.Proxy) {
			if err := p.Refuse(true); err != nil {
				l.Fatal(err)
			}
			p.Cut()
			l.reach("fault rectification")
		}, "incremental synchronization failed"},
		"hanging": {func(l *lab, p *testenv.Proxy) {
			p.Stall(testenv.Both)
			l.source("UPDATE item SET v = 5")
		}, "incremental synchronization failed"},
		"failed before": {func(l *lab, _ *testenv.Proxy) {
			l.destination("ALTER TABLE item DROP COLUMN v")
			l.source("UPDATE item SET v = 6")
			l.fails("incremental synchronization failed")
		}, "incremental synchronization failed"},
		"stopping": {func(l *lab, p *testenv.Proxy) {
			p.Stall(testenv.Both)
			l.source("UPDATE item SET v = 7")
			l.sql("STOP SYNC TASK %[1]s")
		}, "stopping task failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, dst := testenv.Start(t, testenv.Config{}), testenv.Shared(t)
			l := setupBetween(t, src, dst, items)
			proxy, to := l.through(l.dst, l.dstDB)
			l.to = to
			l.start(limit)
			c.before(l, proxy)
			l.writeWAL("21")
			l.eventually("the task fails for it", func() bool {
				return l.status("state = '"+c.state+"' AND error LIKE '%more than max_slot_wal%'") == "t"
			})
			l.eventually("the slot is gone", func() bool { return l.one(l.s, "SELECT count(*) FROM pg_replication_slots") == "0" })
			l.contains(l.status("error"), "slot pgsyncd_", " bytes (", "more than max_slot_wal (20 MB)")
			l.contains(l.status("error_hint"), "SYNC TASK "+l.task)
			l.eventually("the log says so", func() bool {
				return l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND event = 'slot dropped'") == "1"
			})
			if err := proxy.Refuse(false); err != nil {
				t.Fatal(err)
			}
			proxy.Resume()
			l.want("failures", l.sql("SELECT count(*) FROM sync_log WHERE task = '%[1]s' AND message LIKE '%more than max_slot_wal%'"), "1")
			if c.state == "stopping task failed" {
				return
			}
			l.destination("ALTER TABLE item ADD COLUMN IF NOT EXISTS v int")
			l.sql("ALTER SYNC TASK %[1]s SET (max_slot_wal = '1 GB')")
			l.sql("RESET SYNC TASK %[1]s")
			l.caughtUp()
			l.equal()
		})
	}
}

// The limit holds in the full phase too: the slot retains all that is written while rows are copied.
func TestMaxSlotWALFailsWhileCopying(t *testing.T) {
	t.Parallel()
	src := testenv.Start(t, testenv.Config{})
	l := setupBetween(t, src, testenv.Shared(t), items+"INSERT INTO item VALUES (101, 'the last marker')")
	proxy, to := l.through(l.dst, l.dstDB)
	l.to = to
	copied := proxy.StallAfter(lastRow)
	l.create("START NOW CONFIRM ALL WITH (max_slot_wal = '20 MB', on_max_slot_wal = fail)")
	l.await("the copy comes to the last row", copied)
	l.writeWAL("21")
	l.fails("full synchronization failed")
	l.contains(l.status("error"), "more than max_slot_wal (20 MB)")
	l.eventually("the slot is gone", func() bool { return l.one(l.s, "SELECT count(*) FROM pg_replication_slots") == "0" })
	proxy.Resume()
	l.sql("RESET SYNC TASK %[1]s")
	l.reach("incremental synchronization")
	l.caughtUp()
	l.equal()
}
