package sync_test

import (
	"fmt"
	"testing"

	"pgsyncd/testenv"
)

// spoiled is a way in which the source changes behind the task's back while it is paused.
type spoiled struct {
	name, says string
	spoil      func(l *lab, proxy *testenv.Proxy)
}

// Traps 5 and 29: whatever happens to the source behind the task's back, the task never goes on from a newer point as if nothing
// were missing.
func TestSourceIsNotWhatItWas(t *testing.T) {
	t.Parallel()
	other := testenv.Start(t, testenv.Config{})
	for _, c := range []spoiled{
		{"slot dropped", "slot is lost", func(l *lab, _ *testenv.Proxy) { l.dropSlot() }},
		{"slot made anew", "slot is ahead", func(l *lab, _ *testenv.Proxy) {
			slot := l.dropSlot()
			l.source("INSERT INTO item VALUES (1000, 'only the old slot has it')")
			l.source(fmt.Sprintf("SELECT pg_create_logical_replication_slot('%s', '%s')", slot, l.decoder()))
		}},
		{"another server", "another database cluster", func(l *lab, proxy *testenv.Proxy) {
			other.Exec(l.T, "postgres", "CREATE DATABASE "+l.srcDB)
			other.Exec(l.T, l.srcDB, items)
			proxy.SetTarget(other.Addr())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := c.failsTask(t)
			l.contains(l.status("error_hint"), "RESET SYNC TASK "+l.task+";")
		})
	}
}

// Likewise a publication, where there is one.
func TestPublicationIsDropped(t *testing.T) {
	t.Parallel()
	spoiled{says: "publication", spoil: func(l *lab, _ *testenv.Proxy) {
		l.source("DROP PUBLICATION " + l.one(l.s, "SELECT quote_ident(pubname) FROM pg_publication"))
	}}.failsTask(t)
}

func (c spoiled) failsTask(t *testing.T) *lab {
	t.Helper()
	l := setup(t, items)
	proxy, from := l.through(l.src, l.srcDB)
	l.from = from
	l.start("")
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	c.spoil(l, proxy)
	l.sql("RESUME SYNC TASK %[1]s")
	l.fails("incremental synchronization failed")
	l.contains(l.status("error"), c.says)
	l.want("rows of the new point", l.one(l.d, "SELECT count(*) FROM item WHERE id >= 1000"), "0")
	return l
}

func (l *lab) dropSlot() string {
	l.Helper()
	slot := l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND NOT temporary")
	l.source(fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", slot))
	return slot
}
