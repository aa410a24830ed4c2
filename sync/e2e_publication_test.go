package sync_test

import "testing"

// A publication that was dropped and made anew while nobody looked has the same name and the same tables, but changes are missing.
func TestPublicationIsMadeAnew(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"FULL AND INCREMENTAL", "INCREMENTAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := setup(t, items)
			if mode == "INCREMENTAL" {
				l.destination(items)
			}
			l.create("MODE " + mode + " WITH (decoder = pgoutput)")
			l.sql("START SYNC TASK %[1]s CONFIRM ALL")
			l.reach("incremental synchronization")
			l.sql("PAUSE SYNC TASK %[1]s")
			l.reach("paused")
			name := l.one(l.s, "SELECT quote_ident(pubname) FROM pg_publication")
			l.source("DROP PUBLICATION " + name + "; CREATE PUBLICATION " + name + " FOR TABLE item")
			l.sql("RESUME SYNC TASK %[1]s")
			l.fails("incremental synchronization failed")
			l.contains(l.status("error"), "created anew")
			l.sql("RESET SYNC TASK %[1]s")
			l.reach("incremental synchronization")
			l.source("UPDATE item SET v = 8")
			l.caughtUp()
			l.equal()
		})
	}
}
