package incremental_test

import (
	"testing"

	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"
)

// Tables that exchange their names while no stream runs are not taken for each other.
func TestTablesThatExchangeTheirNames(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)`)
	l.begin(schema.Selection{All: true})
	r := l.start()
	l.source(`INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)`)
	r.catchUp()
	_ = r.kill()
	l.source(`ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b; INSERT INTO a VALUES (2)`)
	l.start().endsFor(incremental.ErrPublication)
	l.source(`ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b`)
	if n := l.one(l.d, `SELECT count(*) FROM a`); n != "1" {
		t.Errorf("%s rows", n)
	}
}
