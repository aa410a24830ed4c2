package incremental_test

import (
	"testing"

	"pgsyncd/testenv"
)

// TestDrainedWhileAStandbyLags: a standby of the destination has not got the position that the stream begins at, let alone what comes then. So
// the source must not be told of any position, whichever way changes are read.
func TestDrainedWhileAStandbyLags(t *testing.T) {
	t.Parallel()
	src, _ := testenv.SharedPair(t)
	dst := testenv.Start(t, testenv.Config{Settings: map[string]string{"wal_sender_timeout": "0"}})
	standby := dst.StartStandby(t, testenv.Config{})
	pgoutput := setupOn(t, src, dst, drainTables)
	standby.Pause()
	t.Cleanup(standby.Continue)
	whileAStandbyLags(t, pgoutput)
	t.Run("TestDecoding", func(t *testing.T) {
		t.Run("copies ahead", func(t *testing.T) { whileAStandbyLags(t, setupOn(t, src, dst, drainTables)) })
	})
}

func whileAStandbyLags(t *testing.T, l *lab) {
	t.Helper()
	const told = `SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE database = current_database() AND NOT temporary`
	before := l.one(l.s, told)
	for round := range 2 {
		l.work(round)
		r := l.start()
		r.catchUp()
		l.equal()
		l.mustDrain()
		_ = r.kill()
		if now := l.one(l.s, told); now != before {
			t.Errorf("round %d: confirmed is %s, and was %s", round, now, before)
		}
		l.source(`SELECT pg_logical_emit_message(true, 'test', '')`)
		l.copied("account", "log", "wide", "part", `Odd " Näme`, "emptied") // so the next stream reads ahead
	}
}
