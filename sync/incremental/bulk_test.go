package incremental_test

import (
	"testing"

	"pgsyncd/sync/incremental"
)

// Loads go by COPY, one table to a batch.
func TestBulkLoads(t *testing.T) {
	t.Parallel()
	const columns = `a text, b text[], c bytea, d numeric, e int`
	l := setup(t, `CREATE TABLE keyed (id int PRIMARY KEY, `+columns+`); CREATE TABLE keyless (`+columns+`); CREATE TABLE gate ();
		CREATE TABLE "Ident ""ity" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, `+columns+`, twice int GENERATED ALWAYS AS (e * 2) STORED);
		CREATE TABLE p (id int PRIMARY KEY, `+columns+`) PARTITION BY HASH (id); CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 1, REMAINDER 0)`)
	l.cfg.Policy = incremental.PolicyIgnore
	r := l.start()
	const values = `CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'a\tb\nc\rd\\e\x01' WHEN 3 THEN '\N' WHEN 4 THEN '\.' WHEN 5 THEN 'ä€😀' ELSE '"' END,
		ARRAY[E'\t', NULL, '\N'], decode(md5(i::text), 'hex'), i / 3.0, i FROM generate_series(1, 3000) i`
	l.source(`INSERT INTO keyed SELECT i, ` + values)
	r.catchUp()
	l.source(`INSERT INTO keyless SELECT ` + values)
	r.catchUp()
	l.source(`INSERT INTO "Ident ""ity" (a, b, c, d, e) SELECT ` + values)
	r.catchUp()
	l.source(`INSERT INTO p SELECT i, ` + values)
	r.catchUp()
	l.equal()
	if n := l.report.progress().Replays; n != 0 {
		t.Errorf("%d batches were replayed", n)
	}
	l.source(`DELETE FROM keyed`)
	r.catchUp()
	l.destination(`INSERT INTO keyed (id, a) VALUES (77, 'mine')`)
	l.source(`INSERT INTO keyed SELECT i, ` + values)
	r.catchUp()
	if c := l.report.recorded(); len(c) != 1 || c[0].Kind != incremental.InsertExists || string(c[0].Key) != `{"id": "77"}` {
		t.Errorf("conflicts %+v", c)
	}
	l.destination(`DELETE FROM keyed WHERE id = 77`)
	l.source(`DELETE FROM keyed WHERE id = 77`)
	r.catchUp()
	l.equal()
}
