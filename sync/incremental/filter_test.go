package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"
)

func where(table, condition string, pairs ...string) schema.TableRule {
	return schema.TableRule{Table: name("public", table), Where: condition, Columns: columns(pairs...)}
}

// An update that moves a row into the condition is an insert, one that moves it out a delete: values that were not sent included,
// and values that the old row alone has.
func TestRowsThatMoveInAndOutOfTheCondition(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE gate ();
		CREATE TABLE by_key (area text, id int, v text, big text, PRIMARY KEY (area, id)); ALTER TABLE by_key ALTER big SET STORAGE EXTERNAL;
		CREATE TABLE whole_old (id int PRIMARY KEY, state text, big text); ALTER TABLE whole_old ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
		CREATE TABLE keyless (id int, state text); ALTER TABLE keyless REPLICA IDENTITY FULL;
		CREATE TABLE big_key (id int PRIMARY KEY, big text); ALTER TABLE big_key ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL`)
	l.destination(`ALTER TABLE by_key RENAME area TO region; ALTER TABLE by_key DROP v; ALTER TABLE whole_old RENAME TO wo`)
	l.begin(schema.Selection{
		All: true,
		Map: schema.Mapping{Relations: []schema.RelationMap{{From: name("public", "whole_old"), To: name("public", "wo")}}},
		Rules: []schema.TableRule{
			where("by_key", "area = 'north' AND id % 2 = 0 -- even", "area", "region", "id", "", "big", ""),
			where("whole_old", `state IS DISTINCT FROM 'draft'`), where("keyless", `lower(state) = 'x'`), where("big_key", `length(big) > 1000`),
		},
	})
	l.views(
		[3]string{"v", `SELECT area, id, big FROM by_key WHERE area = 'north' AND id % 2 = 0`, `SELECT region area, id, big FROM by_key`},
		[3]string{"w", `SELECT * FROM whole_old WHERE state IS DISTINCT FROM 'draft'`, `SELECT * FROM wo`},
		[3]string{"x", `SELECT * FROM keyless WHERE lower(state) = 'x'`, `SELECT * FROM keyless`},
		[3]string{"y", `SELECT * FROM big_key WHERE length(big) > 1000`, `SELECT * FROM big_key`},
	)
	same := func() { l.Helper(); l.equal("public.v", "public.w", "public.x", "public.y") }
	r := l.start()
	work := func() {
		l.source(`INSERT INTO by_key SELECT CASE WHEN i % 3 = 0 THEN 'south' ELSE 'north' END, i, 'v', CASE WHEN i % 3 <> 0 AND i % 2 = 0 AND i < 50 THEN repeat(md5(i::text), 200) ELSE i::text END FROM generate_series(1, 60) i;
			INSERT INTO whole_old SELECT i, CASE WHEN i % 3 = 0 THEN 'draft' WHEN i % 3 = 1 THEN 'done' END, repeat(md5(i::text), 200) FROM generate_series(1, 60) i;
			INSERT INTO keyless SELECT i % 4, CASE WHEN i % 2 = 0 THEN 'X' ELSE 'y' END FROM generate_series(1, 60) i;
			INSERT INTO big_key SELECT i, repeat('x', i * 100) FROM generate_series(1, 60) i`)
		l.source(`UPDATE by_key SET area = 'north' WHERE id % 9 = 0; UPDATE by_key SET area = 'south' WHERE id % 8 = 0; UPDATE by_key SET id = id + 101 WHERE id > 50;
			UPDATE by_key SET v = 'w', big = 'short' WHERE id % 5 = 0; UPDATE by_key SET v = 'only what is not selected' WHERE id % 7 = 0`)
		l.source(`UPDATE whole_old SET state = 'done' WHERE id % 9 = 0; UPDATE whole_old SET state = 'draft' WHERE id % 8 = 0; UPDATE whole_old SET id = id + 101, state = NULL WHERE id > 50;
			DELETE FROM whole_old WHERE id % 10 = 0`)
		l.source(`UPDATE keyless SET state = 'x' WHERE id = 1; UPDATE keyless SET state = 'none' WHERE ctid IN (SELECT ctid FROM keyless WHERE id = 2 LIMIT 5);
			DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless WHERE id = 0 LIMIT 3); UPDATE keyless SET id = 7 WHERE ctid IN (SELECT ctid FROM keyless WHERE id = 0 LIMIT 3)`)
		l.source(`UPDATE big_key SET id = id + 1000 WHERE id % 2 = 0; UPDATE big_key SET big = 'short' WHERE id % 5 = 0; UPDATE big_key SET big = repeat('y', 5000) WHERE id % 7 = 0`)
		l.source(`DELETE FROM by_key WHERE id % 11 = 0`)
	}
	work()
	r.catchUp()
	same()
	if n := l.one(l.d, `SELECT count(*) FROM by_key`); n == "0" {
		t.Error("nothing is selected")
	}
	l.source(`TRUNCATE by_key, whole_old, keyless, big_key`)
	r.catchUp()
	same()
	l.inOneBatch("by_key", r, work)
	same()
	if n := len(l.report.recorded()); n != 0 {
		t.Errorf("conflicts: %+v", l.report.recorded())
	}
	_ = r.kill()
	l.source(`UPDATE by_key SET area = 'north' WHERE length(big) < 100; UPDATE whole_old SET state = 'draft' WHERE id % 2 = 0; UPDATE keyless SET state = 'X'; UPDATE big_key SET big = repeat('z', 3000)`)
	l.resume()
	same()
}

// An update that moves a row into the condition becomes an insert, but does not bring what was not touched, unless the old row comes.
func TestValueThatDoesNotComeIntoTheCondition(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v text, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL`)
	l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("t", "id > 5")}})
	r := l.start()
	l.source(`INSERT INTO t VALUES (1, 'v', 'short'), (2, 'v', repeat('x', 5000)), (6, 'v', repeat('x', 5000)); UPDATE t SET v = 'new'; UPDATE t SET id = id + 10 WHERE id <> 2`)
	r.catchUp()
	if n := l.one(l.d, `SELECT count(*) FROM t WHERE v = 'new' AND length(big) IN (5, 5000)`); n != "2" {
		t.Errorf("%s rows", n)
	}
	l.source(`UPDATE t SET id = 20 WHERE id = 2`)
	if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), `value of column "big" was not sent`) {
		t.Errorf("ended with %v", err)
	}
	if n := l.one(l.d, `SELECT count(*) FROM t`); n != "2" {
		t.Errorf("%s rows", n)
	}
}

