package incremental

import (
	"slices"
	"strconv"
	"strings"
)

// Fewer changes than this to a table are not worth a set statement; where every row change scans the table, two are.
const (
	foldFrom      = 8
	foldFromWhole = 2
)

// step is a part of a batch between two barriers: TRUNCATE, or a change of a table's shape.
type step struct {
	from, to int
	folds    map[*target]*fold // those that can be sent as sets
	order    []*fold           // as they were begun
	rows     []int             // changes to apply one by one, in order
}

// plan divides a batch into steps, and the changes of each into those that fold and those that do not. Tables are independent
// of each other here: foreign keys and ordinary triggers do not fire. Where triggers do, everything goes in order.
func plan(changes []change) []step {
	var steps []step
	whole := func(from, to int) {
		if from < to {
			steps = append(steps, newStep(changes, from, to))
		}
	}
	shapes := map[uint32]*relation{}
	from := 0
	for i := range changes {
		c := &changes[i]
		if c.kind == kindTruncate {
			whole(from, i)
			steps = append(steps, step{from: i, to: i + 1, rows: []int{i}})
			from = i + 1
			continue
		}
		if shape := shapes[c.relation.oid]; shape != nil && shape != c.relation {
			whole(from, i)
			from = i
		}
		shapes[c.relation.oid] = c.relation
	}
	whole(from, len(changes))
	return steps
}

func newStep(changes []change, from, to int) step {
	count := map[*target]int{}
	for i := from; i < to; i++ {
		t := changes[i].target
		count[t]++
		if t.ordered {
			s := step{from: from, to: to}
			for i := from; i < to; i++ {
				s.rows = append(s.rows, i)
			}
			return s
		}
	}
	s := step{from: from, to: to, folds: map[*target]*fold{}}
	for t, n := range count {
		if t.foldable() && (n >= foldFrom || t.whole && n >= foldFromWhole) {
			s.folds[t] = newFold(t)
		}
	}
	for i := from; i < to; i++ {
		t := changes[i].target
		f := s.folds[t]
		if f == nil {
			continue
		}
		if f.count == 0 {
			s.order = append(s.order, f)
		}
		if !f.add(i, changes[i].event) {
			delete(s.folds, t)
		}
	}
	for i := from; i < to; i++ {
		if s.folds[changes[i].target] == nil {
			s.rows = append(s.rows, i)
		}
	}
	return s
}

// sendFold queues the set statements of one table, in the order that leaves a key free before it is taken. It returns false,
// and has queued nothing, when a value cannot be sent this way.
func (a *applier) sendFold(p *pipeline, f *fold) bool {
	var sets []setOf
	var deletes, inserts []tuple
	updates := map[string]int{}
	var counts []int64
	for i := range f.nets {
		n := &f.nets[i]
		switch {
		case f.t.whole && n.n < 0:
			deletes, counts = append(deletes, n.row), append(counts, -n.n)
		case f.t.whole:
			for range n.n {
				inserts = append(inserts, n.row)
			}
		case n.kind == netDelete:
			deletes = append(deletes, n.old)
		case n.kind == netInsert:
			inserts = append(inserts, n.row)
		case n.kind == netUpdate || n.kind == netReplace:
			columns := f.t.present(n.row)
			key := string(columnKey(nil, columns))
			at, ok := updates[key]
			if !ok {
				at = len(sets)
				updates[key] = at
				sets = append(sets, setOf{kind: kindUpdate, columns: columns})
			}
			sets[at].rows = append(sets[at].rows, n.row)
			sets[at].keys = append(sets[at].keys, n.old)
		}
	}
	if len(deletes) > 0 {
		sets = slices.Insert(sets, 0, setOf{kind: kindDelete, keys: deletes, counts: counts})
	}
	if len(inserts) > 0 {
		sets = append(sets, setOf{kind: kindInsert, columns: f.t.settable(), rows: inserts})
	}
	for i := range sets {
		if !a.prepareSet(f.t, &sets[i]) {
			return false
		}
	}
	for i := range sets {
		s := &sets[i]
		p.runFormats(s.st, s.args, s.formats, s.want, f.first)
	}
	return true
}

