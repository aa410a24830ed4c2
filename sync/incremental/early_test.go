package incremental_test

import (
	"fmt"
	"testing"

	"pgsyncd/testenv"

	"github.com/jackc/pglogrepl"
)

// Readers see a small transaction before it is durable, but nobody is told of it: what counts as applied survives a crash.
func TestAppliedIsDurable(t *testing.T) {
	t.Parallel()
	dst := testenv.Start(t, testenv.Config{Fsync: true, Settings: map[string]string{"wal_writer_delay": "10s", "synchronous_commit": "off"}})
	l := setupOn(t, testenv.Shared(t), dst, `CREATE TABLE t (id int PRIMARY KEY)`)
	for round := range 4 {
		r := l.start()
		for i := range 3 {
			l.source(fmt.Sprintf(`INSERT INTO t VALUES (%d)`, 10*round+i))
			r.catchUp()
		}
		applied := r.Applied()
		if err := dst.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		_ = r.kill()
		if err := dst.StartAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.d = dst.Connect(t, l.dstDB)
		at, err := pglogrepl.ParseLSN(l.one(l.d, `SELECT lsn FROM pgsyncd.progress`))
		if n := l.one(l.d, `SELECT count(*) FROM t`); err != nil || n != fmt.Sprint(3*(round+1)) {
			t.Errorf("round %d: %s rows, position %s, %v; applied %s", round, n, at, err, applied)
		}
		_ = l.resume().kill()
		l.equal()
	}
}
