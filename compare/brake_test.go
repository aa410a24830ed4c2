package compare

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5/pgtype"
)

// tableOf is a reading of a table with that many rows of one column.
func tableOf(t *testing.T, rows int) *reading {
	t.Helper()
	c := testenv.Shared(t)
	db := c.Database(t)
	conn := c.Connect(t, db)
	if _, err := conn.Exec(t.Context(), fmt.Sprintf("CREATE TABLE t(id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, %d)", rows)); err != nil {
		t.Fatal(err)
	}
	columns := []column{{target: "id", typ: pgtype.Int4OID}}
	same := func(name string) string { return name }
	return &reading{
		what: "t", conn: conn, tids: true, columns: columns, key: columns, hash: hashes[0],
		from: []origin{{from(schema.Name{Schema: "public", Name: "t"}, schema.KindTable, ""), same}},
	}
}

// TestFigures: the ways to add up a table's rows come to the same.
func TestFigures(t *testing.T) {
	t.Parallel()
	r := tableOf(t, 25_000)
	quick, err := r.figure(t.Context())
	if err != nil || quick.rows != 25_000 {
		t.Fatalf("%+v %v", quick, err)
	}
	divided, err := r.divide(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*pace{{}, {rows: meter{rate: 1e9}}, {bytes: meter{rate: 1e12}}} {
		r.pace = p
		if slow, err := r.figure(t.Context()); err != nil || slow != quick {
			t.Errorf("%+v, not %+v: %v", slow, quick, err)
		}
		slow, err := r.divide(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range slow {
			if slow[i] != divided[i] {
				t.Fatalf("bucket %d: %+v, not %+v", i, slow[i], divided[i])
			}
		}
	}
}

// TestBrakedStatement is cancelled when the stream falls behind, and the table read again, in portions, when it is near. A transaction
// that the reading is part of goes on.
func TestBrakedStatement(t *testing.T) {
	t.Parallel()
	r := tableOf(t, 100)
	r.fields = map[uint32]string{pgtype.Int4OID: "%[1]s"}
	want, err := r.figure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	r.brake = &brake{every: time.Millisecond, behind: func(context.Context) (bool, error) {
		n := asked.Add(1)
		return n > 1 && n < 10, nil // near at the begin
	}}
	// Reading takes an hour, the first time.
	for _, sql := range []string{
		"CREATE SEQUENCE s", `CREATE FUNCTION slow(id int) RETURNS boolean LANGUAGE sql AS $$ SELECT nextval('public.s') > 1 OR pg_sleep(3600) IS NOT NULL $$`,
		"BEGIN ISOLATION LEVEL REPEATABLE READ",
	} {
		if _, err := r.conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	r.from[0].from += " WHERE public.slow(id)"
	if got, err := r.figure(t.Context()); err != nil || got != want {
		t.Errorf("%+v, want %+v: %v", got, want, err)
	}
	if status := r.conn.PgConn().TxStatus(); status != 'T' {
		t.Errorf("the transaction's status is %c", status)
	}
	if n := asked.Load(); n < 10 {
		t.Errorf("asked %d times whether the stream is near", n)
	}
}

// TestFailuresOfWatched are not taken for the brake's.
func TestFailuresOfWatched(t *testing.T) {
	t.Parallel()
	r := tableOf(t, 1)
	r.brake = &brake{every: time.Millisecond, behind: func(context.Context) (bool, error) { return false, errors.New("no catalog") }}
	r.from[0].from += " WHERE 1 / (id - 1) > 0"
	if _, err := r.quickFigure(t.Context()); endpoint.SQLState(err) != "22012" {
		t.Errorf("%v", err)
	}
	if _, err := r.figure(t.Context()); err == nil || err.Error() != "read t: no catalog" {
		t.Errorf("%v", err)
	}
}
