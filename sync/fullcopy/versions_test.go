//go:build versions

package fullcopy_test

import (
	"os"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// newerClients puts pg_dump of the newest versions into PATH.
func newerClients(t *testing.T) {
	t.Helper()
	path := os.Getenv("PATH")
	for _, v := range []string{"17", "18"} {
		bin, err := testenv.ClientBin(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		path = bin + ":" + path
	}
	t.Setenv("PATH", path)
}

// Before 14 there are no ranges of ctid, before 13 other names of snapshot functions, and partition trees cannot be published
// whole.
func TestVersions(t *testing.T) {
	newerClients(t)
	for _, c := range []struct{ from, to string }{
		{"10", "11"}, {"11", "15"}, {"12", "12"}, {"13", "14"}, {"14", "16"}, {"16", "17"}, {"17", "18"}, {"18", "18"},
	} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			w := setup(t, "")
			w.source, w.destination = testenv.Start(t, testenv.Config{Version: c.from}), testenv.Start(t, testenv.Config{Version: c.to})
			w.from, w.to = "postgres", "postgres"
			w.src, w.dst = w.source.Connect(t, w.from), w.destination.Connect(t, w.to)
			w.cfg.Destination = parse(t, w.destination.ConnString(w.to))
			ddl := tree
			if c.from == "10" {
				ddl = `CREATE TABLE events (id bigint, at date) PARTITION BY RANGE (at);
					CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
					INSERT INTO events SELECT i, date '2020-01-01' + i % 300 FROM generate_series(1, 1000) i;`
			}
			w.source.Exec(t, w.from, ddl+keyless+`
				CREATE TABLE keyed (id bigint PRIMARY KEY, t text); INSERT INTO keyed SELECT i * 3 - 5000, repeat('x', 100) FROM generate_series(1, 30000) i;
				INSERT INTO keyed VALUES (-9223372036854775808, 'min'), (9223372036854775807, 'max')`)
			w.incremental()
			w.cfg.SplitAbove, w.cfg.Workers = 500<<10, 12
			l := w.load(t, 2, "a", "b")
			source, _ := w.through(t)
			n := 0
			source.CutAfter(func(d testenv.Direction, kind byte, _ []byte) bool {
				if kind == 'd' && d == testenv.ToClient {
					n++
				}
				return n > 20000
			})
			if _, err := fullcopy.Run(t.Context(), w.cfg); err == nil {
				t.Fatal("the cut was not noticed")
			}
			w.run(t)
			if err := l.stop(); err != nil {
				t.Fatal(err)
			}
			w.follow(t)
			testenv.MustEqual(t, w.src, w.dst)
		})
	}
}

// Colliding rows, filters and large objects need nothing that the oldest destinations lack.
func TestVersionsMapped(t *testing.T) {
	newerClients(t)
	for _, c := range []struct{ from, to string }{{"9.5", "9.5"}, {"9.6", "10"}, {"10", "12"}, {"13", "18"}, {"18", "18"}} {
		t.Run(c.from+" to "+c.to, func(t *testing.T) {
			w := setup(t, "")
			w.source, w.destination = testenv.Start(t, testenv.Config{Version: c.from}), testenv.Start(t, testenv.Config{Version: c.to})
			w.from, w.to = "postgres", "postgres"
			w.cfg.Source, w.cfg.Destination = parse(t, w.source.ConnString(w.from)), parse(t, w.destination.ConnString(w.to))
			w.source.Exec(t, w.from, lobs+`
				CREATE SCHEMA s1; CREATE TABLE s1.t (id bigserial PRIMARY KEY, t text); INSERT INTO s1.t SELECT i, 'one' FROM generate_series(1, 5000) i;
				CREATE SCHEMA s2; CREATE TABLE s2.t (id bigint, t text); INSERT INTO s2.t SELECT i, 'two' FROM generate_series(4001, 9000) i;`)
			w.src, w.dst = w.source.Connect(t, w.from), w.destination.Connect(t, w.to)
			w.cfg.LargeObjects = true
			w.cfg.Selection.Map.Schemas = []schema.SchemaMap{{From: "s1", To: "one"}, {From: "s2", To: "one"}}
			w.cfg.Selection.Rules = []schema.TableRule{{Table: schema.Name{Schema: "s2", Name: "t"}, Where: "t.id <= 8000"}}
			w.run(t)
			w.sameRows(t, "SELECT * FROM s1.t UNION ALL SELECT * FROM s2.t WHERE id BETWEEN 5001 AND 8000", "SELECT * FROM one.t")
			equal(t, "ignored", w.report.tables[schema.Name{Schema: "s2", Name: "t"}].RowsIgnored, int64(1000))
			w.sameRows(t, lobRows, lobRows)
		})
	}
}
