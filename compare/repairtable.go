package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// unit is the part of a repair that is about one table of the destination.
type unit struct {
	*repair
	result   catalog.CompareTable
	pair     pair
	parts    []schema.Table // of the source
	columns  []column       // that are compared
	key      []column       // of these; nil: a row is its content
	target   target
	shared   bool   // the destination's table may have rows of others
	refusal  string // why none of its rows can be repaired
	suspects []*suspect
}

// suspect is a row, known by its key or else by its content, that was reported as different; of a row without a key there may be
// several copies.
type suspect struct {
	values   map[string]*string // of the key, or all
	text     string             // of these, which tells it from others
	reported []catalog.CompareRow
	noted    [2]string // its versions in the source and in the destination at first
	refusal  string
	steps    []*step // as many as reported
	more     int     // how many more copies differ than were reported
}

// step is what is to be done about one reported row.
type step struct {
	of       *suspect
	reported catalog.CompareRow
	from     *version // of the source; nil: there is no such row
	over     *version // of the destination; nil: there is no such row
	done     string   // the statements that were executed, or would be
	outcome  string   // empty: it is still to be done
}

// target is a table of the destination that is written to.
type target struct {
	columns    []targetColumn
	partitions bool
	deferrable [][]string // columns of its deferrable unique constraints
}

type targetColumn struct {
	name      string
	plain     bool // of a built-in type, whose operators are always found
	generated bool // takes no value
	always    bool // an identity column whose value cannot be updated
}

// describeSQL asks for the columns of a table. Older servers have no such attributes, hence the detour by JSON.
const describeSQL = `SELECT c.relkind::text, a.attname::text, a.atttypid < 10000 AS plain,
	coalesce(pg_catalog.row_to_json(a) ->> 'attgenerated', '') <> '' AS generated,
	coalesce(pg_catalog.row_to_json(a) ->> 'attidentity', '') = 'a' AS always
	FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum`

