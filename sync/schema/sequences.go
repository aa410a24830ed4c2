package schema

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// sequences reads those that are selected, and those that the selected columns own.
func (r *reader) sequences(ctx context.Context) error {
	var oids []uint32
	for _, oid := range r.order {
		if rel := r.inv.relations[oid]; rel.Kind == 'S' && rel.exclusion() == "" {
			oids = append(oids, oid)
		} else if rel.Kind == 'S' && r.scope.takes('S', rel.name()) && !r.scope.excepts('S', rel.name()) {
			r.inv.refused[oid] = true
		}
	}
	list, owners, err := readSequences(ctx, r.q, r.inv.Version, oids)
	if err != nil {
		return err
	}
	for i, s := range list {
		if r.takesSequence(s, owners[i]) {
			s.Target = r.sel.Target(s.Name)
			// A sequence must be in the schema of the table that owns it.
			if t := r.owner(s); t != nil && !r.sel.renames(s.Name) {
				s.Target.Schema = t.Target.Schema
			}
			r.inv.selected[s.OID] = true
			r.inv.Sequences = append(r.inv.Sequences, s)
		}
	}
	first := map[Name]*Table{}
	for i := range r.inv.Tables {
		t := &r.inv.Tables[i]
		if first[t.Target] == nil {
			first[t.Target] = t
		}
	}
	r.partSequences(first)
	r.shareSequences(first)
	return readValues(ctx, r.q, r.inv.Version, r.inv.Sequences)
}

// partSequences gives sequences that follow their tables, so that nobody has named them, names of their own where several tables bring
// one: those that PostgreSQL would choose. The oldest keeps its name, whatever is made later.
func (r *reader) partSequences(first map[Name]*Table) {
	taken := map[Name]bool{}
	for target := range first {
		taken[target] = true
	}
	for _, v := range r.inv.Views {
		taken[v.Target] = true
	}
	for _, v := range r.inv.Matviews {
		taken[v.Target] = true
	}
	var moved []*Sequence
	for i := range r.inv.Sequences {
		s := &r.inv.Sequences[i]
		switch t := r.owner(*s); {
		case t == nil || s.Target == s.Name || r.sel.renames(s.Name):
			taken[s.Target] = true
		case first[t.Target] == t:
			moved = append(moved, s)
		}
	}
	slices.SortFunc(moved, func(a, b *Sequence) int { return cmp.Compare(a.OID, b.OID) })
	for _, s := range moved {
		for n := 0; taken[s.Target]; n++ {
			t := r.owner(*s)
			s.Target.Name = sequenceName(t.Target.Name, t.column(s.OwnerColumn).Target, n)
		}
		taken[s.Target] = true
	}
}

// sequenceName is makeObjectName of PostgreSQL's src/backend/commands/indexcmds.c: table_column_seq, with a number behind it if n is not
// 0, in which the longer part is cut to make it fit.
func sequenceName(table, column string, n int) string {
	label := "_seq"
	if n > 0 {
		label += strconv.Itoa(n)
	}
	room := maxIdentifier - len(label) - len("_")
	a, b := len(table), len(column)
	for a+b > room {
		if a > b {
			a--
		} else {
			b--
		}
	}
	return clip(table, a) + "_" + clip(column, b) + label
}

// clip cuts a text to a number of bytes without parting a character.
func clip(text string, size int) string {
	for size > 0 && size < len(text) && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

// shareSequences gives the sequences of tables that are one in the destination one name there: that of the first table's sequence.
// A sequence of a column where the first table has none is not needed.
func (r *reader) shareSequences(first map[Name]*Table) {
	type owner struct {
		table  Name
		column string // in the destination
	}
	targets := map[owner]Name{}
	for _, s := range r.inv.Sequences {
		if t := r.owner(s); t != nil && first[t.Target] == t {
			targets[owner{t.Target, t.column(s.OwnerColumn).Target}] = s.Target
		}
	}
	kept := r.inv.Sequences[:0]
	for _, s := range r.inv.Sequences {
		if t := r.owner(s); t != nil && first[t.Target] != t {
			target, ok := targets[owner{t.Target, t.column(s.OwnerColumn).Target}]
			if !ok {
				delete(r.inv.selected, s.OID)
				continue
			}
			s.Target = target
		}
		kept = append(kept, s)
	}
	r.inv.Sequences = kept
}

// owner returns the table with the selected column that owns the sequence, nil when there is none.
func (r *reader) owner(s Sequence) *Table {
	if s.OwnedBy == nil {
		return nil
	}
	if t := r.inv.Table(*s.OwnedBy); t != nil && t.column(s.OwnerColumn) != nil {
		return t
	}
	return nil
}

// takesSequence decides about a sequence. One that a column owns goes with that column, unless it is selected by its own name.
func (r *reader) takesSequence(s Sequence, owner uint32) bool {
	if r.scope.names['S'][s.Name] {
		return !s.Identity || r.tables[owner] != nil
	}
	if t := r.tables[owner]; t != nil {
		return t.column(s.OwnerColumn) != nil
	}
	// The owner is not supported, or excepted.
	rel, owned := r.inv.relations[owner]
	return r.scope.takes('S', s.Name) && !r.scope.excepts('S', s.Name) && (!owned || r.selects(rel))
}

// readSequences reads the parameters of sequences, and the OIDs of the tables that own them, in parallel slices.
func readSequences(ctx context.Context, q Querier, version int, oids []uint32) (list []Sequence, owners []uint32, err error) {
	rows, err := q.Query(ctx, forVersion(sequencesSQL, version), oids)
	if err != nil {
		return nil, nil, err
	}
	var s Sequence
	var owner *uint32
	var schema, table, column *string
	into := []any{
		&s.OID, &s.Name.Schema, &s.Name.Name, &s.Type, &s.Increment, &s.Min, &s.Max, &s.Cycle,
		&owner, &schema, &table, &column, &s.Identity, &s.Readable,
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		seq, oid := s, uint32(0)
		if owner != nil && schema != nil && table != nil && column != nil {
			oid = *owner
			seq.OwnedBy, seq.OwnerColumn = &Name{*schema, *table}, *column
		}
		list, owners = append(list, seq), append(owners, oid)
		return nil
	})
	return list, owners, err
}

