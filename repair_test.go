package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// TestRepairUnderLoad corrupts the destination and repairs it while the source is written to. A row that was repaired must be equal
// once the writers rest, whatever they did to it meanwhile, and the stream, which stops at the first conflict, must not have met one: rows that
// writers touch are only overwritten, and those that are deleted or added are not touched. So it proves of the whole program, with its own stream,
// that a repair and the stream do not get into each other's way: without the second look at what was noted the stream stops here. The hold, the
// lock in the ledger and the wait for unseen commits matter in moments that this load does not hit; tests of package compare make them.
func TestRepairUnderLoad(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	source, destination := src.Database(t), dst.Database(t)
	src.Exec(t, source, `CREATE TABLE hot(id int PRIMARY KEY, u int UNIQUE, v int, big text); INSERT INTO hot SELECT n, n, 0, repeat(md5(n::text), 100) FROM generate_series(1, 400) n;
		CREATE TABLE bag(who int, n int); ALTER TABLE bag REPLICA IDENTITY FULL; INSERT INTO bag SELECT n % 20, n % 3 FROM generate_series(1, 200) n;
		CREATE TABLE parts(id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (150);
		CREATE TABLE parts_high PARTITION OF parts DEFAULT; INSERT INTO parts SELECT n, 0 FROM generate_series(1, 400) n`)
	d := shared(t)
	d.PSQL(t, fmt.Sprintf(`CREATE SYNC TASK repaired FROM '%s' TO '%s'; START SYNC TASK repaired CONFIRM ALL`,
		src.ConnString(source), dst.ConnString(destination)))
	t.Cleanup(func() { afterwards(t, d, "DROP SYNC TASK repaired FORCE") })
	d.PSQL(t, "WAIT FOR SYNC TASK repaired TO REACH 'incremental synchronization' TIMEOUT '2 min'")

	ctx, stop := context.WithCancel(t.Context())
	var rest sync.RWMutex // held by writers while they write
	var writers errgroup.Group
	for n := range 2 {
		writers.Go(func() error { return disturb(ctx, src.ConnString(source), uint64(n), &rest) })
	}
	last := map[string]string{} // outcome of every row that was dealt with, by table and key
	counts := map[string]int{}
	for round := range 3 {
		rest.Lock() // what differs is found at rest, and repaired under load
		d.PSQL(t, "WAIT FOR SYNC TASK repaired CAUGHT UP TIMEOUT '2 min'")
		dst.Exec(t, destination, fmt.Sprintf(`SET session_replication_role = replica; UPDATE hot SET v = -1 WHERE id %% 8 = %[1]d AND id %% 3 = 0;
			DELETE FROM hot WHERE id %% 8 = %[1]d AND id > 300; UPDATE parts SET v = -1 WHERE id %% 4 = %[1]d; DELETE FROM parts WHERE id %% 16 = %[1]d AND id > 300;
			INSERT INTO parts SELECT n + 10000 * (%[1]d + 1), 7 FROM generate_series(1, 10) n; INSERT INTO bag SELECT 100 + %[1]d, n FROM generate_series(1, 2) n, generate_series(1, 2);
			DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE who < 20 LIMIT 3)`, round))
		id := d.PSQL(t, "COMPARE SYNC TASK repaired VALUES")
		testenv.Eventually(t, "the comparison ends", func() bool { return d.PSQL(t, "SELECT state FROM sync_compares WHERE run_id = "+id) == "finished" })
		rest.Unlock()
		for line := range strings.Lines(d.PSQL(t, "REPAIR COMPARE "+id)) {
			fields := strings.Split(strings.TrimSpace(line), "|") // table, kind, key, statement, outcome
			outcome := fields[len(fields)-1]
			if fields[2] != "" {
				last[fields[0]+fields[2]] = outcome
			}
			counts[outcome]++
			if strings.HasPrefix(outcome, "refused") || strings.HasPrefix(outcome, "failed") {
				t.Errorf("%s", line)
			}
		}
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	if counts["repaired"] < 30 { // what the writers do not touch
		t.Errorf("hardly anything was repaired: %v", counts)
	}
	d.PSQL(t, "WAIT FOR SYNC TASK repaired CAUGHT UP TIMEOUT '2 min'")
	id := d.PSQL(t, "COMPARE SYNC TASK repaired VALUES")
	testenv.Eventually(t, "the comparison ends", func() bool { return d.PSQL(t, "SELECT state FROM sync_compares WHERE run_id = "+id) == "finished" })
	for line := range strings.Lines(d.PSQL(t, `SELECT "table" || key, kind, source_row, destination_row FROM sync_compare_rows WHERE key IS NOT NULL AND run_id = `+id)) {
		if key, _, _ := strings.Cut(line, "|"); last[key] == "repaired" {
			t.Errorf("repaired, and differs: %s", line)
		}
	}
	dryAndReal(t, d, id)
	a, b := src.Connect(t, source), dst.Connect(t, destination)
	testenv.MustEqual(t, a, b, "public.hot", "public.bag", "public.parts")
	if n := d.PSQL(t, "SELECT count(*) FROM sync_repairs WHERE task = 'repaired' AND outcome = 'repaired'"); n == "0" {
		t.Error("nothing is recorded")
	}
	if page := d.PSQL(t, "SHOW COMPARE REPORT "+id); !strings.Contains(page, "</html>") {
		t.Errorf("report: %.200s", page)
	}
}

// dryAndReal repairs a run by the extended protocol, as a driver does: at first dry, where the statements are described before they run.
func dryAndReal(t *testing.T, d *testenv.Daemon, id string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.SocketString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, statement := range []string{"REPAIR COMPARE " + id + " DRY RUN", "REPAIR COMPARE " + id} {
		rows, err := conn.Query(t.Context(), statement)
		if err != nil {
			t.Fatal(err)
		}
		var table, kind, outcome string
		var key map[string]any
		var sql *string
		n := 0
		if _, err := pgx.ForEachRow(rows, []any{&table, &kind, &key, &sql, &outcome}, func() error {
			n++
			want := map[bool]string{true: "would be repaired", false: "repaired"}[strings.HasSuffix(statement, "DRY RUN")]
			if outcome != want || sql == nil || *sql == "" {
				t.Errorf("%s: %s %s %v: %s", statement, table, kind, key, outcome)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if tag := rows.CommandTag().String(); tag != fmt.Sprintf("SELECT %d", n) {
			t.Errorf("%s: %s", statement, tag)
		}
	}
}

// disturb writes to the tables until ctx ends, and never while somebody wants them to rest.
func disturb(ctx context.Context, conninfo string, seed uint64, rest *sync.RWMutex) error {
	conn, err := pgx.Connect(context.WithoutCancel(ctx), conninfo)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	r := rand.New(rand.NewPCG(2, seed)) //nolint:gosec // reproducible, not secret
	statements := []string{
		"UPDATE hot SET v = v + 1 WHERE id = $1", "DELETE FROM hot WHERE id = $1", "INSERT INTO hot VALUES ($1, $1, 1, 'new') ON CONFLICT DO NOTHING",
		"UPDATE parts SET v = v + 1 WHERE id = $1", "DELETE FROM parts WHERE id = $1", "INSERT INTO parts VALUES ($1, 2) ON CONFLICT DO NOTHING",
		"INSERT INTO bag VALUES ($1 + 1000, 1)",
	}
	for ctx.Err() == nil {
		rest.RLock()
		_, err := conn.Exec(context.WithoutCancel(ctx), statements[r.IntN(len(statements))], 1+r.IntN(300))
		rest.RUnlock()
		if err == nil { // the stream can follow, so that there is a moment between two changes
			_, err = conn.Exec(context.WithoutCancel(ctx), "SELECT pg_sleep(0.002)")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
