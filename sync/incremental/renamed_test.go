package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
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

// A table that was copied on its own keeps its columns when it is attached to a tree of which fewer are selected.
func TestTableAttachedToATreeWithColumns(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int PRIMARY KEY, secret text, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE alone (id int PRIMARY KEY, secret text, v text)`)
	l.destination(`ALTER TABLE p DROP secret`)
	l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("p", "", "id", "", "v", "")}})
	for _, unit := range []string{"p", "alone"} {
		if err := ledger.MarkCopied(t.Context(), l.d, l.cfg.Task, ledger.UnitPrefix+name("public", unit).String(), l.end()); err != nil {
			t.Fatal(err)
		}
		if err := ledger.MarkObject(t.Context(), l.d, l.cfg.Task, ledger.ClaimPrefix+name("public", unit).String()); err != nil {
			t.Fatal(err)
		}
	}
	l.source(`INSERT INTO alone VALUES (101, 's', 'v'); ALTER TABLE p ATTACH PARTITION alone FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (1, 's', 'v'), (102, 's', 'v')`)
	l.start().catchUp()
	l.equal("public.alone")
}

// A partition that is dropped before its changes are applied has them under the names of its tree.
func TestDroppedPartitionUnderOtherNames(t *testing.T) {
	t.Parallel()
	l := setup(t, `CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
		CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)`)
	l.destination(`ALTER TABLE p RENAME v TO w; DROP TABLE p2; CREATE TABLE rest PARTITION OF p DEFAULT`)
	l.begin(schema.Selection{All: true, Rules: []schema.TableRule{where("p", "", "id", "", "v", "w")}})
	r := l.start()
	l.source(`INSERT INTO p VALUES (1, 'v'), (101, 'v')`)
	r.catchUp()
	_ = r.kill()
	l.source(`INSERT INTO p VALUES (2, 'v'), (102, 'v')`)
	l.source(`DROP TABLE p1, p2`)
	l.start().catchUp()
	if n := l.one(l.d, `SELECT count(*) FROM p WHERE w = 'v'`); n != "4" {
		t.Errorf("%s rows", n)
	}
}
