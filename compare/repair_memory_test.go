package compare_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/endpoint"
)

// TestRepairOfTooMuch: what a repair holds in memory is bounded, whether it is many rows, or few large ones, or copies of one that was reported.
// It is refused before anything is changed, and repaired in turns.
func TestRepairOfTooMuch(t *testing.T) {
	t.Parallel()
	l := setup(t)
	l.both("CREATE TABLE many(id int PRIMARY KEY, v int); CREATE TABLE large(id int PRIMARY KEY, v text); CREATE TABLE copies(v text)")
	l.serve()()
	bounded, err := compare.New(compare.Config{
		Catalog: l.catalog, Streams: l.streams, WorkDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Repair: 1 << 20,
		Endpoints: func(catalog.Task) (*endpoint.Endpoint, *endpoint.Endpoint, error) { return l.source, l.target, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ source, destination, options string }{
		{"INSERT INTO many SELECT n, n FROM generate_series(1, 2000) n", "TRUNCATE many", "10000"},
		{"INSERT INTO large SELECT n, repeat('x', 60000) FROM generate_series(1, 20) n", "INSERT INTO large SELECT n, 'y' FROM generate_series(1, 20) n", "1000"},
		{"INSERT INTO copies SELECT 'x' FROM generate_series(1, 3001) n", "INSERT INTO copies SELECT 'x' FROM generate_series(1, 3000) n", "1000"},
	} {
		l.exec(l.s, "TRUNCATE many, large, copies; "+c.source)
		l.exec(l.d, "TRUNCATE many, large, copies; "+c.destination)
		run := l.values(map[string]string{"max_reported_rows": c.options})
		for _, dry := range []bool{true, false} {
			_, err := bounded.Repair(t.Context(), run.ID, "somebody", dry)
			r, ok := errors.AsType[*compare.RefusedError](err)
			if !ok || !strings.Contains(r.Detail, "more than 1 MB of memory. Nothing was changed.") || !strings.Contains(r.Hint, "max_reported_rows") {
				t.Errorf("%s: %v", c.source, err)
			}
		}
		if again := l.values(nil); again.RowsDifferent != run.RowsDifferent {
			t.Errorf("%s: %d rows differ, not %d", c.source, again.RowsDifferent, run.RowsDifferent)
		}
		l.repair(run.ID, false) // with the usual bound
		l.equalNow()
	}
	// In turns.
	l.exec(l.s, "TRUNCATE many, large, copies; INSERT INTO many SELECT n, n FROM generate_series(1, 600) n")
	l.exec(l.d, "TRUNCATE many, large, copies")
	for range 3 {
		run := l.values(map[string]string{"max_reported_rows": "200"})
		r, err := bounded.Repair(t.Context(), run.ID, "somebody", false)
		if err != nil || len(r.Rows) != 200 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	l.equalNow()
}
