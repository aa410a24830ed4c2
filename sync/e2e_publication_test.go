package sync_test

import (
	"fmt"
	"testing"
)

// What was taken from the publication while nobody looked is in it again, but changes are missing.
func TestPublicationIsMadeAnew(t *testing.T) {
	t.Parallel()
	for mode, c := range map[string][2]string{
		"FULL AND INCREMENTAL": {"DROP PUBLICATION %[1]s; CREATE PUBLICATION %[1]s FOR TABLE item", "created anew"},
		"INCREMENTAL":          {"ALTER PUBLICATION %[1]s DROP TABLE item; ALTER PUBLICATION %[1]s ADD TABLE item", "was changed"},
	} {
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
			l.source(fmt.Sprintf(c[0], name))
			l.sql("RESUME SYNC TASK %[1]s")
			l.fails("incremental synchronization failed")
			l.contains(l.status("error"), c[1])
			l.sql("RESET SYNC TASK %[1]s")
			l.reach("incremental synchronization")
			l.source("UPDATE item SET v = 8")
			l.caughtUp()
			l.equal()
		})
	}
}
