package incremental

import (
	"strconv"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
)

// guestSQL finds truncated tables with rows that are not the task's: another task has a claim on them, or the task was to add
// its rows to what was there and did not create the table. Parameters: task, table names, whether rows were added.
const guestSQL = `SELECT 1 FROM unnest($2::text[]) AS t (name)
	WHERE EXISTS (SELECT FROM pgsyncd.objects o WHERE o.task <> $1::uuid AND o.key = '` + ledger.ClaimPrefix + `' || t.name)
		OR $3::bool AND NOT EXISTS (SELECT FROM pgsyncd.objects o WHERE o.task = $1::uuid AND o.key = 'TABLE ' || t.name)`

// guest queues the check that a TRUNCATE takes away no rows but the task's own. It comes after the TRUNCATE, whose lock
// nobody's rows can pass before the transaction ends.
func (a *applier) guest(p *pipeline, c *change, origin int) {
	var names []schema.Name
	for _, t := range c.truncated {
		names = append(names, t.name)
		if root := a.stream.counters.root(t.relation.name); root != t.name {
			names = append(names, root)
		}
	}
	list := encodeText(len(names), ',', func(i int) []byte { return []byte(names[i].String()) })
	p.run(a.dst.statement(guestSQL, nil), [][]byte{[]byte(a.cfg.Task), list, strconv.AppendBool(nil, a.cfg.Append)}, 0, origin)
}
