package sync_test

import (
	"fmt"
	"testing"

	"pgsyncd/testenv"
)

// As in TestKilledWhileCopying; what was copied at several positions is told apart by the ends of commits alone.
func TestKilledWhileCopyingForTestDecoding(t *testing.T) {
	t.Parallel()
	killedWhileCopying(t, "test_decoding")
}

// A user who owns nothing can have everything but a publication.
func TestDecoderOfAUserWhoOwnsNothing(t *testing.T) {
	t.Parallel()
	l := setup(t, items+`CREATE TABLE keyless (a int); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1), (1)`)
	user := "reader_" + l.srcDB
	l.source(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN REPLICATION PASSWORD 'reader-secret'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO %[1]s;
		GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO %[1]s`, user))
	l.from = fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=reader-secret sslmode=disable", l.src.Host(), l.src.Port(), l.srcDB, user)
	l.start("")
	l.contains(l.sql("SELECT message, detail FROM sync_log WHERE task = '%[1]s' AND event = 'decoder'"), "test_decoding", "may not create", "does not own")
	l.want("publications", l.one(l.s, "SELECT count(*) FROM pg_publication"), "0")
	l.source("CREATE TABLE stranger (id int); INSERT INTO stranger VALUES (1)")
	l.source("UPDATE item SET id = id + 10000; DELETE FROM keyless WHERE ctid = '(0,1)'; INSERT INTO keyless VALUES (2)")
	l.sql("PAUSE SYNC TASK %[1]s")
	l.reach("paused")
	l.source(fmt.Sprintf("GRANT CREATE ON DATABASE %[1]s TO %[2]s; INSERT INTO keyless VALUES (3)", l.srcDB, user)) // no reason to choose anew
	l.sql("RESUME SYNC TASK %[1]s")
	l.reach("incremental synchronization")
	l.caughtUp()
	testenv.MustEqual(t, l.s, l.d, "public.item", "public.keyless")
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.want("slots", l.one(l.s, "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"), "")
	l.source(fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", user))
}

// What test_decoding cannot do is found before the start.
func TestDecoderAndConditions(t *testing.T) {
	t.Parallel()
	l := setup(t, items)
	l.create("FOR (TABLE item WHERE (id > 5)) START NOW CONFIRM ALL WITH (decoder = test_decoding)")
	l.fails("start failed")
	l.contains(l.sql("SELECT found FROM sync_prechecks WHERE task = '%[1]s' AND item = 'filters in the stream'"), "test_decoding cannot select rows")
}

// decoderBetween follows everything but TRUNCATE, through kills of the source.
func decoderBetween(t *testing.T, source, destination string) {
	t.Helper()
	src := testenv.Start(t, testenv.Config{Version: source})
	dst := testenv.Start(t, testenv.Config{Version: destination})
	l := setupBetween(t, src, dst, items+`CREATE TABLE keyless (a int, b text); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless VALUES (1, NULL), (1, NULL)`)
	l.start("WITH (decoder = test_decoding, heartbeat_interval = '1s')")
	for round := range 3 {
		l.source(fmt.Sprintf(`BEGIN; UPDATE item SET id = id + 1000; SAVEPOINT s; DELETE FROM item; ROLLBACK TO s; DELETE FROM item WHERE id %% 7 = 0; COMMIT;
			INSERT INTO keyless SELECT %[1]d, 'x''y' FROM generate_series(1, 1000); DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless WHERE a = %[1]d LIMIT 3)`, round))
		if err := src.Restart(t.Context(), "immediate"); err != nil {
			t.Fatal(err)
		}
		l.s = src.Connect(t, l.srcDB)
		l.source("INSERT INTO keyless VALUES (9, NULL)")
		l.source("VACUUM FULL item")
		l.caughtUp()
		testenv.MustEqual(t, l.s, l.d, "public.item", "public.keyless")
	}
	l.sql("STOP SYNC TASK %[1]s")
	l.reach("completed")
	l.want("slots", l.one(l.s, "SELECT slot_name FROM pg_replication_slots"), "")
}
