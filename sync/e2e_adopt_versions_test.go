//go:build versions

package sync_test

import (
	"testing"

	"pgsyncd/testenv"
)

// Between the oldest and the newest servers, nothing is copied and nothing is missed.
func TestModeIncrementalBetweenVersions(t *testing.T) {
	t.Parallel()
	for source, destination := range map[string]string{"9.5": "9.6", "9.6": "18", "10": "12", "18": "18"} {
		t.Run(source+" to "+destination, func(t *testing.T) {
			t.Parallel()
			src, dst := testenv.Start(t, testenv.Config{Version: source}), testenv.Start(t, testenv.Config{Version: destination})
			l := setupBetween(t, src, dst, items+`CREATE TABLE keyless (a int); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1), (1)`)
			l.destination(items + "CREATE TABLE keyless (a int); INSERT INTO keyless VALUES (1), (1)")
			l.start("MODE INCREMENTAL")
			l.source("UPDATE item SET id = id + 1000 WHERE id < 20; DELETE FROM keyless WHERE ctid = '(0,1)'; INSERT INTO keyless VALUES (2)")
			l.caughtUp()
			l.equal()
			l.sql("PAUSE SYNC TASK %[1]s")
			l.reach("paused")
			l.source("INSERT INTO keyless VALUES (3), (3)")
			l.sql("RESET SYNC TASK %[1]s") // from the present, so what came meanwhile is brought over by hand
			l.destination("INSERT INTO keyless VALUES (3), (3)")
			l.reach("incremental synchronization")
			l.source("INSERT INTO keyless VALUES (4); UPDATE item SET v = 0")
			l.caughtUp()
			l.equal()
			l.sql("STOP SYNC TASK %[1]s")
			l.reach("completed")
			l.want("slots", l.one(l.s, "SELECT count(*) FROM pg_replication_slots"), "0")
		})
	}
}
