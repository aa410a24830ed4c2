package incremental_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"

	"github.com/google/uuid"
)

// A TRUNCATE of the source must not take away the rows that another task, or somebody else, has in the same table.
func TestTruncateSparesTheRowsOfOthers(t *testing.T) {
	t.Parallel()
	const own = `TABLE "public"."t"`
	cases := []struct {
		name            string
		append          bool
		task, key, also string
		refused         bool
	}{
		{name: "of its own", key: own},
		{name: "with another task's rows", task: uuid.NewString(), key: ledger.ClaimPrefix + `"public"."t"`, refused: true},
		{
			name: "with another task's rows, referenced", task: uuid.NewString(), key: ledger.ClaimPrefix + `"public"."t"`,
			also: `CREATE TABLE own (t int REFERENCES t)`, refused: true,
		},
		{name: "with another task's rows in the tree", task: uuid.NewString(), key: ledger.ClaimPrefix + `"public"."p"`, refused: true},
		{name: "other tables are another task's", task: uuid.NewString(), key: ledger.ClaimPrefix + `"public"."tt"`},
		{name: "that was there before", append: true, refused: true},
		{name: "that the task created to append", append: true, key: own},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ddl, truncate := `CREATE TABLE t (id int PRIMARY KEY)`, `TRUNCATE t`
			if strings.Contains(c.key, `"p"`) {
				ddl = `CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE t PARTITION OF p DEFAULT`
			}
			l := setup(t, ddl)
			l.cfg.Append = c.append
			l.destination(c.also)
			if c.task == "" {
				c.task = l.cfg.Task
			}
			if err := ledger.MarkObject(t.Context(), l.d, c.task, c.key); err != nil {
				t.Fatal(err)
			}
			r := l.start()
			l.source(`INSERT INTO t VALUES (1)`)
			r.catchUp()
			l.source(truncate)
			if !c.refused {
				r.catchUp()
				l.equal("public.t")
				return
			}
			if err := r.wait(); err == nil || endpoint.Retryable(err) || !strings.Contains(err.Error(), "rows of others") {
				t.Errorf("ended with %v", err)
			}
			if n := l.one(l.d, `SELECT count(*) FROM t`); n != "1" {
				t.Errorf("%s rows", n)
			}
		})
	}
}
