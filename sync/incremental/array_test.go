package incremental_test

import "testing"

// Trap 11: values that travel as elements of an array keep what means something in there: quotes, backslashes, braces, delimiters (of box a
// semicolon), NULL the word and the empty string. Nothing of it makes the quick way fail either, after which the values would go one by one.
func TestElementsOfArrays(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TYPE label AS ENUM ('a\b', 'c"d', 'e,f', 'NULL', '{g}', ' h '); CREATE TYPE couple AS (a text, b text);
		CREATE TYPE texts AS RANGE (subtype = text); CREATE DOMAIN word AS name;
		CREATE TABLE t (id int PRIMARY KEY, n name, c "char", e label, r couple, x texts, w word, b box, ta text[], nm numeric, j json);
		CREATE TABLE k (n name PRIMARY KEY, v int); CREATE TABLE f (n name, e label); ALTER TABLE f REPLICA IDENTITY FULL`)
	l.source(`CREATE FUNCTION piece(i int) RETURNS text IMMUTABLE LANGUAGE sql AS $$
		SELECT (ARRAY['a\b', 'c"d', 'e,f', 'NULL', '', '{g}', ' h ', '\\', E'i\nj', '"', 'null', NULL])[1 + i % 12] $$;
		CREATE FUNCTION kind(i int) RETURNS label IMMUTABLE LANGUAGE sql AS $$ SELECT (enum_range(NULL::label) || NULL::label)[1 + i % 7] $$`)
	r := l.start()
	values := `piece(i), piece(i)::"char", kind(i), ROW(piece(i), piece(i + 1))::couple, texts(least(piece(i), piece(i + 5)), greatest(piece(i), piece(i + 5)), '[]'),
		piece(i), box(point(i, i), point(0, 1)), ARRAY[piece(i), piece(i + 3)], nullif(i, 7), to_json(piece(i))`
	l.source(`INSERT INTO t SELECT i, ` + values + ` FROM generate_series(1, 60) i;
		INSERT INTO k SELECT piece(i) || i, i FROM generate_series(1, 60) i WHERE piece(i) IS NOT NULL;
		INSERT INTO f SELECT piece(i), kind(i) FROM generate_series(1, 60) i`)
	r.catchUp()
	l.equal()
	l.source(`UPDATE t SET (n, c, e, r, x, w, b, ta, nm, j) = (SELECT ` + values + ` FROM (SELECT t.id + 5) AS s (i)); UPDATE k SET v = -v;
		DELETE FROM f WHERE ctid IN (SELECT ctid FROM f WHERE e IS NOT NULL AND n IS NOT NULL LIMIT 25)`)
	r.catchUp()
	l.equal()
	l.source(`DELETE FROM t WHERE id % 2 = 0; DELETE FROM k WHERE v % 2 = 0`)
	r.catchUp()
	l.equal()
	if n := l.report.progress().Replays; n != 0 {
		t.Errorf("%d batches were replayed", n)
	}
}
