package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
)

// A column that the task takes by its name must not be left out because it has another name now.
func TestSelectedColumnThatIsRenamed(t *testing.T) {
	t.Parallel()
	for _, identity := range []string{"DEFAULT", "FULL"} {
		t.Run(identity, func(t *testing.T) {
			t.Parallel()
			l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, secret text, v text, g int GENERATED ALWAYS AS (id * 2) STORED); ALTER TABLE t REPLICA IDENTITY `+identity)
			l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("t", "", "id", "", "v", "", "g", "")}})
			r := l.start()
			l.source(`INSERT INTO t VALUES (1, 's', 'v')`)
			r.catchUp()
			l.source(`ALTER TABLE t RENAME v TO w; INSERT INTO t VALUES (2, 's', 'v')`)
			if err := r.stops(); endpoint.Retryable(err) || !strings.Contains(err.Error(), `column "v"`) {
				t.Errorf("ended with %v", err)
			}
			if n := l.one(l.d, `SELECT count(*) FROM t WHERE v = 'v'`); n != "1" || l.one(l.d, `SELECT count(*) FROM t`) != n {
				t.Errorf("%s rows", n)
			}
			l.source(`ALTER TABLE t RENAME w TO v`)
			if err := l.start().stops(); endpoint.Retryable(err) { // the change itself still has the other name
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// Whoever drops a column on both sides does not need it any more.
func TestSelectedColumnThatIsDropped(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE t (id int PRIMARY KEY, secret text, v text); ALTER TABLE t REPLICA IDENTITY FULL`)
	l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("t", "", "id", "", "v", "")}})
	l.source(`ALTER TABLE t DROP v; INSERT INTO t VALUES (1, 's')`)
	if err := l.start().stops(); endpoint.Retryable(err) {
		t.Errorf("ended with %v", err)
	}
	l.destination(`ALTER TABLE t DROP v`)
	l.start().catchUp()
	if n := l.one(l.d, `SELECT count(*) FROM t`); n != "1" {
		t.Errorf("%s rows", n)
	}
}