// describe finds out how the table is read and written.
func (u *unit) describe(ctx context.Context) error {
	u.parts = u.job.parts(u.pair)
	u.columns, _ = columns(u.parts)
	u.key = key(u.parts, u.columns)
	rows, err := u.sides.destination.Query(ctx, describeSQL, u.pair.target.Schema, u.pair.target.Name)
	if err != nil {
		return fmt.Errorf("describe %s in the destination: %w", u.pair.target, err)
	}
	defer rows.Close()
	kind := ""
	for rows.Next() {
		var name *string
		var plain *bool
		c := targetColumn{}
		if err := rows.Scan(&kind, &name, &plain, &c.generated, &c.always); err != nil {
			return fmt.Errorf("describe %s in the destination: %w", u.pair.target, err)
		}
		if name != nil {
			c.name, c.plain = *name, *plain
			u.target.columns = append(u.target.columns, c)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("describe %s in the destination: %w", u.pair.target, err)
	}
	u.target.partitions = kind == "p"
	switch missing := u.lacking(); {
	case kind == "":
		u.refusal = "refused: the destination has no such table"
	case kind != "r" && kind != "p":
		u.refusal = "refused: it is not a table in the destination"
	case missing != nil:
		u.refusal = "refused: the destination has no such column: " + quoted(missing)
	}
	if u.refusal != "" {
		return nil
	}
	if err := u.constraints(ctx); err != nil {
		return err
	}
	u.shared, err = u.job.shared(ctx, u.sides.destination, u.pair.target)
	return err
}

// constraints finds the constraints that PostgreSQL does not check for replicas, since a trigger checks those that are deferrable.
func (u *unit) constraints(ctx context.Context) error {
	const sql = `SELECT k.contype::text, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey))
		FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND k.condeferrable AND k.contype IN ('p', 'u', 'x')`
	rows, err := u.sides.destination.Query(ctx, sql, u.pair.target.Schema, u.pair.target.Name)
	if err != nil {
		return fmt.Errorf("read constraints of %s in the destination: %w", u.pair.target, err)
	}
	var kind string
	var names []string
	if _, err := pgx.ForEachRow(rows, []any{&kind, &names}, func() error {
		if kind == "x" {
			u.refusal = "refused: the destination's table has a deferrable exclusion constraint, which is not checked for replicas"
		}
		u.target.deferrable = append(u.target.deferrable, names)
		return nil
	}); err != nil {
		return fmt.Errorf("read constraints of %s in the destination: %w", u.pair.target, err)
	}
	return nil
}

// lacking are the columns of the source that the destination has not.
func (u *unit) lacking() (names []string) {
	for _, t := range u.parts {
		for _, c := range t.Columns {
			if u.target.column(c.Target) == nil && !slices.Contains(names, c.Target) {
				names = append(names, c.Target)
			}
		}
	}
	return names
}

func (t *target) column(name string) *targetColumn {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// identity are the columns whose values tell a row from others.
func (u *unit) identity() []column {
	if u.key != nil {
		return u.key
	}
	return u.columns
}

// textOf is one text for values; different values have different texts.
func (u *unit) textOf(row map[string]*string) string {
	var b strings.Builder
	for _, c := range u.identity() {
		if v := row[c.target]; v != nil {
			fmt.Fprintf(&b, "%d %s", len(*v), *v)
		}
		b.WriteByte(',')
	}
	return b.String()
}

// suspect puts reported rows together that are copies of each other.
func (u *unit) suspect(reported []catalog.CompareRow) {
	known := map[string]*suspect{}
	for _, row := range reported {
		s := &suspect{values: row.Key}
		if row.Key == nil {
			s.values = row.SourceRow
		}
		if s.values == nil {
			s.values = row.DestinationRow
		}
		s.text = u.textOf(s.values)
		switch {
		case u.refusal != "":
			s.refusal = u.refusal
		case (row.Key == nil) != (u.key == nil) || !u.identifies(s.values):
			s.refusal = "refused: the table's key or columns were changed since; compare again"
		case row.Shortened && (u.key == nil || !whole(s.values)):
			s.refusal = "refused: what identifies the row was not kept whole, so it cannot be found again"
		}
		if same := known[s.text]; same != nil && same.refusal == s.refusal {
			same.reported = append(same.reported, row)
			continue
		}
		s.reported = []catalog.CompareRow{row}
		known[s.text] = s
		u.suspects = append(u.suspects, s)
	}
}

func (u *unit) identifies(row map[string]*string) bool {
	return !slices.ContainsFunc(u.identity(), func(c column) bool { _, ok := row[c.target]; return !ok })
}

// whole reports whether values are certainly not shortened or replaced.
func whole(row map[string]*string) bool {
	for _, v := range row {
		if v != nil && (len(*v) >= longest || strings.ContainsRune(*v, '\uFFFD')) {
			return false
		}
	}
	return true
}

// open are the suspects that are not refused.
func (u *unit) open() []*suspect {
	return slices.DeleteFunc(slices.Clone(u.suspects), func(s *suspect) bool { return s.refusal != "" })
}

// note notes the versions that the suspects have now, in the destination first.
func (u *unit) note(ctx context.Context) error {
	for i, look := range []func(context.Context, lookFor) (map[string][]version, error){u.lookDestination, u.lookSource} {
		found, err := look(ctx, lookFor{suspects: u.open()})
		if err != nil {
			return err
		}
		for _, s := range u.open() {
			s.noted[1-i] = ids(found[s.text])
		}
	}
	return nil
}

// mend deals with the suspects, and reports whether it has changed any. Settled says that every transaction that may have been applied
// is visible in the source.
func (u *unit) mend(ctx context.Context, settled bool) (bool, error) {
	source, err := u.lookSource(ctx, lookFor{suspects: u.open()})
	if err != nil {
		return false, err
	}
	destination, err := u.lookDestination(ctx, lookFor{suspects: u.open(), lock: !u.dry})
	if err != nil {
		return false, err
	}
	var steps []*step
	for _, s := range u.suspects {
		u.judge(s, settled, source[s.text], destination[s.text])
		for _, st := range s.steps {
			if st.outcome == "" {
				steps = append(steps, st)
			}
		}
	}
	if u.dry {
		for _, st := range steps {
			st.done, st.outcome = printed(u.plan(st, inPlace)), outcomePlanned
		}
		return false, nil
	}
	return u.write(ctx, steps)
}

// judge decides what to do about a suspect.
func (u *unit) judge(s *suspect, settled bool, source, destination []version) {
	outcome := s.refusal
	left, right := unequal(source, destination)
	n := max(len(left), len(right))
	switch {
	case outcome != "":
		n = 0
	case ids(source) != s.noted[0] || ids(destination) != s.noted[1]:
		outcome, n = outcomeMoved, 0
	case !settled:
		outcome, n = outcomeBusy, 0
	case n == 0:
		outcome = outcomeEqual
	case u.key != nil && len(source) > 1:
		outcome = "refused: several rows of the source have this key"
	case len(right) > 0 && u.shared:
		outcome = "refused: the destination's table has rows of others as well, and the row may be one of them"
	}
	s.more = max(0, n-len(s.reported))
	for i, row := range s.reported {
		st := &step{of: s, reported: row, outcome: outcome}
		if i < n {
			if i < len(left) {
				st.from = &left[i]
			}
			if i < len(right) {
				st.over = &right[i]
			}
			if outcome == "" {
				st.outcome = u.unwritable(st)
			}
		} else if outcome == "" {
			st.outcome = outcomeEqual
		}
		s.steps = append(s.steps, st)
	}
}

// unwritable says why a row cannot be made equal: what differs are columns that the destination computes.
func (u *unit) unwritable(st *step) string {
	if st.from == nil || st.over == nil {
		return ""
	}
	var generated []string
	for name, v := range st.from.row {
		switch {
		case sameText(v, st.over.row[name]):
		case !u.target.column(name).generated:
			return ""
		default:
			generated = append(generated, name)
		}
	}
	if generated == nil {
		return "" // the difference does not show in the texts
	}
	slices.Sort(generated)
	return "refused: only columns differ that the destination computes: " + quoted(generated)
}

func sameText(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// rows is what became of the reported rows.
func (u *unit) rows() (rows []catalog.RepairRow) {
	for _, s := range u.suspects {
		for _, st := range s.steps {
			row := catalog.RepairRow{
				SourceTable: u.result.SourceTable, DestinationTable: u.result.DestinationTable, Kind: st.reported.Kind, Key: st.reported.Key,
				Statement: st.done, Outcome: st.outcome,
			}
			if st.outcome == catalog.OutcomeRepaired {
				if st.over != nil {
					row.Before = st.over.row
				}
				if st.from != nil {
					row.After = st.from.row
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}
