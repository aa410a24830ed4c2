package incremental_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgsyncd/testenv"
)

// Every kind of table, with random transactions, in batches that fold; after each the databases must be equal, and nothing may
// have needed the exact path.
func TestRandomBatchesFold(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	randomBatches(t, src, dst)
}

func randomBatches(t *testing.T, src, dst *testenv.Cluster) {
	t.Helper()
	const columns = `a int, b text, c numeric, d timestamptz, e int[], f jsonb, g bytea, h float8, i uuid, j bool, k char(4), l point, m box, n oid, o float4, p varchar(20), q date`
	l := setupOn(t, src, dst, `CREATE TABLE gate ();
		CREATE TABLE keyed (id int PRIMARY KEY, `+columns+`);
		CREATE TABLE composite (id int, id2 text, id3 timestamp, `+columns+`, PRIMARY KEY (id2, id, id3));
		CREATE TABLE full_key (`+columns+`, id bigint PRIMARY KEY); ALTER TABLE full_key REPLICA IDENTITY FULL;
		CREATE TABLE keyless (id int, `+columns+`); ALTER TABLE keyless REPLICA IDENTITY FULL;
		CREATE TABLE inserts (id int, `+columns+`)`)
	const random = `CASE WHEN random() < 0.2 THEN NULL ELSE (random() * 5)::int END, CASE WHEN random() < 0.2 THEN NULL ELSE md5(random()::text) || E'"\\,{}' END,
		(random() * 1000)::numeric(10, 2), '2020-01-01'::timestamptz + random() * interval '1 year', ARRAY[1, NULL, (random() * 9)::int],
		'{"a": [1, "x"]}', decode(md5(random()::text), 'hex'), random() - 0.5, md5(random()::text)::uuid, random() < 0.5, 'ab', point(random(), 1), box '((0,0),(1,1))',
		(random() * 4e9)::bigint::oid, random(), 'v', CASE WHEN random() < 0.1 THEN 'infinity'::date ELSE '2020-02-29'::date END`
	r := l.start()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same transactions every time
	work := func() {
		var sql strings.Builder
		for range 40 {
			from := rng.IntN(100)
			to := from + rng.IntN(20)
			for _, table := range []string{"keyed", "full_key", "keyless"} {
				key := `id`
				between := fmt.Sprintf(" WHERE id BETWEEN %d AND %d;\n", from, to)
				switch rng.IntN(6) {
				case 0:
					insert := on(table, `INSERT INTO $T (id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q) SELECT s, `) + random
					fmt.Fprintf(&sql, "%s FROM generate_series(%d, %d) s WHERE '%s' = 'keyless' OR NOT EXISTS (SELECT FROM %s WHERE %s = s);\n",
						insert, from, to, table, table, key)
				case 1:
					sql.WriteString(on(table, `UPDATE $T SET a = a + 1, b = NULL, h = '-0'`) + between)
				case 2:
					sql.WriteString(on(table, `UPDATE $T SET c = c * 1.0, k = 'x', l = NULL, m = NULL`) + between)
				case 3:
					sql.WriteString(on(table, `DELETE FROM $T`) + between)
				case 4:
					sql.WriteString(on(table, `UPDATE $T SET id = -id WHERE NOT EXISTS (SELECT FROM $T x WHERE x.id = -$T.id) AND `) +
						fmt.Sprintf("id BETWEEN %d AND %d;\n", from, to))
				case 5:
					sql.WriteString(on(table, `BEGIN; DELETE FROM $T`) + between + on(table, `INSERT INTO $T (id, a, b, h) SELECT s, 1, 'again', 'NaN' FROM `) +
						fmt.Sprintf("generate_series(%d, %d) s; COMMIT;\n", from, to))
				}
			}
		}
		l.source(sql.String())
		l.source(`INSERT INTO composite SELECT i, 'k' || i % 7, '2020-01-01', ` + random + ` FROM generate_series(1, 30) i ON CONFLICT DO NOTHING;
			UPDATE composite SET a = 7 WHERE id % 2 = 0; UPDATE composite SET id2 = id2 || 'x' || random() WHERE id % 5 = 0; DELETE FROM composite WHERE id % 7 = 3;
			INSERT INTO inserts SELECT i, ` + random + ` FROM generate_series(1, 50) i`)
	}
	for range 6 {
		l.inOneBatch("keyed", r, work)
		l.equal()
	}
	if p := l.report.progress(); p.Replays != 0 {
		t.Errorf("%d batches were replayed", p.Replays)
	}
}

// Composite values, which unnest would take apart, and domains address rows and are set like others.
func TestCompositeValuesFold(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TYPE couple AS (a int, b text); CREATE DOMAIN pair AS couple; CREATE DOMAIN small AS int CHECK (VALUE < 1000);
		CREATE TABLE c (k couple, s small, v couple, d pair, PRIMARY KEY (k, s)); CREATE TABLE w (k couple, d pair, s small);
		ALTER TABLE w REPLICA IDENTITY FULL; CREATE TABLE gate ()`)
	r := l.start()
	l.inOneBatch("c", r, func() {
		l.source(`INSERT INTO c SELECT ROW(i, E'a,"(\\' || i)::couple, i, ROW(i, NULL)::couple, ROW(1, '')::couple FROM generate_series(1, 300) i;
			INSERT INTO w SELECT ROW(i % 10, NULL)::couple, ROW(i % 3, 'x')::couple, 1 FROM generate_series(1, 300) i`)
		l.source(`UPDATE c SET v = ROW(0, 'new'), d = NULL WHERE s % 2 = 0; DELETE FROM c WHERE s % 7 = 0; DELETE FROM w WHERE (k).a = 3`)
	})
	l.inOneBatch("c", r, func() {
		l.source(`UPDATE c SET v = ROW(0, 'again'), s = s WHERE s % 3 = 0; DELETE FROM c WHERE s % 5 = 0; DELETE FROM w WHERE (d).a = 1; UPDATE w SET s = 2 WHERE (k).a = 4`)
	})
	l.equal()
	if p := l.report.progress(); p.Replays != 0 {
		t.Errorf("%d batches were replayed", p.Replays)
	}
}
