package incremental_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgsyncd/sync/incremental"
)

// inOneBatch stops the stream's applier on a lock while work happens, so that all of it comes in one batch.
func (l *lab) inOneBatch(table string, r *running, work func()) {
	l.Helper()
	l.destination(`BEGIN; LOCK TABLE ` + table)
	l.source(`INSERT INTO gate DEFAULT VALUES`)
	l.eventually("the applier waits", func() bool {
		return l.one(l.s, `SELECT count(*) FROM gate`) != "0" && r.Changes(gate) > 0
	})
	work()
	l.destination(`COMMIT`)
	r.catchUp()
}

// on puts a table's name in place of $T.
func on(table, sql string) string { return strings.ReplaceAll(sql, "$T", table) }

func TestKeyUpdatesSwapAndChain(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE two (a int, b text, v int, PRIMARY KEY (a, b));
		CREATE TABLE f (id int PRIMARY KEY, v text); ALTER TABLE f REPLICA IDENTITY FULL; CREATE TABLE gate ()`)
	r := l.start()
	work := func() {
		for _, table := range []string{"t", "f"} {
			l.source(on(table, `BEGIN; DELETE FROM $T; INSERT INTO $T SELECT i, 'v' || i FROM generate_series(1, 10) i;
				UPDATE $T SET id = -1 WHERE id = 1; UPDATE $T SET id = 1 WHERE id = 2; UPDATE $T SET id = 2 WHERE id = -1; COMMIT`))
			// A chain, one key to the next, over several transactions.
			for i := 10; i >= 3; i-- {
				l.source(fmt.Sprintf(`UPDATE %s SET id = %d WHERE id = %d`, table, i+1, i))
			}
			l.source(on(table, `DELETE FROM $T WHERE id = 4; UPDATE $T SET id = 4 WHERE id = 5; INSERT INTO $T VALUES (5, 'new')`))
		}
		l.source(`BEGIN; DELETE FROM two; INSERT INTO two VALUES (1, 'x', 1), (1, 'y', 2), (2, 'x', 3);
			UPDATE two SET b = 'z' WHERE a = 1 AND b = 'x'; UPDATE two SET a = 1, b = 'x' WHERE a = 2; COMMIT`)
	}
	for range 2 {
		work()
		r.catchUp()
		l.equal()
	}
	l.inOneBatch("t", r, work)
	l.equal()
}

func TestUnchangedToastValuesSurvive(t *testing.T) {
	t.Parallel()
	l := setup(t, `
		CREATE TABLE byKey (id int PRIMARY KEY, n int, big text);
		CREATE TABLE byFull (id int PRIMARY KEY, n int, big text); ALTER TABLE byFull REPLICA IDENTITY FULL;
		CREATE TABLE byIndex (id int NOT NULL, n int, big text); CREATE UNIQUE INDEX i ON byIndex (id);
		ALTER TABLE byIndex REPLICA IDENTITY USING INDEX i;
		CREATE TABLE keyless (id int, n int, big text); ALTER TABLE keyless REPLICA IDENTITY FULL;
		CREATE TABLE gate ()`)
	for _, table := range []string{"byKey", "byFull", "byIndex", "keyless"} {
		l.source(on(table, `ALTER TABLE $T ALTER big SET STORAGE EXTERNAL`))
	}
	r := l.start()
	tables := []string{"byKey", "byFull", "byIndex", "keyless"}
	for i, table := range tables {
		l.source(fmt.Sprintf(`INSERT INTO %s SELECT i, 0, repeat(chr(64 + i), 1000000) FROM generate_series(1, 3) i`, table))
		if i == 0 {
			r.catchUp()
		}
	}
	r.catchUp()
	l.equal()
	l.inOneBatch("byKey", r, func() {
		for _, table := range tables {
			l.source(on(table, `UPDATE $T SET n = n + 1`))
			l.source(on(table, `UPDATE $T SET n = n + 1 WHERE id < 3`))
			l.source(on(table, `UPDATE $T SET big = big || 'x' WHERE id = 2; UPDATE $T SET n = -n WHERE id = 2`))
			l.source(on(table, `UPDATE $T SET id = id + 100`))
			l.source(on(table, `INSERT INTO $T VALUES (9, 1, repeat('9', 1000000)); UPDATE $T SET n = 2 WHERE id = 9`))
		}
	})
	l.equal()
}

func TestTruncate(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (id serial PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);
		CREATE TABLE c (v int); CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);
		CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
		CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
		CREATE TABLE gate ()`)
	r := l.start()
	fill := `INSERT INTO a (v) SELECT generate_series(1, 10); INSERT INTO b SELECT id, id FROM a; INSERT INTO c SELECT generate_series(1, 5);
		INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2);`
	work := func() {
		l.source(`TRUNCATE p; INSERT INTO p SELECT generate_series(50, 150)`)
		l.source(fill)
		l.source(`TRUNCATE c`)
		l.source(`INSERT INTO c VALUES (7)`)
		l.source(`TRUNCATE a CASCADE`)
		l.source(`BEGIN; ` + fill + ` TRUNCATE a, b, c RESTART IDENTITY; INSERT INTO a (v) VALUES (1), (2); DELETE FROM a WHERE v = 1;
			INSERT INTO c VALUES (1); TRUNCATE ONLY parent; TRUNCATE p1; INSERT INTO p VALUES (1), (60); COMMIT`)
	}
	work()
	r.catchUp()
	l.equal()
	if got := l.one(l.d, `SELECT last_value FROM a_id_seq`); got != "1" {
		t.Errorf("RESTART IDENTITY left the sequence at %s", got)
	}
	l.source(`TRUNCATE p, parent, a CASCADE`)
	r.catchUp()
	l.equal()
	l.inOneBatch("a", r, work)
	l.equal()
}

