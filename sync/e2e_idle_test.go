package sync_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A database in which nothing happens must not keep the WAL that the rest of the server writes.
func TestIdleSourcePinsNoWAL(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.start("WITH (heartbeat_interval = '1s')")
	l.src.Exec(t, l.src.Database(t), "CREATE TABLE noise AS SELECT generate_series(1, 1000)")
	end := l.one(l.s, "SELECT pg_current_wal_lsn()")
	l.eventually("the slot moves past what others wrote", func() bool {
		return l.one(l.s, "SELECT confirmed_flush_lsn >= '"+end+"' FROM pg_replication_slots WHERE database = current_database() AND NOT temporary") == "t"
	})
	l.want("heartbeats are no changes", l.status("rows_applied"), "0")
}

// event is the payload of a notification.
type event struct {
	Task  string    `json:"task"`
	Old   string    `json:"old"`
	New   *string   `json:"new"`
	Time  time.Time `json:"time"`
	Error *string   `json:"error"`
}

// Everybody who listens learns of every change of state.
func TestEvents(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE "key less" (a int)`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	listener, err := pgx.Connect(ctx, l.daemon.SocketString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close(context.WithoutCancel(ctx)) }()
	if _, err := listener.Exec(ctx, "LISTEN sync_events"); err != nil {
		t.Fatal(err)
	}
	next := func() event {
		t.Helper()
		for {
			n, err := listener.WaitForNotification(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var e event
			if err := json.Unmarshal([]byte(n.Payload), &e); err != nil {
				t.Fatalf("%v: %s", err, n.Payload)
			}
			if e.Task == l.task {
				return e
			}
		}
	}
	l.create("MODE FULL AND INCREMENTAL START NOW")
	expect := func(old, to string, failed bool) {
		t.Helper()
		e := next()
		if e.Old != old || e.New == nil || *e.New != to || time.Since(e.Time).Abs() > time.Hour || (e.Error != nil) != failed {
			t.Errorf("got %+v, want %s → %s", e, old, to)
		}
	}
	expect("configuration", "starting", false)
	expect("starting", "start failed", true)
	l.source(`ALTER TABLE "key less" REPLICA IDENTITY FULL`)
	l.sql("START SYNC TASK %[1]s CONFIRM ALL")
	expect("start failed", "starting", false)
	expect("starting", "full synchronization", false)
	expect("full synchronization", "incremental synchronization", false)
	l.sql("STOP SYNC TASK %[1]s")
	expect("incremental synchronization", "task stopping", false)
	expect("task stopping", "completing", false)
	expect("completing", "completed", false)
	l.sql("DROP SYNC TASK %[1]s")
	if e := next(); e.Old != "completed" || e.New != nil {
		t.Errorf("got %+v for DROP", e)
	}
}