// The leaves of a tree have the condition of their root, or their own.
func TestConditionsOnPartitions(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int PRIMARY KEY, secret text, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (300) PARTITION BY RANGE (id); CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (100) TO (200);
		CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (300) TO (400);
		CREATE TABLE q (id int PRIMARY KEY, secret text, v text) PARTITION BY HASH (id); CREATE TABLE q1 PARTITION OF q FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE q2 PARTITION OF q FOR VALUES WITH (MODULUS 2, REMAINDER 1)`)
	l.destination(`ALTER TABLE p DROP secret; ALTER TABLE q DROP secret`)
	l.begin(schema.Selection{All: true, Rules: []schema.TableRule{
		where("p", "id % 2 = 0", "id", "", "v", ""), where("p3", "id % 3 = 0", "id", "", "v", ""), where("q", "", "id", "", "v", ""),
	}})
	const selected = `SELECT id, v FROM p WHERE CASE WHEN id >= 300 THEN id % 3 = 0 ELSE id % 2 = 0 END`
	l.views([3]string{"v", selected, `SELECT id, v FROM p`}, [3]string{"w", `SELECT id, v FROM q`, `SELECT id, v FROM q`})
	r := l.start()
	l.source(`INSERT INTO p SELECT i, 's', 'v' FROM generate_series(0, 199) i; INSERT INTO p SELECT i, 's', 'v' FROM generate_series(300, 399) i; DELETE FROM p WHERE id % 10 IN (0, 6); UPDATE p SET id = id + 1 WHERE id % 20 = 5;
		 UPDATE p SET id = 450 - id WHERE id = 100 - 40; INSERT INTO q SELECT i, 's', 'v' FROM generate_series(0, 50) i`)
	r.catchUp()
	l.equal("public.v", "public.w")
	l.source(`ALTER TABLE q DETACH PARTITION q2; ALTER PUBLICATION pub DROP TABLE q2`)
	r.endsFor(incremental.ErrPublication)
}

// A partition that is attached later is published without the condition of its root, so its rows must not be applied.
func TestPartitionAttachedToATreeWithACondition(t *testing.T) {
	t.Parallel()
	for _, asleep := range []bool{false, true} {
		l := setup(t, `CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)`)
		l.destination(`CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)`)
		l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("p", "id % 2 = 0")}})
		r := l.start()
		l.source(`INSERT INTO p SELECT generate_series(1, 10)`)
		r.catchUp()
		if asleep {
			_ = r.kill()
		}
		l.source(`CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p SELECT generate_series(100, 110)`)
		if asleep {
			r = l.start()
		}
		if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), `"public"."p2" was attached`) {
			t.Errorf("ended with %v", err)
		}
		if n := l.one(l.d, `SELECT count(*) FROM p2`); n != "0" {
			t.Errorf("%s rows", n)
		}
	}
}

// Columns alone do not matter to a partition that comes later: what is not selected is left out on arrival.
func TestPartitionAttachedToATreeWithColumns(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int PRIMARY KEY, secret text, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)`)
	l.destination(`CREATE TABLE rest PARTITION OF p DEFAULT; ALTER TABLE p DROP secret`)
	l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("p", "", "id", "", "v", "")}})
	l.views([3]string{"v", `SELECT id, v FROM p`, `SELECT id, v FROM p`})
	r := l.start()
	l.source(`CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200); INSERT INTO p SELECT i, 's', 'v' FROM generate_series(90, 110) i; UPDATE p SET id = id + 40 WHERE id < 95`)
	r.catchUp()
	l.equal("public.v")
}

