package incremental

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// Fewer changes than this to a table are not worth a set statement; where every row change scans the table, two are. From
// replanFrom rows on, planning a statement anew is worth it.
const (
	foldFrom      = 8
	foldFromWhole = 2
	replanFrom    = 256
)

// setOf is one set statement with its rows.
type setOf struct {
	kind    kind
	columns []int // that get values
	touch   bool  // no column has a new value, but the rows must be there: the first addressing column gets the value that it has
	nets    []*netChange

	st   *statement
	args [][]byte
	want int64
}

// part says which net changes of a fold are meant.
type part func(*netChange) bool

func everything(*netChange) bool { return true }

// sets makes the statements for a part of a fold, in the order that leaves a key free before it is taken. The rows that are
// inserted come last.
func (f *fold) sets(of part) []setOf {
	t := f.t
	var updates []setOf
	deletes, inserts := setOf{kind: kindDelete}, setOf{kind: kindInsert, columns: t.settable()}
	updatable := t.updatable()
	complete := -1 // place of the updates of all columns
	groups := map[string]int{}
	var key []byte
	for i := range f.nets {
		n := &f.nets[i]
		switch {
		case !of(n):
		case t.whole && n.n < 0 || n.kind == netDelete:
			deletes.nets = append(deletes.nets, n)
		case t.whole:
			for range n.n {
				inserts.nets = append(inserts.nets, n)
			}
		case n.kind == netInsert:
			inserts.nets = append(inserts.nets, n)
		case n.kind == netNothing:
		case n.row.has(updatable):
			if complete < 0 {
				complete = len(updates)
				updates = append(updates, t.updateOf(updatable))
			}
			updates[complete].nets = append(updates[complete].nets, n)
		default:
			columns := n.row.sent(updatable)
			key = columnKey(key[:0], columns)
			place, there := groups[string(key)]
			if !there {
				place = len(updates)
				groups[string(key)] = place
				updates = append(updates, t.updateOf(columns))
			}
			updates[place].nets = append(updates[place].nets, n)
		}
	}
	var all []setOf
	for _, s := range append(append([]setOf{deletes}, updates...), inserts) {
		if len(s.nets) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func (t *target) updateOf(columns []int) setOf {
	if len(columns) == 0 {
		return setOf{kind: kindUpdate, columns: t.key[:1], touch: true}
	}
	return setOf{kind: kindUpdate, columns: columns}
}

// updatable are the columns that an update may set. Those of the key do not change.
func (t *target) updatable() []int {
	var columns []int
	for i, c := range t.columns {
		if c.takes() && !c.always && !slices.Contains(t.key, i) {
			columns = append(columns, i)
		}
	}
	return columns
}

// has reports whether the values of these columns are known.
func (t tuple) has(columns []int) bool {
	for _, c := range columns {
		if isUnchanged(t[c]) {
			return false
		}
	}
	return true
}

// sent are those of the columns whose values are known.
func (t tuple) sent(columns []int) []int {
	var known []int
	for _, c := range columns {
		if !isUnchanged(t[c]) {
			known = append(known, c)
		}
	}
	return known
}

func columnKey(key []byte, columns []int) []byte {
	for _, c := range columns {
		key = strconv.AppendInt(append(key, ' '), int64(c), 10)
	}
	return key
}

// sendFold sends a part of a fold. It returns false, and has sent nothing, when a value cannot be sent this way.
func (p *pipeline) sendFold(ctx context.Context, f *fold, of part) bool {
	sets := f.sets(of)
	sent := p.sendSets(f, sets)
	if sent {
		p.sendLoads(ctx, f, sets)
	}
	return sent
}

// sendSets queues the statements of a fold but for the rows that go by COPY. It returns false, and has queued nothing, when a
// value cannot be sent this way.
func (p *pipeline) sendSets(f *fold, sets []setOf) bool {
	for i := range sets {
		if !sets[i].loads() && !p.s.prepareSet(f.t, &sets[i]) {
			return false
		}
	}
	for i := range sets {
		if s := &sets[i]; !s.loads() {
			p.run(s.st, s.args, s.want, f.first)
			s.args = nil
		}
	}
	return true
}

// prepareSet makes statement and arguments. It returns false when a value cannot be sent this way.
func (s *session) prepareSet(t *target, set *setOf) bool {
	var values, keys []int
	if set.kind != kindDelete {
		values = set.columns
	}
	if set.kind != kindInsert {
		keys = t.key
		if t.whole {
			keys = t.settable()
		}
	}
	for _, c := range values {
		arg, ok := arrayOf(&t.columns[c]).encode(set.nets, c, set.touch)
		if !ok {
			return false
		}
		set.args = append(set.args, arg)
	}
	for _, c := range keys {
		arg, ok := arrayOf(&t.columns[c]).encode(set.nets, c, true)
		if !ok {
			return false
		}
		set.args = append(set.args, arg)
	}
	set.want = int64(len(set.nets))
	if t.whole && set.kind == kindDelete {
		set.want = 0
		for _, n := range set.nets {
			set.want -= n.n
		}
		set.args = append(set.args, encodeCounts(set.nets))
	}
	set.st = s.setStatement(t, set.kind, values, keys, len(set.nets))
	return true
}

// setStatement returns the statement for these columns. For many rows, and where there is no index to find them by, it is
// planned anew each time: how many they are decides between looking up each of them and reading the table once.
func (s *session) setStatement(t *target, k kind, values, keys []int, rows int) *statement {
	once := k != kindInsert && (t.whole || rows >= replanFrom)
	key := string(columnKey([]byte("set "+string(k)+" "+strconv.FormatBool(once)), values))
	r, ok := s.rows[t][key]
	if ok {
		return r.st
	}
	w := setWriter{t: t}
	sql := w.write(k, values, keys)
	if once {
		r.st = &statement{sql: sql, types: w.types, once: true}
	} else {
		r.st = s.statement(sql, w.types)
	}
	r.st.formats = w.formats
	s.keep(t, key, r)
	return r.st
}

// setWriter writes a set statement. The arrays are unnested as u, with one column per parameter: v and the column's number for
// values, k and the number for addressing values.
type setWriter struct {
	t       *target
	types   []uint32
	formats []int16
	aliases []string
}

// take adds a column's array as a parameter and returns the expression for its elements, of the column's type.
func (w *setWriter) take(prefix string, column int) string {
	c := &w.t.columns[column]
	form := arrayOf(c)
	alias := prefix + strconv.Itoa(column)
	w.types, w.formats, w.aliases = append(w.types, form.typeOID), append(w.formats, form.format()), append(w.aliases, alias)
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
	w.types, w.formats, w.aliases = append(w.types, oidInt8Array), append(w.formats, 1), append(w.aliases, "n")
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
