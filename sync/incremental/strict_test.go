package incremental

import (
	"errors"
	"strconv"
	"testing"

	"pgsyncd/testenv"
)

// strictSession is one on a table with rows 1 to 3, all with n = 0.
func strictSession(t *testing.T) *session {
	t.Helper()
	cluster := testenv.Shared(t)
	conn := cluster.Connect(t, cluster.Database(t))
	if _, err := conn.Exec(t.Context(), `CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0); INSERT INTO t SELECT generate_series(1, 3)`); err != nil {
		t.Fatal(err)
	}
	return &session{conn: conn, pg: conn.PgConn(), version: cluster.VersionNum(), prepared: map[string]*statement{}, rows: map[*target]map[string]rowStatement{}}
}

// What is sent at once is committed at once, or not at all when one of the statements affects another number of rows than it should; what
// follows in a transaction of its own is done in either case.
func TestStrictPipeline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id, sum int
		failure *failure
	}{
		"all there":   {id: 2, sum: 2},
		"one missing": {id: 7, sum: 0, failure: &failure{origin: 1, rows: unknownRows}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := strictSession(t)
			for _, once := range []bool{false, true} {
				update := s.statement(`UPDATE t SET n = 1 WHERE id = $1`, []uint32{oidInt4})
				if once {
					update = &statement{sql: `UPDATE t SET n = 1 WHERE id = $1`, types: []uint32{oidInt4}, once: true}
				}
				p := s.start(t.Context())
				p.sure = true
				for i, id := range []int{1, c.id} {
					p.run(update, [][]byte{strconv.AppendInt(nil, int64(id), 10)}, 1, i)
				}
				p.sync()
				p.sure = false
				p.run(s.statement(`UPDATE t SET n = n WHERE id = 3`, nil), nil, 1, originFrame)
				err := p.wait()
				var f *failure
				if errors.As(err, &f); c.failure == nil && err != nil || c.failure != nil && (f == nil || *f != *c.failure) {
					t.Errorf("once %t: %v", once, err)
				}
				var sum int
				if err := s.conn.QueryRow(t.Context(), `SELECT sum(n) FROM t`).Scan(&sum); err != nil || sum != c.sum {
					t.Errorf("once %t: sum %d, %v", once, sum, err)
				}
			}
		})
	}
}

// A batch that could not be sent to its end is taken back with what was sent of it.
func TestStrictPipelineTakenBack(t *testing.T) {
	t.Parallel()
	s := strictSession(t)
	var err error
	if s.rollback, err = s.prepare(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	p := s.start(t.Context())
	p.sure = true
	p.run(s.statement(`UPDATE t SET n = 1`, nil), nil, 3, 0)
	p.run(s.rollback, nil, anyRows, originFrame)
	if err := p.wait(); err != nil {
		t.Error(err)
	}
	var sum int
	if err := s.conn.QueryRow(t.Context(), `SELECT sum(n) FROM t`).Scan(&sum); err != nil || sum != 0 {
		t.Errorf("sum %d, %v", sum, err)
	}
}
