package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"
)

// setupMerged has three tables of the source, one of them partitioned, in one of the destination, and two without a key in another.
func setupMerged(t *testing.T) *lab {
	t.Helper()
	l := setup(t, `CREATE TABLE gate (); CREATE TABLE alone (id int PRIMARY KEY)`)
	l.source(`CREATE TABLE a (id int PRIMARY KEY, v text, at date DEFAULT '2020-01-01'); CREATE TABLE b (v text, id int PRIMARY KEY);
		CREATE TABLE c (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (2000) TO (2500);
		CREATE TABLE c2 PARTITION OF c DEFAULT;
		CREATE TABLE k (id int, v text); ALTER TABLE k REPLICA IDENTITY FULL; CREATE TABLE m (v text, id int); ALTER TABLE m REPLICA IDENTITY FULL`)
	l.destination(`CREATE TABLE d (at date, id int PRIMARY KEY, v text); CREATE TABLE km (id int, v text)`)
	to := func(from, to string) schema.RelationMap {
		return schema.RelationMap{From: name("public", from), To: name("public", to)}
	}
	l.begin(schema.Selection{All: true, Map: schema.Mapping{Relations: []schema.RelationMap{to("a", "d"), to("b", "d"), to("c", "d"), to("k", "km"), to("m", "km")}}})
	l.views([3]string{"v", `SELECT id, v, at FROM a UNION ALL SELECT id, v, NULL FROM b UNION ALL SELECT id, v, NULL FROM c`, `SELECT id, v, at FROM d`},
		[3]string{"w", `SELECT id, v FROM k UNION ALL SELECT id, v FROM m`, `SELECT id, v FROM km`})
	return l
}

// Rows of several tables come together in one, each change falling on its own row; rows may move from one table to another.
func TestSeveralTablesIntoOne(t *testing.T) {
	t.Parallel()
	l := setupMerged(t)
	r := l.start()
	work := func() {
		l.source(`INSERT INTO a SELECT i, 'a' || i FROM generate_series(1, 40) i; INSERT INTO b SELECT 'b' || i, i FROM generate_series(1001, 1040) i;
			INSERT INTO c SELECT i, 'c' || i FROM generate_series(2001, 2900, 20) i; INSERT INTO alone SELECT generate_series(1, 20)`)
		l.source(`BEGIN; UPDATE a SET v = 'new' WHERE id % 3 = 0; UPDATE b SET v = 'new' WHERE id % 4 = 0; UPDATE c SET v = 'new' WHERE id % 3 = 0;
			DELETE FROM a WHERE id = 5; INSERT INTO b VALUES ('was a', 5); DELETE FROM b WHERE id = 1001; INSERT INTO c VALUES (1001, 'was b');
			UPDATE c SET id = 2999 WHERE id = 2001; UPDATE c SET id = 2001 WHERE id = 2999; COMMIT; DELETE FROM alone WHERE id < 10`)
		l.source(`INSERT INTO k SELECT i % 3, 'same' FROM generate_series(1, 30) i; INSERT INTO m SELECT 'same', i % 3 FROM generate_series(1, 30) i`)
		l.source(`DELETE FROM k WHERE id = 1; UPDATE m SET v = 'm' WHERE id = 2; DELETE FROM m WHERE ctid IN (SELECT ctid FROM m WHERE id = 0 LIMIT 3)`)
	}
	work()
	r.catchUp()
	l.equal("public.v", "public.w", "public.alone")
	l.source(`TRUNCATE k, m; DELETE FROM alone; TRUNCATE b, c, a`)
	r.catchUp()
	l.equal("public.v", "public.w", "public.alone")
	l.inOneBatch("d", r, work)
	l.equal("public.v", "public.w", "public.alone")
	if n := len(l.report.recorded()); n != 0 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
	for range 3 {
		_ = r.kill()
		l.source(`TRUNCATE a, b, c; DELETE FROM alone; INSERT INTO a SELECT i, 'again' FROM generate_series(1, 2000) i; DELETE FROM k WHERE id = 0`)
		r = l.resume()
	}
	l.equal("public.v", "public.w", "public.alone")
}

// What TRUNCATE of one of several tables takes away cannot be told from the rows of the others.
func TestTruncateOfOneOfSeveralTables(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{`TRUNCATE a`, `TRUNCATE c`, `TRUNCATE a, b, c1`, `TRUNCATE c1`, `TRUNCATE k`, `TRUNCATE a, b, k`, `BEGIN; TRUNCATE a; TRUNCATE b; TRUNCATE c; COMMIT`} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			l := setupMerged(t)
			r := l.start()
			l.source(`INSERT INTO a VALUES (1); INSERT INTO b VALUES ('b', 2); INSERT INTO c VALUES (2100), (3); INSERT INTO k VALUES (1); INSERT INTO m VALUES ('m', 1)`)
			r.catchUp()
			l.source(sql)
			if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), "cannot be told apart") || !strings.Contains(err.Error(), "/") {
				t.Errorf("ended with %v", err)
			}
			if n := l.one(l.d, `SELECT (SELECT count(*) FROM d) + (SELECT count(*) FROM km)`); n != "6" {
				t.Errorf("%s rows", n)
			}
		})
	}
}

// A table that is dropped in the source leaves its rows, which another table's TRUNCATE must not take.
func TestTruncateSparesTheRowsOfTablesThatAreGone(t *testing.T) {
	t.Parallel()
	l := setupMerged(t)
	r := l.start()
	l.source(`INSERT INTO k VALUES (1); INSERT INTO m VALUES ('m', 1)`)
	r.catchUp()
	l.source(`DROP VIEW w; DROP TABLE k; TRUNCATE m`)
	if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), `"public"."k"`) {
		t.Errorf("ended with %v", err)
	}
	if n := l.one(l.d, `SELECT count(*) FROM km`); n != "2" {
		t.Errorf("%s rows", n)
	}
}

// Rows of two tables with one key collide under the ordinary policies.
func TestKeysThatCollideBetweenTables(t *testing.T) {
	t.Parallel()
	l := setupMerged(t)
	l.cfg.Policy = incremental.PolicyIgnore
	r := l.start()
	l.source(`INSERT INTO a VALUES (1, 'a'); INSERT INTO b VALUES ('b', 1); INSERT INTO b VALUES ('b', 2)`)
	r.catchUp()
	if got := l.one(l.d, `SELECT string_agg(id || v, ' ' ORDER BY id) FROM d`); got != "1a 2b" {
		t.Errorf("rows: %s", got)
	}
	c := l.report.recorded()
	if len(c) != 1 || c[0].Kind != incremental.InsertExists || c[0].Table != name("public", "b") || string(c[0].Key) != `{"id": "1"}` {
		t.Errorf("conflicts: %+v", c)
	}
}
