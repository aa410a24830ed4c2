package incremental

import (
	"strconv"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"
)

// guestSQL finds truncated tables with rows that are not the task's: another task has a claim on them, or the task was to add
// its rows to what was there and did not create the table. Parameters: task, names of tables in the destination and, for each, of
// one in the source that it was made of, whether rows were added.
const guestSQL = `SELECT 1 FROM unnest($2::text[]) AS t (name)
	WHERE EXISTS (SELECT FROM pgsyncd.objects o WHERE o.task <> $1::uuid AND o.key = '` + ledger.ClaimPrefix + `' || t.name)
	UNION ALL
	SELECT 1 FROM unnest($2::text[], $3::text[]) AS t (name, source)
	LEFT JOIN pgsyncd.objects o ON o.task = $1::uuid AND o.key = 'TABLE ' || t.source
	GROUP BY t.name HAVING $4::bool AND pg_catalog.count(o.key) = 0`

// guest queues the check that a TRUNCATE takes away no rows but the task's own. It comes after the TRUNCATE, whose lock
// nobody's rows can pass before the transaction ends.
func (a *applier) guest(p *pipeline, c *change, origin int) {
	var names, sources []schema.Name
	for _, t := range c.truncated {
		source := t.relation.name
		root := a.top(source)
		if !t.root {
			names, sources = append(names, t.name), append(sources, source)
		}
		if t.root || root != source {
			names, sources = append(names, a.cfg.Selection.Target(root)), append(sources, root)
		}
	}
	p.run(p.s.statement(guestSQL, nil), [][]byte{
		[]byte(a.cfg.Task), textList(names), textList(sources), strconv.AppendBool(nil, a.cfg.Append),
	}, 0, origin)
}

// textList writes names as an array.
func textList(names []schema.Name) []byte {
	return encodeText(len(names), ',', func(i int) []byte { return []byte(names[i].String()) })
}
