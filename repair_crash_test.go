package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// TestRepairSurvivesKill kills the daemon with -9 in the midst of a repair, before and after the COMMIT: the next one finds out whether it took
// effect, shows that, and has the tables compared again if it did.
func TestRepairSurvivesKill(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	d := testenv.StartDaemon(t, testenv.DaemonConfig{})
	for n, c := range []struct {
		name  string
		match testenv.Match // of what is sent last
		want  string
	}{
		{"before", func(dir testenv.Direction, kind byte, body []byte) bool {
			return dir == testenv.ToTarget && kind == 'P' && bytes.Contains(body, []byte("INSERT INTO pgsyncd.objects"))
		}, "not repaired: the transaction was rolled back"},
		{"after", func(dir testenv.Direction, kind byte, body []byte) bool {
			return dir == testenv.ToTarget && kind == 'Q' && bytes.EqualFold(bytes.Trim(body, "; \x00"), []byte("commit"))
		}, "repaired"},
	} {
		source, destination, task := src.Database(t), dst.Database(t), fmt.Sprintf("killed%d", n)
		src.Exec(t, source, "CREATE TABLE t(id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'v' FROM generate_series(1, 5) n; CREATE TABLE other(id int PRIMARY KEY)")
		proxy := testenv.StartProxy(t, dst.Addr())
		host, port := proxy.Addr()
		d.PSQL(t, fmt.Sprintf(`CREATE SYNC TASK %s FROM '%s' TO 'host=%s port=%d dbname=%s user=%s password=%s sslmode=disable' MODE FULL; START SYNC TASK %[1]s CONFIRM ALL`,
			task, src.ConnString(source), host, port, destination, testenv.Superuser, testenv.Password))
		ended := func(id string) func() bool {
			return func() bool { return d.PSQL(t, "SELECT state FROM sync_compares WHERE run_id = "+id) == "finished" }
		}
		testenv.Eventually(t, "the copy and its comparisons end", func() bool {
			return d.PSQL(t, fmt.Sprintf("SELECT count(*) FROM sync_compares WHERE task = '%s' AND state = 'finished'", task)) == "2"
		})
		dst.Exec(t, destination, "DELETE FROM t WHERE id = 1; UPDATE t SET v = 'x' WHERE id = 2; INSERT INTO t VALUES (6, 'x')")
		run := d.PSQL(t, fmt.Sprintf("COMPARE SYNC TASK %s VALUES", task))
		testenv.Eventually(t, "the comparison ends", ended(run))

		stalled := proxy.StallAfter(c.match)
		gone := make(chan error, 1)
		go func() {
			_, _, err := d.RunPSQL(t.Context(), d.SocketString(), "REPAIR COMPARE "+run)
			gone <- err
		}()
		<-stalled
		if err := d.Kill9(); err != nil {
			t.Fatal(err)
		}
		if err := <-gone; err == nil {
			t.Error("a killed daemon has answered")
		}
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		query := "SELECT DISTINCT outcome, check_run_id FROM sync_repairs WHERE run_id = " + run
		if got := d.PSQL(t, query); !strings.HasPrefix(got, "not known yet") { // the destination does not answer
			t.Errorf("%s: %s", c.name, got)
		}
		proxy.Cut()
		proxy.Resume()
		testenv.Eventually(t, "the outcome is known", func() bool { return !strings.HasPrefix(d.PSQL(t, query), "not known") })
		outcome, check, _ := strings.Cut(d.PSQL(t, query), "|")
		if outcome != c.want {
			t.Errorf("%s: %s", c.name, outcome)
		}
		if outcome != "repaired" { // it can be repaired now
			d.PSQL(t, "REPAIR COMPARE "+run)
			check = d.PSQL(t, "SELECT DISTINCT check_run_id FROM sync_repairs WHERE check_run_id IS NOT NULL AND run_id = "+run)
		}
		testenv.Eventually(t, "the repaired tables are compared again", ended(check))
		if got := d.PSQL(t, "SELECT tables_total, tables_different FROM sync_compares WHERE run_id = "+check); got != "1|0" {
			t.Errorf("%s: the comparison after the repair: %s", c.name, got)
		}
		testenv.MustEqual(t, src.Connect(t, source), dst.Connect(t, destination), "public.t")
	}
}
