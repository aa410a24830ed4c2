package fullcopy_test

import (
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// Tables that take each other's names, cut off and resumed: what is recorded of the one is not taken for the other.
func TestNamesInACircle(t *testing.T) {
	t.Parallel()
	for _, existing := range []fullcopy.Existing{fullcopy.ExistingFail, fullcopy.ExistingReplace, fullcopy.ExistingAppend} {
		t.Run(string(existing), func(t *testing.T) {
			t.Parallel()
			w := setup(t, `CREATE TABLE a (id serial PRIMARY KEY, t text DEFAULT 'a' CHECK (t = 'a'), u int UNIQUE);
				CREATE TABLE b (id serial PRIMARY KEY, t text DEFAULT 'b' CHECK (t = 'b'), u int UNIQUE REFERENCES a);
				CREATE TABLE c (id serial PRIMARY KEY, t text DEFAULT 'c' CHECK (t = 'c'), u int UNIQUE REFERENCES b);
				INSERT INTO a (u) SELECT generate_series(1, 20000); INSERT INTO b (u) SELECT generate_series(1, 15000);
				INSERT INTO c (u) SELECT generate_series(1, 10000); CREATE INDEX ON a (t); CREATE INDEX ON b (t); CREATE VIEW v AS SELECT a.t AS x, b.t AS y FROM a JOIN b USING (id)`)
			w.incremental()
			w.cfg.ExistingObjects = existing
			for from, to := range map[string]string{"a": "b", "b": "c", "c": "a"} {
				w.cfg.Selection.Map.Relations = append(w.cfg.Selection.Map.Relations, schema.RelationMap{From: public(from), To: public(to)})
			}
			if existing == fullcopy.ExistingReplace {
				exec(t, w.dst, "CREATE TABLE a (x int); CREATE TABLE b (x int); INSERT INTO b VALUES (1)")
			}
			if existing == fullcopy.ExistingAppend {
				exec(t, w.dst, "CREATE TABLE a (id int PRIMARY KEY, t text, u int UNIQUE); INSERT INTO a VALUES (9999, 'x', NULL), (30000, 'x', NULL)")
			}
			_, destination := w.through(t)
			for _, rows := range []int{10, 21000, 32000} {
				n := 0
				cut := destination.CutAfter(func(d testenv.Direction, kind byte, _ []byte) bool {
					if d == testenv.ToTarget && kind == 'd' {
						n++
					}
					return n == rows
				})
				_, err := fullcopy.Run(t.Context(), w.cfg)
				select {
				case <-cut:
				default:
					t.Logf("it ended before: %v", err)
				}
			}
			w.run(t)
			w.sameRows(t, "SELECT * FROM a", "SELECT * FROM b")
			w.sameRows(t, "SELECT * FROM b", "SELECT * FROM c")
			if existing == fullcopy.ExistingAppend {
				w.sameRows(t, "SELECT * FROM c WHERE id <> 9999 UNION ALL VALUES (9999, 'x', NULL::int), (30000, 'x', NULL)", "SELECT * FROM a")
			} else {
				w.sameRows(t, "SELECT * FROM c", "SELECT * FROM a")
			}
			w.sameRows(t, "SELECT * FROM v", "SELECT * FROM v")
		})
	}
}
