package incremental_test

import (
	"testing"

	"pgsyncd/testenv"

	"golang.org/x/sync/errgroup"
)

// A commit is sent before it can be seen: a partition that it made is waited for.
func TestPartitionThatCannotBeSeenYet(t *testing.T) {
	t.Parallel()
	// Whether commits wait is for the checkpointer to say, some time after it has read the setting: so it has it from the start.
	src := testenv.Start(t, testenv.Config{Settings: map[string]string{"synchronous_standby_names": "nobody", "synchronous_commit": "local"}})
	l := setupOn(t, src, testenv.Shared(t), `CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)`)
	l.destination(`CREATE TABLE rest PARTITION OF p DEFAULT`)
	r := l.start()
	r.catchUp()
	admin := src.Connect(t, l.srcDB)
	l.exec(l.s, `SET synchronous_commit = on`)
	var g errgroup.Group
	g.Go(func() error {
		return l.s.PgConn().Exec(t.Context(), `BEGIN; CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); INSERT INTO p VALUES (1); COMMIT`).Close()
	})
	l.eventually("the commit waits", func() bool {
		return l.one(admin, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%p1%' AND pid <> pg_backend_pid()`) == "1"
	})
	l.eventually("the stream looks for the partition", func() bool {
		select {
		case <-r.done:
			return true
		default:
			return l.one(admin, `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%transactionid%' AND pid <> pg_backend_pid()`) != "0"
		}
	})
	l.exec(admin, `ALTER SYSTEM SET synchronous_standby_names = ''`)
	l.exec(admin, `SELECT pg_reload_conf()`)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	r.catchUp()
	l.equal("public.p")
}
