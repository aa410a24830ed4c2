package incremental

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// target is where the changes of one relation go, in the shape that both have now.
type target struct {
	relation *relation
	oid      uint32
	name     schema.Name
	only     string // "ONLY " where children must not be touched
	root     bool   // it stands in for the missing partition that the relation is
	columns  []targetColumn
	absent   []schema.ColumnRule // columns that are selected and that the relation does not have
	extra    []string            // quoted names of columns that the relation does not have and that are not computed
	after    pglogrepl.LSN       // changes of transactions that committed before are in the copy already

	key    []int // columns that address a row, nil: the whole row does, or nothing
	whole  bool  // rows are addressed by all their columns
	lost   bool  // the task does not take a column of the replica identity
	equal  []string
	unique bool // at most one row has a key: a unique index says so

	others  bool // there are unique or exclusion indexes besides the key's
	ordered bool // triggers or rules fire for this session: statements must be the source's, one by one
	shared  bool // other relations go there too
}

// targetColumn is the destination's column for one of the relation's.
type targetColumn struct {
	plain     string // its name
	name      string // quoted
	omitted   bool   // the task does not take the relation's column, so there is none: nothing else is known
	typeOID   uint32
	typmod    int32
	typeSQL   string // with modifier
	arrayOID  uint32 // 0: arrays of it travel as text[]
	baseSQL   string // without modifier
	delimiter string // of arrays
	builtin   bool
	generated bool // computed: takes no value
	always    bool // GENERATED ALWAYS AS IDENTITY: an UPDATE cannot set it
}

// takes reports whether the column is given values.
func (c *targetColumn) takes() bool { return !c.generated && !c.omitted }

// index of the destination with its columns as positions in the relation.
type index struct {
	columns []int // -1: not a column of the relation
	equal   []string
	primary bool
	usable  bool // unique, immediate, of plain columns that are not null, for all rows
}

// findTable returns the destination's table of that name.
func (s *session) findTable(ctx context.Context, name schema.Name) (oid uint32, kind string, found bool, err error) {
	err = s.conn.QueryRow(ctx, `SELECT c.oid, c.relkind::text FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`, name.Schema, name.Name).Scan(&oid, &kind)
	if err == pgx.ErrNoRows { //nolint:errorlint // pgx returns it bare
		return 0, "", false, nil
	}
	if err != nil {
		return 0, "", false, fmt.Errorf("look for %s in the destination: %w", name, err)
	}
	return oid, kind, true, nil
}

// below reports whether a table is the given partitioned one or a partition of it, or one that the task copied on its own.
func (s *session) below(ctx context.Context, oid, root uint32, name schema.Name) (yes bool, err error) {
	err = s.conn.QueryRow(ctx, `
		WITH RECURSIVE up (oid) AS (
			SELECT $1::pg_catalog.oid
			UNION ALL
			SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN up ON up.oid = i.inhrelid)
		SELECT EXISTS (SELECT FROM up WHERE up.oid = $2) OR EXISTS (SELECT FROM pgsyncd.objects o WHERE o.task = $3::uuid AND o.key = $4)`,
		oid, root, s.task, ledger.ClaimPrefix+name.String()).Scan(&yes)
	if err != nil {
		return false, fmt.Errorf("look for the tree of %s in the destination: %w", name, err)
	}
	return yes, nil
}

// describe fills a target whose oid, name and names of columns are known.
func (s *session) describe(ctx context.Context, t *target) error {
	if err := s.describeColumns(ctx, t); err != nil {
		return fmt.Errorf("describe %s: %w", t.name, err)
	}
	indexes, err := s.describeIndexes(ctx, t)
	if err != nil {
		return fmt.Errorf("describe indexes of %s: %w", t.name, err)
	}
	t.address(indexes)
	if err := s.describeTree(ctx, t); err != nil {
		return fmt.Errorf("describe triggers of %s: %w", t.name, err)
	}
	return nil
}