// setOf is one set statement with its rows.
type setOf struct {
	kind    kind
	columns []int   // that get values
	rows    []tuple // of values
	keys    []tuple // that address the rows
	counts  []int64 // of equal rows, where all columns address them

	st      *statement
	args    [][]byte
	formats []int16
	want    int64
}

// present are the columns an update of this row sets. Those of the key do not change.
func (t *target) present(row tuple) []int {
	var columns []int
	for i, c := range t.columns {
		if c.takes() && !c.always && !slices.Contains(t.key, i) && !isUnchanged(row[i]) {
			columns = append(columns, i)
		}
	}
	if len(columns) == 0 {
		columns = []int{t.key[0]}
	}
	return columns
}

func columnKey(key []byte, columns []int) []byte {
	for _, c := range columns {
		key = strconv.AppendInt(append(key, ' '), int64(c), 10)
	}
	return key
}

// prepareSet makes statement and arguments.
func (a *applier) prepareSet(t *target, s *setOf) bool {
	addressing := t.key
	if t.whole {
		addressing = t.settable()
	}
	var values, keys []int
	if s.kind != kindDelete {
		values = s.columns
	}
	if s.kind != kindInsert {
		keys = addressing
	}
	s.want = int64(len(s.rows))
	if s.kind == kindDelete {
		s.want = int64(len(s.keys))
	}
	for _, part := range []struct {
		columns []int
		rows    []tuple
	}{{values, s.rows}, {keys, s.keys}} {
		for _, c := range part.columns {
			form := arrayOf(&t.columns[c])
			arg, ok := form.encode(len(part.rows), func(i int) []byte { return part.rows[i][c] })
			if !ok {
				return false
			}
			s.args, s.formats = append(s.args, arg), append(s.formats, form.format())
		}
	}
	if s.counts != nil {
		s.want = 0
		arg, _ := arrayParam{element: oidInt8, binary: raw}.encode(len(s.counts), func(i int) []byte {
			s.want += s.counts[i]
			return binaryInt8(s.counts[i])
		})
		s.args, s.formats = append(s.args, arg), append(s.formats, 1)
	}
	s.st = a.setStatement(t, s.kind, values, keys)
	return true
}

func binaryInt8(n int64) []byte {
	out, _ := integer(64)(nil, strconv.AppendInt(nil, n, 10))
	return out
}

// setStatement returns the statement for these columns.
func (a *applier) setStatement(t *target, k kind, values, keys []int) *statement {
	key := string(columnKey([]byte("set "+string(k)), values))
	r, ok := a.rows[t][key]
	if ok {
		return r.st
	}
	w := setWriter{t: t}
	r.st = a.dst.statement(w.write(k, values, keys), w.types)
	if a.rows[t] == nil {
		a.rows[t] = map[string]rowStatement{}
	}
	a.rows[t][key] = r
	return r.st
}

// setWriter writes a set statement. The arrays are unnested as u, with one column per parameter: v and the column's number for
// values, k and the number for addressing values.
type setWriter struct {
	t       *target
	types   []uint32
	aliases []string
}

// take adds a column's array as a parameter and returns the expression for its elements, of the column's type.
func (w *setWriter) take(prefix string, column int) string {
	c := &w.t.columns[column]
	form := arrayOf(c)
	alias := prefix + strconv.Itoa(column)
	w.types, w.aliases = append(w.types, form.typeOID), append(w.aliases, alias)
	if form.cast {
		return "CAST(u." + alias + " AS " + c.baseSQL + ")"
	}
	return "u." + alias
}

