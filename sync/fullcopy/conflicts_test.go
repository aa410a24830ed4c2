package fullcopy_test

import (
	"errors"
	"strings"
	"testing"

	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5/pgconn"
)

// shards are three tables of one form. Of the 3 × 20000 rows 10000 of the second collide with the first's, and the third's are
// all its own.
const shards = `
CREATE SCHEMA s1; CREATE SCHEMA s2; CREATE SCHEMA s3;
CREATE TABLE s1.t (id bigint PRIMARY KEY, shard text, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE s2.t (shard text, twice int GENERATED ALWAYS AS (id * 2) STORED, id bigint PRIMARY KEY);
CREATE TABLE s3.t (id bigint, shard text, twice int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO s1.t SELECT i, 'one' FROM generate_series(1, 20000) i;
INSERT INTO s2.t (shard, id) SELECT 'two', i FROM generate_series(10001, 30000) i;
INSERT INTO s3.t SELECT i, 'three' FROM generate_series(100001, 120000) i;
`

// merged is what becomes of them.
const merged = `SELECT id, shard FROM s1.t UNION ALL SELECT id, shard FROM s2.t WHERE id > 20000 UNION ALL SELECT id, shard FROM s3.t`

func intoOne(w *world) {
	one := schema.Name{Schema: "all", Name: "t"}
	w.cfg.Selection = schema.Selection{}
	for _, s := range []string{"s1", "s2", "s3"} {
		n := schema.Name{Schema: s, Name: "t"}
		w.cfg.Selection.Tables = append(w.cfg.Selection.Tables, n)
		w.cfg.Selection.Map.Relations = append(w.cfg.Selection.Map.Relations, schema.RelationMap{From: n, To: one})
	}
	w.cfg.ExistingObjects, w.cfg.SplitAbove = fullcopy.ExistingUse, 100<<10
}

const all = `CREATE SCHEMA "all"; CREATE TABLE "all".t (id bigint, shard text, twice int GENERATED ALWAYS AS (id * 2) STORED, n int GENERATED ALWAYS AS IDENTITY, `

// Several tables become one. Where a constraint forbids two rows to stand side by side, the one that came first stays, and
// tables come in the order of their names; whatever is cut off in the middle leaves nothing behind.
func TestManyToOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, constraint string }{
		{"primary key", "PRIMARY KEY (id)"}, {"exclusion", "EXCLUDE (id WITH =)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, shards)
			intoOne(w)
			w.incremental()
			exec(t, w.dst, all+c.constraint+")")
			_, destination := w.through(t)
			n := 0
			cut := destination.CutAfter(func(d testenv.Direction, kind byte, _ []byte) bool {
				if d == testenv.ToTarget && kind == 'd' {
					n++
				}
				return n == 30000
			})
			_, err := fullcopy.Run(t.Context(), w.cfg)
			wasCut(t, cut, err)
			equal(t, "rows after the cut", value[int](t, w.dst, `SELECT count(*) FROM "all".t`), 0)
			w.run(t)
			w.sameRows(t, merged, `SELECT id, shard FROM "all".t`)
			equal(t, "units", w.units(t), `"s1"."t" "s2"."t" "s3"."t" INTO "all"."t"`)
			for s, want := range map[string]int64{"s1": 0, "s2": 10000, "s3": 0} {
				p := w.report.tables[schema.Name{Schema: s, Name: "t"}]
				equal(t, "ignored of "+s, []int64{p.RowsCopied, p.RowsIgnored}, []int64{20000 - want, want})
			}
			exec(t, w.dst, `DELETE FROM "all".t WHERE id = 1`)
			w.run(t)
			equal(t, "a finished unit stays as it is", value[int](t, w.dst, `SELECT count(*) FROM "all".t`), 49999)
		})
	}
}

// Without a constraint nothing can collide, and the tables are copied at the same time.
func TestManyToOneUnconstrained(t *testing.T) {
	t.Parallel()
	w := setup(t, shards)
	intoOne(w)
	exec(t, w.src, "ALTER TABLE s1.t DROP CONSTRAINT t_pkey") // the structure of the first is that of all
	exec(t, w.dst, all[:len(all)-2]+")")
	w.run(t)
	w.sameRows(t, strings.Replace(merged, "WHERE id > 20000", "", 1), `SELECT id, shard FROM "all".t`)
}