// A table outside the task refers to a truncated one.
func TestTruncateOfReferencedTable(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE gate ()`)
	l.destination(`CREATE TABLE own (a int REFERENCES a)`)
	r := l.start()
	l.source(`INSERT INTO a VALUES (1), (2)`)
	l.source(`TRUNCATE a`)
	l.source(`INSERT INTO a VALUES (3)`)
	r.catchUp()
	l.equal()
}

func TestTriggersAndForeignKeysDoNotFireAgain(t *testing.T) {
	t.Parallel()
	l := setup(t, `
		CREATE TABLE parent (id int PRIMARY KEY, v int);
		CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
		CREATE TABLE cycle_a (id int PRIMARY KEY, b int); CREATE TABLE cycle_b (id int PRIMARY KEY, a int REFERENCES cycle_a DEFERRABLE INITIALLY DEFERRED);
		ALTER TABLE cycle_a ADD FOREIGN KEY (b) REFERENCES cycle_b DEFERRABLE INITIALLY DEFERRED;
		CREATE TABLE uniq (id int PRIMARY KEY, u int UNIQUE DEFERRABLE, w int UNIQUE);
		CREATE TABLE watched (id int PRIMARY KEY, v int); CREATE TABLE audit (v int);
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.audit VALUES (NEW.v); RETURN NEW; END$$;
		CREATE TRIGGER note AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION note();
		CREATE TABLE always (id int PRIMARY KEY, v int); CREATE TABLE gate ()`)
	l.destination(`CREATE TABLE seen (n serial, op text, id int, v int);
		CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
			INSERT INTO public.seen (op, id, v) VALUES (TG_OP, coalesce(NEW.id, OLD.id), NEW.v); RETURN NULL; END$$;
		CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON always FOR EACH ROW EXECUTE FUNCTION see();
		ALTER TABLE always ENABLE ALWAYS TRIGGER see`)
	r := l.start()
	work := func() {
		l.source(`INSERT INTO parent SELECT i, i FROM generate_series(1, 10) i; INSERT INTO child SELECT i, i FROM generate_series(1, 10) i`)
		l.source(`DELETE FROM parent WHERE id < 4; UPDATE parent SET id = id + 100 WHERE id < 8`)
		l.source(`BEGIN; INSERT INTO cycle_a VALUES (1, 1); INSERT INTO cycle_b VALUES (1, 1); COMMIT`)
		l.source(`INSERT INTO uniq VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)`)
		l.source(`UPDATE uniq SET u = 4 - u`)
		l.source(`BEGIN; UPDATE uniq SET w = 9 WHERE id = 1; UPDATE uniq SET w = 1 WHERE id = 2; UPDATE uniq SET w = 2 WHERE id = 1; COMMIT`)
		l.source(`INSERT INTO watched VALUES (1, 10), (2, 20)`)
		l.source(`INSERT INTO always VALUES (1, 1); UPDATE always SET v = 2; UPDATE always SET v = 3; DELETE FROM always`)
		l.source(`DELETE FROM parent; DELETE FROM uniq; DELETE FROM watched; BEGIN; DELETE FROM cycle_a; DELETE FROM cycle_b; COMMIT`)
	}
	tables := []string{"public.parent", "public.child", "public.cycle_a", "public.cycle_b", "public.uniq", "public.watched", "public.audit", "public.always"}
	work()
	r.catchUp()
	l.equal(tables...)
	l.inOneBatch("parent", r, work)
	l.equal(tables...)
	want := "INSERT 1 1,UPDATE 1 2,UPDATE 1 3,DELETE 1 ,INSERT 1 1,UPDATE 1 2,UPDATE 1 3,DELETE 1 "
	if got := l.one(l.d, `SELECT string_agg(concat(op, ' ', id, ' ', v), ',' ORDER BY n) FROM seen`); got != want {
		t.Errorf("the ALWAYS trigger saw %s", got)
	}
}

func TestDuplicateRowsWithoutKey(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (a int, b text, j json, p point, f float8, c char(5)); ALTER TABLE t REPLICA IDENTITY FULL;
		CREATE TABLE n (a numeric); ALTER TABLE n REPLICA IDENTITY FULL; CREATE TABLE gate ()`)
	r := l.start()
	oneOf := `ctid = (SELECT min(ctid) FROM t WHERE a = `
	// Of equal rows one goes and one changes: each alone in its batch, then several together.
	l.source(`INSERT INTO t SELECT i % 5, 'equal', '[]', '(0,0)', 1, 'c' FROM generate_series(0, 19) i`)
	single := []string{`DELETE FROM t WHERE ` + oneOf + `0)`, `UPDATE t SET b = 'one' WHERE ` + oneOf + `1)`, `DELETE FROM t WHERE ` + oneOf + `2)`}
	for _, sql := range single {
		r.catchUp()
		l.source(sql)
	}
	r.catchUp()
	l.equal()
	l.inOneBatch("t", r, func() {
		for _, sql := range single {
			l.source(sql)
		}
	})
	l.equal()
	work := func() {
		l.source(`INSERT INTO t SELECT i % 4, NULL, '{"a": 1,  "a":2}', '(1,2)', '-0', 'ab' FROM generate_series(0, 11) i`)
		l.source(`DELETE FROM t WHERE ` + oneOf + `0)`)
		l.source(`UPDATE t SET b = 'changed' WHERE ` + oneOf + `1)`)
		l.source(`UPDATE t SET f = 0 WHERE ` + oneOf + `2)`)
		l.source(`UPDATE t SET j = '{"a":1}' WHERE ` + oneOf + `2)`)
		l.source(`BEGIN; INSERT INTO t VALUES (3); DELETE FROM t WHERE ` + oneOf + `3); INSERT INTO t VALUES (3); COMMIT`)
		l.source(`INSERT INTO n VALUES (1), (1.0), (1.00), (1.0); DELETE FROM n WHERE ctid = (SELECT min(ctid) FROM n WHERE a::text = '1.0')`)
	}
	work()
	r.catchUp()
	l.equal()
	l.inOneBatch("t", r, work)
	l.equal()
	if n := l.report.progress().Replays; n != 0 {
		t.Errorf("%d batches were replayed", n)
	}
}

