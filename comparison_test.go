package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// TestComparisonUnderLoad compares while a real stream runs: a table that changes is never called different, and a difference
// that is planted is found all the same.
func TestComparisonUnderLoad(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	source, destination := src.Database(t), dst.Database(t)
	src.Exec(t, source, `CREATE TABLE orders(id int PRIMARY KEY, v text, n numeric);
		INSERT INTO orders SELECT n, repeat('x', n % 50), n FROM generate_series(1, 5000) n;
		CREATE TABLE visits(who int, at timestamptz); ALTER TABLE visits REPLICA IDENTITY FULL;
		CREATE TABLE parts(id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (500);
		CREATE TABLE parts_high PARTITION OF parts DEFAULT; INSERT INTO parts SELECT n, n FROM generate_series(1, 1000) n;
		CREATE TABLE quiet(id int PRIMARY KEY, v text); INSERT INTO quiet SELECT n, 'q' FROM generate_series(1, 100) n`)
	d := shared(t)
	d.PSQL(t, fmt.Sprintf(`CREATE SYNC TASK compared FROM '%s' TO '%s'; START SYNC TASK compared CONFIRM ALL`, src.ConnString(source), dst.ConnString(destination)))
	t.Cleanup(func() { afterwards(t, d, "DROP SYNC TASK compared FORCE") })
	d.PSQL(t, "WAIT FOR SYNC TASK compared TO REACH 'incremental synchronization' TIMEOUT '2 min'")

	ctx, stop := context.WithCancel(t.Context())
	var writers errgroup.Group
	for n := range 2 {
		writers.Go(func() error { return write(ctx, src.ConnString(source), uint64(n)) })
	}
	equal := 0
	for round := range 6 {
		kind := []string{"VALUES", "ROWS", "VALUES WITH (max_rows_per_second = 100000, max_mb_per_second = 100)"}[round%3]
		for table, result := range compareNow(t, d, kind) {
			switch {
			case strings.HasPrefix(result, "equal"):
				equal++
			case !strings.Contains(result, "transactions are in progress for long"), table == "quiet": // of other tests
				t.Errorf("%s of %s while it is written to: %s", kind, table, result)
			}
		}
	}
	if equal < 6 { // quiet at least
		t.Errorf("only %d tables were equal", equal)
	}
	dst.Exec(t, destination, "UPDATE quiet SET v = 'Q' WHERE id = 7")
	if got := compareNow(t, d, "VALUES")["quiet"]; !strings.HasPrefix(got, "different|100|100") {
		t.Errorf("the planted difference: %s", got)
	}
	if got, want := d.PSQL(t, `SELECT key, kind, columns, source_row, destination_row FROM sync_compare_rows
		WHERE task = 'compared' AND "table" = '"public"."quiet"'`), `{"id": "7"}|different|{v}|{"v": "q", "id": "7"}|{"v": "Q", "id": "7"}`; got != want {
		t.Errorf("its row: %s, want %s", got, want)
	}
	stop()
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	d.PSQL(t, "WAIT FOR SYNC TASK compared CAUGHT UP TIMEOUT '2 min'")
	dst.Exec(t, destination, "DELETE FROM parts WHERE id = (SELECT max(id) FROM parts)")
	for table, result := range compareNow(t, d, "VALUES") {
		want := map[bool]string{true: "different", false: "equal"}[table == "quiet" || table == "parts"]
		if !strings.HasPrefix(result, want) {
			t.Errorf("at rest, %s: %s, want %s", table, result, want)
		}
	}
	d.PSQL(t, "PAUSE SYNC TASK compared; WAIT FOR SYNC TASK compared TO REACH 'paused' TIMEOUT '1 min'")
	for table, result := range compareNow(t, d, "ROWS") {
		want := map[bool]string{true: "undecided", false: "equal"}[table == "parts"]
		if !strings.HasPrefix(result, want) {
			t.Errorf("paused, %s: %s, want %s", table, result, want)
		}
	}
}

// compareNow runs a comparison and returns result|source rows|destination rows|remarks of each table.
func compareNow(t *testing.T, d *testenv.Daemon, kind string) map[string]string {
	t.Helper()
	id := d.PSQL(t, fmt.Sprintf("COMPARE SYNC TASK compared %s", kind))
	testenv.Eventually(t, "the comparison ends", func() bool {
		state := d.PSQL(t, "SELECT state || coalesce(': ' || error, '') FROM sync_compares WHERE run_id = "+id)
		if strings.HasPrefix(state, "failed") {
			t.Fatal(state)
		}
		return state == "finished"
	})
	results := map[string]string{}
	for line := range strings.Lines(d.PSQL(t, "SELECT source_table, result, source_rows, destination_rows, remarks FROM sync_compare_tables WHERE run_id = "+id)) {
		table, result, _ := strings.Cut(strings.TrimSpace(line), "|")
		results[strings.Trim(strings.TrimPrefix(table, `"public".`), `"`)] = result
	}
	if len(results) != 4 {
		t.Fatalf("%d tables were compared: %v", len(results), results)
	}
	return results
}

// write changes every table but quiet until ctx ends.
func write(ctx context.Context, conninfo string, seed uint64) error {
	conn, err := pgx.Connect(ctx, conninfo)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	r := rand.New(rand.NewPCG(1, seed)) //nolint:gosec // reproducible, not secret
	statements := []string{
		"UPDATE orders SET n = n + 1 WHERE id = $1", "INSERT INTO orders VALUES ($1 + 10000, 'new', 0) ON CONFLICT DO NOTHING",
		"DELETE FROM orders WHERE id = $1 + 10000", "INSERT INTO visits VALUES ($1, now())", "DELETE FROM visits WHERE who = $1",
		"UPDATE parts SET id = id + 100000 WHERE id = $1", "UPDATE parts SET v = v + 1 WHERE id % 100 = $1 % 100",
	}
	for ctx.Err() == nil {
		if _, err := conn.Exec(ctx, statements[r.IntN(len(statements))], r.IntN(1000)); err != nil && ctx.Err() == nil {
			if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "40001" { // the row moved to another partition
				continue
			}
			return err
		}
	}
	return nil
}
