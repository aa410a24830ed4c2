package schema_test

import (
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// A database whose keys are made of indexes is the same as one whose keys are made at once.
func TestConstraintsUsingIndexes(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, `CREATE SCHEMA keys;
		CREATE TABLE keys.keys (a int, b int, c text, d int, "e f" int,
			CONSTRAINT "the k;ey" PRIMARY KEY (b, a) INCLUDE (d) WITH (fillfactor = 60),
			UNIQUE NULLS NOT DISTINCT (c), UNIQUE (d) DEFERRABLE, UNIQUE ("e f", a) DEFERRABLE INITIALLY DEFERRED);
		ALTER TABLE keys.keys CLUSTER ON "the k;ey"; ALTER TABLE keys.keys REPLICA IDENTITY USING INDEX "the k;ey";`+testSQL(t, "rich.sql"))
	dst := newDatabase(t, destinationCluster, "")
	archive, plan := src.plan(t, schema.Selection{All: true}, schema.PlanOptions{Indexes: true})
	split := 0
	for i, e := range plan.Constraints {
		if (e.IndexDefinition == "") != (e.UsingIndex == "") {
			t.Errorf("%s has one half only", e.Key())
		}
		if e.UsingIndex != "" {
			plan.Constraints[i].Definition = e.IndexDefinition + "\n" + e.UsingIndex
			split++
		}
	}
	if split < len(plan.Constraints)-1 { // one exclusion constraint
		t.Errorf("%d of %d constraints can be made of an index", split, len(plan.Constraints))
	}
	for _, e := range plan.After {
		if e.UsingIndex != "" {
			t.Errorf("%s, of a partitioned table, would be made of an index", e.Key())
		}
	}
	dst.build(t, archive, plan)
	if diff := cmp.Diff(src.plainDump(t), dst.plainDump(t)); diff != "" {
		t.Errorf("structure differs (-source +destination):\n%s", diff)
	}
}