func TestIdentityGeneratedAndReorderedColumns(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE gate ()`)
	l.source(`CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, s text);
		ALTER TABLE g DROP COLUMN gone;
		CREATE TABLE h (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, m int GENERATED BY DEFAULT AS IDENTITY, big text);
		ALTER TABLE h ALTER big SET STORAGE EXTERNAL`)
	l.destination(`CREATE TABLE g (s text, twice int GENERATED ALWAYS AS (v * 2) STORED, v int, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
		CREATE TABLE h (big text, extra text DEFAULT 'mine', n int GENERATED ALWAYS AS IDENTITY, m int GENERATED BY DEFAULT AS IDENTITY, id int PRIMARY KEY)`)
	r := l.start()
	work := func() {
		l.source(`INSERT INTO g (v, s) SELECT i, 's' || i FROM generate_series(1, 5) i; INSERT INTO g (id, v) OVERRIDING SYSTEM VALUE VALUES (nextval('g_id_seq') + 1000, 1)`)
		l.source(`UPDATE g SET v = v + 1; UPDATE g SET id = DEFAULT WHERE v = 3; DELETE FROM g WHERE v = 4`)
		l.source(`INSERT INTO h (id, big) SELECT coalesce(max(id), 0) + 1, repeat('x', 500000) FROM h`)
		l.source(`UPDATE h SET m = 5; UPDATE h SET n = DEFAULT; UPDATE h SET id = id + 10, n = DEFAULT; UPDATE h SET n = DEFAULT WHERE false`)
	}
	work()
	r.catchUp()
	l.inOneBatch("h", r, work)
	compare := func(table, columns string) {
		t.Helper()
		sql := `SELECT md5(string_agg(x::text, '|' ORDER BY id)) FROM (SELECT ` + columns + ` FROM ` + table + `) x`
		if a, b := l.one(l.s, sql), l.one(l.d, sql); a != b {
			t.Errorf("%s differs", table)
		}
	}
	compare("g", "id, v, twice, s")
	compare("h", "id, n, m, big")
	if n := l.one(l.d, `SELECT count(*) FROM h WHERE extra IS DISTINCT FROM 'mine'`); n != "0" {
		t.Errorf("%s values of a column of the destination's own were lost", n)
	}
}

// A transaction of the source is one of the destination: who reads there never sees a part.
func TestTransactionsAreNotSplit(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)`)
	l.cfg.BatchBytes = 4 << 10 // the larger transactions come in pieces
	r := l.start()
	l.source(`INSERT INTO account SELECT i, 1000 FROM generate_series(1, 50) i`)
	r.catchUp()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	reader := l.dst.Connect(t, l.dstDB)
	go func() {
		for ctx.Err() == nil {
			var sum int
			if err := reader.QueryRow(context.WithoutCancel(ctx), `SELECT sum(balance) FROM account`).Scan(&sum); err != nil || sum != 50000 {
				done <- fmt.Errorf("sum %d, %w", sum, err)
				return
			}
		}
		done <- nil
	}()
	for i := range 300 {
		a, b := i%50+1, (i*7+3)%50+1
		l.source(fmt.Sprintf(`BEGIN; UPDATE account SET balance = balance - 5 WHERE id = %d; UPDATE account SET balance = balance + 5 WHERE id = %d; COMMIT`, a, b))
		if i%20 == 0 {
			l.source(`BEGIN; UPDATE account SET balance = balance - 1 WHERE id <= 25; UPDATE account SET balance = balance + 1 WHERE id > 25; COMMIT`)
		}
	}
	r.catchUp()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.equal()
}