// valuesPerQuery bounds how many sequences one statement reads: each is a relation to lock and plan.
const valuesPerQuery = 200

// readValues fills in the state of the sequences that the user may read. It reads the sequences themselves: pg_sequences (10+) hides
// last_value as long as is_called is false, and before 10 the parameters are kept nowhere else.
func readValues(ctx context.Context, q Querier, version int, list []Sequence) error {
	parameters := ""
	if version < 100000 {
		parameters = ", increment_by, min_value, max_value, is_cycled"
	}
	var readable []*Sequence
	for i := range list {
		if list[i].Readable {
			readable = append(readable, &list[i])
		}
	}
	for chunk := range slices.Chunk(readable, valuesPerQuery) {
		var sql []string
		for i, s := range chunk {
			sql = append(sql, fmt.Sprintf("SELECT %d, last_value, is_called%s FROM %s", i, parameters, s.Name))
		}
		rows, err := q.Query(ctx, strings.Join(sql, " UNION ALL "))
		if err != nil {
			return fmt.Errorf("sequences from %s on: %w", chunk[0].Name, err)
		}
		var i int
		var s Sequence
		into := []any{&i, &s.LastValue, &s.IsCalled}
		if parameters != "" {
			into = append(into, &s.Increment, &s.Min, &s.Max, &s.Cycle)
		}
		_, err = pgx.ForEachRow(rows, into, func() error {
			chunk[i].LastValue, chunk[i].IsCalled = s.LastValue, s.IsCalled
			if parameters != "" {
				chunk[i].Increment, chunk[i].Min, chunk[i].Max, chunk[i].Cycle = s.Increment, s.Min, s.Max, s.Cycle
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("sequences from %s on: %w", chunk[0].Name, err)
		}
	}
	return nil
}

// SequenceValues reads the present state of sequences, which is the same under every snapshot, in the order of names. A sequence that
// does not exist or cannot be read is an error.
func SequenceValues(ctx context.Context, q Querier, names []Name) ([]Sequence, error) {
	version, err := ServerVersion(ctx, q)
	if err != nil {
		return nil, err
	}
	schemas, relations := make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		schemas[i], relations[i] = n.Schema, n.Name
	}
	oids, err := query(ctx, q, `
SELECT c.oid FROM unnest($1::text[], $2::text[]) AS w (schema, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind = 'S'`,
		[]any{schemas, relations}, pgx.RowTo[uint32])
	if err != nil {
		return nil, fmt.Errorf("find sequences: %w", err)
	}
	found, _, err := readSequences(ctx, q, version, oids)
	if err != nil {
		return nil, fmt.Errorf("read sequences: %w", err)
	}
	if err := readValues(ctx, q, version, found); err != nil {
		return nil, fmt.Errorf("read %w", err)
	}
	byName := make(map[Name]Sequence, len(found))
	for _, s := range found {
		byName[s.Name] = s
	}
	list := make([]Sequence, len(names))
	for i, n := range names {
		s, ok := byName[n]
		switch {
		case !ok:
			return nil, fmt.Errorf("read sequence %s: it does not exist", n)
		case !s.Readable:
			return nil, fmt.Errorf("read sequence %s: no SELECT privilege on it or no USAGE on its schema", n)
		}
		list[i] = s
	}
	return list, nil
}