// unnest is the relation u.
func (w *setWriter) unnest(ordinality string) string {
	places := make([]string, len(w.types))
	for i := range places {
		places[i] = "$" + strconv.Itoa(i+1)
	}
	aliases := w.aliases
	if ordinality != "" {
		aliases = append(slices.Clone(aliases), "i")
	}
	return "unnest(" + strings.Join(places, ", ") + ")" + ordinality + " AS u (" + strings.Join(aliases, ", ") + ")"
}

func (w *setWriter) write(k kind, values, keys []int) string {
	t, name := w.t, w.t.name.String()
	expressions := make([]string, len(values))
	for n, c := range values {
		expressions[n] = w.take("v", c)
	}
	switch {
	case k == kindInsert:
		return "INSERT INTO " + name + " (" + t.columnList(values) + ")" + t.overriding() +
			" SELECT " + strings.Join(expressions, ", ") + " FROM " + w.unnest("")
	case t.whole:
		return w.deleteWhole(keys)
	}
	condition := t.list(keys, " AND ", func(n, c int) string {
		return "t." + t.columns[c].name + " " + t.equal[n] + " " + w.take("k", c)
	})
	if k == kindDelete {
		return "DELETE FROM " + t.only + name + " AS t USING " + w.unnest("") + " WHERE " + condition
	}
	set := t.list(values, ", ", func(n, c int) string { return t.columns[c].name + " = " + expressions[n] })
	return "UPDATE " + t.only + name + " AS t SET " + set + " FROM " + w.unnest("") + " WHERE " + condition
}

// deleteWhole deletes, for every given row image, as many of the equal rows as are given: with one pass over the table,
// however many images there are. The join is on columns that can be hashed, NULL standing with some value; of what it
// finds, only rows with the very same bytes count.
func (w *setWriter) deleteWhole(columns []int) string {
	t := w.t
	var own, images, joins []string
	for _, c := range columns {
		col := &t.columns[c]
		image := "CAST(" + w.take("k", c) + " AS " + col.typeSQL + ")"
		own, images = append(own, "d."+col.name), append(images, image)
		if neutral, ok := hashable[col.typeOID]; ok {
			own := "d." + col.name
			if neutral == "''" {
				own, image = own+`::text COLLATE "C"`, image+`::text COLLATE "C"`
			}
			joins = append(joins, "coalesce("+own+", "+neutral+") = coalesce("+image+", "+neutral+")")
		}
	}
	if len(joins) == 0 {
		text := func(expressions []string) string {
			return "ARRAY[" + strings.Join(expressions, `::text COLLATE "C", `) + `::text COLLATE "C"]`
		}
		joins = append(joins, text(own)+" = "+text(images))
	}
	w.types, w.aliases = append(w.types, oidInt8Array), append(w.aliases, "n")
	return "DELETE FROM " + t.only + t.name.String() + " AS t USING (SELECT x.tableoid, x.ctid FROM (" +
		"SELECT d.tableoid, d.ctid, u.n, pg_catalog.row_number() OVER (PARTITION BY u.i) AS r FROM " + t.only + t.name.String() +
		" AS d JOIN " + w.unnest(" WITH ORDINALITY") + " ON " + strings.Join(joins, " AND ") +
		" AND pg_catalog.record_image_eq(ROW(" + strings.Join(own, ", ") + "), ROW(" + strings.Join(images, ", ") + "))" +
		") AS x WHERE x.r <= x.n) AS g WHERE t.ctid = g.ctid AND t.tableoid = g.tableoid"
}

// hashable are types worth joining on, each with a value that may stand for NULL.
var hashable = map[uint32]string{
	oidInt2: "'0'", oidInt4: "'0'", oidInt8: "'0'", oidOID: "'0'", oidFloat8: "'0'", oidNumeric: "'0'",
	oidText: "''", oidVarchar: "''", oidDate: "'epoch'", oidTime: "'epoch'", oidTimeTZ: "'epoch'",
	oidUUID: "'00000000-0000-0000-0000-000000000000'",
}
