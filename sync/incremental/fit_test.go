package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
)

// The source's column gets a type whose values the destination's would change without an error.
func TestTypeThatDoesNotHoldTheValuesStopsTheStream(t *testing.T) {
	t.Parallel()
	cases := []struct{ before, after, value string }{
		{"numeric(10,2)", "numeric(10,4)", "1.2345"},
		{"date", "timestamp", "2020-01-01 12:00:00"},
	}
	for _, c := range cases {
		t.Run(c.before+" to "+c.after, func(t *testing.T) {
			t.Parallel()
			l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, v `+c.before+`)`)
			r := l.start()
			l.source(`INSERT INTO t VALUES (1)`)
			r.catchUp()
			l.source(`ALTER TABLE t ALTER v TYPE ` + c.after + `; INSERT INTO t VALUES (2, '` + c.value + `')`)
			err := r.wait()
			if endpoint.Retryable(err) { // the rows of test_decoding do not tell; a stream that begins anew knows
				err = l.start().wait()
			}
			if err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), "may not hold its values") {
				t.Errorf("ended with %v", err)
			}
			if n := l.one(l.d, `SELECT count(*) FROM t`); n != "1" {
				t.Errorf("%s rows", n)
			}
		})
	}
}

// Types that hold everything may come to the destination first.
func TestWiderTypesOfTheDestination(t *testing.T) {
	t.Parallel()
	l := setup(t, ``)
	l.source(`CREATE TABLE t (id int PRIMARY KEY, a smallint, b real, c numeric(5,2), d varchar(3), e char(2), f timestamp(0), g uuid, h jsonb, i numeric(4,-1), j varbit(3))`)
	l.destination(`CREATE TABLE t (id bigint PRIMARY KEY, a numeric, b float8, c numeric(9,3), d varchar(4), e text, f timestamp, g text, h json, i numeric(5,0), j varbit)`)
	r := l.start()
	l.source(`INSERT INTO t SELECT i, i, 0.5, 1.25, 'abc', 'ab', '2020-01-01', '00000000-0000-0000-0000-000000000001', '{}', 1230, '101'
		FROM generate_series(1, 20) i`)
	l.source(`UPDATE t SET a = -1 WHERE id = 3; DELETE FROM t WHERE id = 4`)
	r.catchUp()
	sum := `SELECT md5(string_agg(concat_ws('|', id, a, b, c::float8, d, e, f, g, h, i, j), ',' ORDER BY id)) FROM t`
	if a, b := l.one(l.s, sum), l.one(l.d, sum); a != b {
		t.Error("the tables differ")
	}
}