// Somebody who changes what the publication selects is noticed, whether the stream runs or not.
func TestConditionsThatAreChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		harm    string
		noticed bool
	}{
		{`ALTER PUBLICATION pub SET TABLE a WHERE (id > 6), b (id, v)`, true},
		{`ALTER PUBLICATION pub SET TABLE a, b (id, v)`, true},
		{`ALTER PUBLICATION pub SET TABLE a WHERE (id > 5), b (id, v) WHERE (id > 1)`, true},
		{`ALTER PUBLICATION pub SET TABLE a WHERE (id > 5), b (id)`, true},
		{`ALTER PUBLICATION pub SET TABLE a (id) WHERE (id > 5), b (id, v)`, true},
		{`ALTER PUBLICATION pub SET TABLE a WHERE (id > 5), b (id, v)`, false}, // as it was
	} {
		t.Run(c.harm, func(t *testing.T) {
			t.Parallel()
			for _, asleep := range []bool{false, true} {
				l := setup(t, `CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, secret text, v text)`)
				l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("a", "id > 5"), where("b", "", "id", "", "v", "")}})
				r := l.start()
				l.source(`INSERT INTO a VALUES (1), (10)`)
				r.catchUp()
				if asleep {
					_ = r.kill()
				}
				l.source(c.harm)
				if asleep {
					r = l.start()
				}
				if c.noticed {
					r.endsFor(incremental.ErrPublication)
					continue
				}
				l.source(`INSERT INTO a VALUES (2), (11)`)
				r.catchUp()
				if n := l.one(l.d, `SELECT count(*) FROM a`); n != "2" {
					t.Errorf("%s rows", n)
				}
			}
		})
	}
}

// What a publication cannot select is refused before it does harm: the source would refuse its own users' statements.
func TestConditionsThatCannotBePublished(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v text, g int GENERATED ALWAYS AS (id * 2) STORED); CREATE TABLE other (id int PRIMARY KEY);
		CREATE TABLE inserts (id int, v text); CREATE FUNCTION mine(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true';
		CREATE TABLE f (id int, v text, g int GENERATED ALWAYS AS (id * 2) STORED); ALTER TABLE f REPLICA IDENTITY FULL`)
	for _, c := range []struct {
		rule schema.TableRule
		part string // of the error; empty: it can be published
	}{
		{where("t", "v = 'x'"), "not part of the replica identity"},
		{where("t", "id > 5 AND v IS NULL"), "not part of the replica identity"},
		{where("t", "id > 5"), ""},
		{where("t", "id > random()"), "mutable functions"},
		{where("t", "public.mine(id)"), "User-defined"},
		{where("t", "id IN (SELECT id FROM public.other)"), "Only columns, constants"},
		{where("t", "nothing = 1"), "does not exist"},
		{where("t", "id"), "boolean"},
		{where("inserts", "v = 'x'"), "not part of the replica identity"},
		{where("inserts", "", "id", ""), ""},
		{where("t", "", "id", "", "g", ""), ""},
		{where("t", "", "v", "", "g", ""), `"id" of its replica identity`},
		{where("f", "v = 'x'", "id", "", "g", ""), ""},
		{where("f", "", "v", ""), ""},
	} {
		err := l.publish(schema.Selection{All: true, Rules: []schema.TableRule{c.rule}})
		switch {
		case c.part == "" && err != nil, c.part != "" && (err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), c.part)):
			t.Errorf("%+v: %v", c.rule, err)
		case c.part == "":
			l.source(`INSERT INTO t VALUES (7); UPDATE t SET v = 'y'; DELETE FROM t; UPDATE f SET v = 'y'; DELETE FROM f`)
		}
	}
}

// A partition that is not selected with its tree is published with it all the same; its rows are left out on arrival.
func TestPartitionThatIsNotSelected(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE gate (); CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)`)
	l.source(`CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (300) PARTITION BY RANGE (id); CREATE TABLE p2a (id int PRIMARY KEY, v text); INSERT INTO p2a VALUES (150);
		ALTER TABLE p2 ATTACH PARTITION p2a FOR VALUES FROM (100) TO (200)`)
	l.begin(schema.Selection{All: true, Except: schema.Exception{Tables: []schema.Name{name("public", "p2")}}})
	l.views([3]string{"v", `SELECT * FROM p1`, `SELECT * FROM p`})
	r := l.start()
	work := func() {
		l.source(`INSERT INTO p SELECT i, 'v' FROM generate_series(90, 110) i; UPDATE p SET id = 111 WHERE id = 91; UPDATE p SET id = 91 WHERE id = 105; DELETE FROM p WHERE id > 105 OR id < 95`)
		l.source(`CREATE TABLE IF NOT EXISTS p2b PARTITION OF p2 FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (250)`)
	}
	work()
	r.catchUp()
	l.equal("public.v")
	l.source(`TRUNCATE p`)
	l.inOneBatch("p", r, work)
	l.equal("public.v")
	_ = r.kill()
	l.source(`TRUNCATE p2; UPDATE p SET v = 'new'`)
	r = l.start()
	r.catchUp()
	l.equal("public.v")
}