// Where collisions are errors, or the server cannot leave out what collides, the table is not copied at all.
func TestManyToOneRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, ddl string
		conflicts fullcopy.Conflicts
	}{
		{"error", "PRIMARY KEY (id))", fullcopy.ConflictsError},
		{"rule", `PRIMARY KEY (id)); CREATE RULE r AS ON UPDATE TO "all".t DO ALSO NOTHING`, fullcopy.ConflictsIgnore},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, shards)
			intoOne(w)
			w.cfg.Conflicts = c.conflicts
			w.destination.Exec(t, w.to, all+c.ddl)
			_, err := fullcopy.Run(t.Context(), w.cfg)
			var pg *pgconn.PgError
			if !errors.As(tablesError(t, err).Failures[0].Err, &pg) || pg.Code != "23505" {
				t.Fatalf("got %v", err)
			}
			equal(t, "rows", value[int](t, w.dst, `SELECT count(*) FROM "all".t`), 0)
			exec(t, w.src, "DELETE FROM s2.t WHERE id <= 20000")
			w.run(t)
			w.sameRows(t, merged, `SELECT id, shard FROM "all".t`)
		})
	}
}

// The server does not check deferrable constraints in a session that is a replica's.
func TestManyToOneDeferrable(t *testing.T) {
	t.Parallel()
	w := setup(t, shards)
	intoOne(w)
	exec(t, w.dst, all+"CONSTRAINT k PRIMARY KEY (id) DEFERRABLE)")
	_, err := fullcopy.Run(t.Context(), w.cfg)
	if unit := new(fullcopy.UnitError); !errors.As(tablesError(t, err).Failures[0].Err, &unit) {
		t.Fatalf("got %v", err)
	}
	equal(t, "rows", value[int](t, w.dst, `SELECT count(*) FROM "all".t`), 0)
	w.destination.Exec(t, w.to, `ALTER TABLE "all".t DROP CONSTRAINT k; ALTER TABLE "all".t ADD PRIMARY KEY (id)`)
	w.run(t)
	w.sameRows(t, merged, `SELECT id, shard FROM "all".t`)
}

func tablesError(t *testing.T, err error) *fullcopy.TablesError {
	t.Helper()
	var tables *fullcopy.TablesError
	if !errors.As(err, &tables) {
		t.Fatalf("got %v", err)
	}
	return tables
}

// Trap 30 with colliding rows: what the first task brought stays as it is, whatever becomes of the second.
func TestAppendColliding(t *testing.T) {
	t.Parallel()
	w := setup(t, `CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT i, 'first' FROM generate_series(1, 20000) i`)
	w.incremental()
	w.run(t)
	second := *w
	second.report = &report{}
	second.from = w.source.Database(t)
	second.source.Exec(t, second.from, `CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a SELECT i, 'second' FROM generate_series(15001, 40000) i`)
	second.src = second.source.Connect(t, second.from)
	second.cfg.Task, second.cfg.ExistingObjects, second.cfg.Report = newTask(), fullcopy.ExistingAppend, second.report
	second.incremental()
	_, destination := second.through(t)
	const first = "SELECT count(*) FILTER (WHERE t = 'first') || ' ' || count(*) FROM a"
	for _, rows := range []int{10, 12000, 24990} {
		n := 0
		cut := destination.CutAfter(func(d testenv.Direction, kind byte, _ []byte) bool {
			if d == testenv.ToTarget && kind == 'd' {
				n++
			}
			return n == rows
		})
		_, err := fullcopy.Run(t.Context(), second.cfg)
		wasCut(t, cut, err)
		equal(t, "rows after the cut", value[string](t, w.dst, first), "20000 20000")
	}
	second.run(t)
	equal(t, "rows", value[string](t, w.dst, first), "20000 40000")
	equal(t, "ignored", second.report.table("a").RowsIgnored, int64(5000))
}

// wasCut checks that a run ended by the cut and nothing else.
func wasCut(t *testing.T, cut <-chan struct{}, err error) {
	t.Helper()
	select {
	case <-cut:
	default:
		t.Fatalf("it ended before: %v", err)
	}
	if err == nil {
		t.Fatal("the cut was not noticed")
	}
}

// A task that adds rows waits until the one that fills the table has its indexes too: their names may be the same.
func TestAppendWaitsForIndexes(t *testing.T) {
	t.Parallel()
	w := setup(t, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)")
	w.run(t)
	exec(t, w.dst, "ALTER TABLE a DROP CONSTRAINT a_pkey")
	exec(t, w.dst, "UPDATE pgsyncd.objects SET key = 'not ' || key WHERE key LIKE 'STATISTICS OF %'") // as in the middle of indexes
	second := *w
	second.cfg.Task, second.cfg.ExistingObjects = newTask(), fullcopy.ExistingAppend
	told := w.report.phase(func(p string) bool { return strings.Contains(p, "waiting for another task") })
	wait := second.background(t.Context())
	<-told
	equal(t, "constraints", value[int](t, w.dst, "SELECT count(*) FROM pg_constraint WHERE conname = 'a_pkey'"), 0)
	exec(t, w.dst, "UPDATE pgsyncd.objects SET key = substr(key, 5) WHERE key LIKE 'not STATISTICS OF %'")
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	equal(t, "rows", value[int](t, w.dst, "SELECT count(*) FROM a"), 1)
}