func TestConflictStopsTheStream(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, plant, change, kind, key string }{
		{"insert exists", `INSERT INTO t VALUES (1, 5, 'mine')`, `INSERT INTO t VALUES (1, 7, 'x')`, incremental.InsertExists, `{"id": "1"}`},
		{"unique", `INSERT INTO t VALUES (2, 7, 'mine')`, `INSERT INTO t VALUES (1, 7, 'x')`, incremental.UniqueViolation, `{"id": "1"}`},
		{"update missing", `DELETE FROM t`, `UPDATE t SET v = 'y' WHERE id = 50`, incremental.UpdateMissing, `{"id": "50"}`},
		{"delete missing", `DELETE FROM t`, `DELETE FROM t WHERE id = 50`, incremental.DeleteMissing, `{"id": "50"}`},
		{"update unique", `INSERT INTO t VALUES (2, 7, 'mine')`, `UPDATE t SET u = 7 WHERE id = 50`, incremental.UniqueViolation, `{"id": "50"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text); CREATE TABLE other (a int)`)
			r := l.start()
			l.source(`INSERT INTO t VALUES (50, 50, 'fifty')`)
			r.catchUp()
			l.destination(c.plant)
			before := l.one(l.d, `SELECT lsn FROM pgsyncd.progress`)
			l.source(`BEGIN; INSERT INTO other VALUES (1); ` + c.change + `; COMMIT`)
			err := r.stops()
			conflict, ok := errors.AsType[*incremental.ConflictError](err)
			if !ok || !conflict.Permanent() {
				t.Fatalf("ended with %v", err)
			}
			if conflict.Kind != c.kind || string(conflict.Key) != c.key || conflict.Table.Name != "t" || conflict.LSN == 0 {
				t.Errorf("conflict %+v", conflict.Conflict)
			}
			if recorded := l.report.recorded(); len(recorded) != 1 || recorded[0].Action != incremental.ActionStopped {
				t.Errorf("recorded %+v", recorded)
			}
			if l.one(l.d, `SELECT count(*) FROM other`) != "0" {
				t.Error("the transaction was applied in part")
			}
			past := conflict.LSN.String()
			if l.cfg.Plugin == incremental.PluginTestDecoding { // which names the first change; others may commit before this one does
				past = l.end().String()
			}
			if l.one(l.d, `SELECT lsn >= '`+past+`' OR lsn < '`+before+`' FROM pgsyncd.progress`) != "f" {
				t.Error("the position moved past the conflict")
			}
			l.destination(`DELETE FROM t; INSERT INTO t VALUES (50, 50, 'fifty')`)
			l.resume()
			l.equal()
		})
	}
}