func (s *session) describeColumns(ctx context.Context, t *target) error {
	identity, generated := `''::text`, `''::text`
	if s.version >= 100000 {
		identity = `a.attidentity::text`
	}
	if s.version >= 120000 {
		generated = `a.attgenerated::text`
	}
	// Domains and arrays have no array type everywhere, and unnest takes composite values apart, also those under a domain; such
	// values go as an array of text and are cast.
	rows, err := s.conn.Query(ctx, `SELECT a.attname, a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod),
			pg_catalog.format_type(a.atttypid, -1), CASE WHEN t.typtype IN ('c', 'd') THEN 0 ELSE t.typarray END::pg_catalog.oid, t.typdelim::text,
			t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace, `+generated+` <> '', `+identity+` = 'a'
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, t.oid)
	if err != nil {
		return err
	}
	there := map[string]targetColumn{}
	var c targetColumn
	_, err = pgx.ForEachRow(rows, []any{
		&c.plain, &c.typeOID, &c.typmod, &c.typeSQL, &c.baseSQL, &c.arrayOID, &c.delimiter,
		&c.builtin, &c.generated, &c.always,
	}, func() error {
		c.name = pgx.Identifier{c.plain}.Sanitize()
		there[c.plain] = c
		return nil
	})
	if err != nil {
		return err
	}
	for i := range t.columns {
		own := &t.columns[i]
		if own.omitted {
			continue
		}
		c, ok := there[own.plain]
		if !ok {
			return permanentf("the destination has no column %s", pgx.Identifier{own.plain}.Sanitize())
		}
		delete(there, own.plain)
		*own = c
	}
	for _, c := range t.absent {
		// The source does not send what the destination computes too. Anything else may well be there under another name.
		if own, ok := there[cmp.Or(c.As, c.Name)]; ok && !own.generated {
			return permanentf("the source does not send column %s, which is selected: it was renamed or dropped there; "+
				"if it was dropped, drop column %s in the destination too, else reset the task",
				pgx.Identifier{c.Name}.Sanitize(), own.name)
		}
	}
	t.extra = nil
	for _, c := range there {
		if !c.generated {
			t.extra = append(t.extra, c.name)
		}
	}
	slices.Sort(t.extra)
	return s.fit(ctx, t)
}

func (s *session) describeIndexes(ctx context.Context, t *target) ([]index, error) {
	natts := `i.indnatts`
	if s.version >= 110000 {
		natts = `i.indnkeyatts` // without INCLUDE
	}
	rows, err := s.conn.Query(ctx, `
		SELECT i.indisprimary,
			i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
				AND coalesce(pg_catalog.bool_and(a.attnotnull), false),
			pg_catalog.array_agg(coalesce(a.attname::text, '') ORDER BY k.n),
			pg_catalog.array_agg(coalesce('OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')', '') ORDER BY k.n)
		FROM pg_catalog.pg_index i
		CROSS JOIN LATERAL pg_catalog.generate_series(0, `+natts+` - 1) AS k (n)
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n] AND a.attnum > 0
		LEFT JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[k.n]
		LEFT JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3 AND m.amoppurpose = 's'
			AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
		LEFT JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
		LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
		WHERE i.indrelid = $1 AND (i.indisunique OR i.indisexclusion)
		GROUP BY i.indexrelid, i.indisprimary, i.indisunique, i.indimmediate, i.indisvalid, i.indpred, i.indexprs
		ORDER BY i.indisprimary DESC, i.indexrelid`, t.oid)
	if err != nil {
		return nil, err
	}
	positions := map[string]int{}
	for i := range t.columns {
		if !t.columns[i].omitted {
			positions[t.columns[i].plain] = i
		}
	}
	var indexes []index
	var x index
	var names []string
	_, err = pgx.ForEachRow(rows, []any{&x.primary, &x.usable, &names, &x.equal}, func() error {
		x.columns = nil
		for _, name := range names {
			i, ok := positions[name]
			if !ok {
				i = -1
			}
			x.columns = append(x.columns, i)
		}
		x.usable = x.usable && !slices.Contains(x.columns, -1) && !slices.Contains(x.equal, "")
		x.equal = slices.Clone(x.equal)
		indexes = append(indexes, x)
		return nil
	})
	return indexes, err
}

// address decides how rows are found. The replica identity's columns do it, with the operators of a unique index on just
// these columns if there is one. Under identity full the old row is known entirely, so any unique index of the destination
// can pick the row: it holds for every row that is there. Without one, all columns together must. Where the task does not take
// a column of the replica identity, nothing addresses a row.
func (t *target) address(indexes []index) {
	t.key, t.equal, t.unique, t.whole, t.lost, t.others = nil, nil, false, false, false, false
	full := t.relation.identity == 'f'
	var flagged []int
	for i, c := range t.relation.columns {
		if c.key && !full {
			flagged = append(flagged, i)
			t.lost = t.lost || t.columns[i].omitted
		}
	}
	chosen := -1
	for i, x := range indexes {
		if !x.usable || chosen >= 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(x.columns))
		if full || slices.Equal(sorted, flagged) {
			chosen = i
		}
	}
	t.others = len(indexes) > 1 || len(indexes) == 1 && chosen < 0
	switch {
	case chosen >= 0:
		t.key, t.equal, t.unique = indexes[chosen].columns, indexes[chosen].equal, true
	case full:
		t.whole = true
	case t.lost:
	default:
		t.key = flagged
		for _, i := range flagged {
			equal := "OPERATOR(pg_catalog.=)"
			if !t.columns[i].builtin {
				equal = "" // by text
			}
			t.equal = append(t.equal, equal)
		}
	}
}

// describeTree looks for what makes the order of statements matter, in the table and below.
func (s *session) describeTree(ctx context.Context, t *target) error {
	var below bool
	err := s.conn.QueryRow(ctx, `
		WITH RECURSIVE tree (oid) AS (
			SELECT $1::pg_catalog.oid
			UNION ALL
			SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON tree.oid = i.inhparent WHERE $2)
		SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger g JOIN tree ON g.tgrelid = tree.oid WHERE g.tgenabled IN ('A', 'R'))
			OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r JOIN tree ON r.ev_class = tree.oid
				WHERE r.ev_enabled IN ('A', 'R') AND r.ev_type <> '1'),
			EXISTS (SELECT FROM pg_catalog.pg_index i JOIN tree ON i.indrelid = tree.oid
				WHERE tree.oid <> $1 AND (i.indisunique OR i.indisexclusion)
				AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid))`,
		t.oid, t.only == "").Scan(&t.ordered, &below)
	t.others = t.others || below
	return err
}

// foldable reports whether the net change of a batch can stand for its changes.
func (t *target) foldable() bool {
	if t.ordered || t.shared || t.others {
		return false
	}
	for i, c := range t.columns {
		if c.always && !slices.Contains(t.key, i) {
			return false
		}
	}
	return t.whole || t.unique || len(t.key) == 0
}

// allSent refuses a row that is not known entirely. The source makes an insert of an update that moves a row into the condition of
// its table; values that are stored out of line and were not touched come with it only where the old row does.
func (t *target) allSent(e *event) error {
	for i, v := range e.new {
		if isUnchanged(v) && t.columns[i].takes() {
			return permanentf("an update at %s moved a row of %s into the condition of the table, and the value of column %s was not sent; "+
				"run ALTER TABLE %[2]s REPLICA IDENTITY FULL on the source, then reset the task",
				e.tx.at, t.relation.name, pgx.Identifier{t.relation.columns[i].name}.Sanitize())
		}
	}
	return nil
}

// list joins what f makes of the columns at the given positions.
func (t *target) list(columns []int, separator string, f func(n, column int) string) string {
	parts := make([]string, len(columns))
	for n, c := range columns {
		parts[n] = f(n, c)
	}
	return strings.Join(parts, separator)
}
