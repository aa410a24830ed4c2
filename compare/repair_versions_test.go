//go:build versions

package compare_test

import (
	"context"
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
)

// TestVersionsRepair repairs between servers of which one or both are old, after a task and while its stream runs.
func TestVersionsRepair(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source, destination string
		events              []catalog.Event
	}{
		{"10", "9.6", completed}, {"10", "10", incremental}, {"9.6", "9.6", completed}, {"9.6", "18", incremental}, {"9.5", "9.5", incremental}, {"10", "18", completed},
	} {
		state := "completed"
		if len(c.events) == len(incremental) && c.events[len(c.events)-1] == catalog.EventIncrementalBegun {
			state = "incremental"
		}
		t.Run(c.source+" to "+c.destination+" "+state, func(t *testing.T) {
			t.Parallel()
			l := setupOn(t, testenv.Start(t, testenv.Config{Version: c.source}), testenv.Start(t, testenv.Config{Version: c.destination}), c.events...)
			if state == "incremental" {
				if err := ledger.Begin(t.Context(), l.d, ledger.Position{Task: l.task.ID, Fence: 3, Slot: "s", SystemID: "1", Timeline: 1}); err != nil {
					t.Fatal(err)
				}
				l.streams.set(&stream{onHold: func(context.Context, int) (func(context.Context, pglogrepl.LSN) (int64, error), func() error, error) {
					return func(context.Context, pglogrepl.LSN) (int64, error) { return 3, nil }, func() error { return nil }, nil
				}})
			}
			l.both(`CREATE TABLE t(id int PRIMARY KEY, v text, m date, u int UNIQUE); CREATE TABLE num(id int PRIMARY KEY, f float8); CREATE TABLE bag(v text);
				CREATE TABLE apart(id int PRIMARY KEY, r int4range)`)
			l.exec(l.s, `INSERT INTO t VALUES (1, 'a', '2026-01-02', 2), (2, 'b', NULL, 1), (3, 'é', 'infinity', 3); INSERT INTO num VALUES (1, '-0'), (2, 0.1); INSERT INTO bag VALUES ('x'), ('x'), (NULL);
				INSERT INTO apart VALUES (1, '[1,2)')`)
			l.exec(l.d, `INSERT INTO t VALUES (1, 'x', 'infinity', 1), (2, 'b', NULL, 2), (4, 'd', NULL, 4); INSERT INTO num VALUES (1, 0); INSERT INTO bag VALUES ('x'), ('y');
				ALTER TABLE apart ADD EXCLUDE USING gist (r WITH &&) DEFERRABLE`)
			run := l.values(nil)
			for _, dry := range []bool{true, false} {
				r := l.repair(run.ID, dry)
				for _, row := range r.Rows {
					want := map[bool]string{true: "would be repaired", false: catalog.OutcomeRepaired}[dry]
					if row.SourceTable == `"public"."apart"` {
						want = "refused: the destination's table has a deferrable exclusion constraint"
					}
					if !strings.HasPrefix(row.Outcome, want) {
						t.Errorf("%+v, want %s", row, want)
					}
				}
				if len(r.Rows) != 10 || (r.Check != 0) == dry {
					t.Errorf("%d rows, checked by %d", len(r.Rows), r.Check)
				}
			}
			l.equalNow("apart")
			if n := l.marks(); n != 0 {
				t.Errorf("%d marks are left", n)
			}
			if _, err := l.service.Repair(t.Context(), l.queue(catalog.CompareRun{Type: compare.TypeRows}), "somebody", false); err == nil {
				t.Error("a count was repaired")
			}
		})
	}
}