func TestConflictIsIgnoredOrOverwritten(t *testing.T) {
	t.Parallel()
	const work = `INSERT INTO t VALUES (1, 'source'); UPDATE t SET v = 'new' WHERE id = 50; DELETE FROM t WHERE id = 51; INSERT INTO t VALUES (2, 'two')`
	cases := []struct{ policy, rows, conflicts string }{
		{
			incremental.PolicyIgnore, "1 mine,2 two,60 sixty",
			"insert_exists skipped,update_missing skipped,delete_missing skipped",
		},
		{
			incremental.PolicyOverwrite, "1 source,2 two,50 new,60 sixty",
			"insert_exists updated,update_missing inserted,delete_missing already absent",
		},
	}
	for _, c := range cases {
		t.Run(c.policy, func(t *testing.T) {
			t.Parallel()
			l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
			l.cfg.Policy = c.policy
			r := l.start()
			l.source(`INSERT INTO t VALUES (50, 'fifty'), (51, 'fifty-one'), (60, 'sixty')`)
			r.catchUp()
			l.destination(`DELETE FROM t WHERE id IN (50, 51); INSERT INTO t VALUES (1, 'mine')`)
			l.source(work)
			r.catchUp()
			if got := l.one(l.d, `SELECT string_agg(concat(id, ' ', v), ',' ORDER BY id) FROM t`); got != c.rows {
				t.Errorf("rows %s", got)
			}
			var got []string
			for _, conflict := range l.report.recorded() {
				got = append(got, conflict.Kind+" "+conflict.Action)
				if conflict.SourceRow == nil || conflict.Key == nil || conflict.Kind == incremental.InsertExists && conflict.DestinationRow == nil {
					t.Errorf("rows are missing: %+v", conflict)
				}
			}
			if strings.Join(got, ",") != c.conflicts {
				t.Errorf("conflicts %s", got)
			}
		})
	}
}

func TestUnknownTableStopsTheStream(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY)`)
	l.source(`CREATE TABLE new (id int PRIMARY KEY); INSERT INTO new VALUES (1)`)
	err := l.start().wait()
	if err == nil || !strings.Contains(err.Error(), "public.new") && !strings.Contains(err.Error(), `"public"."new"`) {
		t.Fatalf("ended with %v", err)
	}
}
