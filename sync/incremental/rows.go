package incremental

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// care says how a row statement deals with what the plain form cannot express.
type care string

const (
	quick   care = "quick"   // rows without a key are compared bit by bit; identity columns are assumed not to change
	careful care = "careful" // they are compared by their text; rows whose identity column changes are replaced
)

// The kinds of values that a statement takes its parameters from.
type param struct {
	column int
	old    bool
}

// rowStatement is a statement for one change, with the values it takes.
type rowStatement struct {
	st     *statement
	params []param
}

// writer collects the text of a statement and its parameters.
type writer struct {
	t      *target
	sql    strings.Builder
	params []param
	types  []uint32
}

func (w *writer) add(parts ...string) {
	for _, p := range parts {
		w.sql.WriteString(p)
	}
}

// value takes a value as a new parameter and returns its place holder.
func (w *writer) value(column int, old bool) string {
	w.params = append(w.params, param{column, old})
	w.types = append(w.types, w.t.columns[column].typeOID)
	return "$" + strconv.Itoa(len(w.params))
}

// change returns the statement for a change and its arguments, in text format. The arguments are valid until the next call.
func (s *session) change(t *target, e *event, c care) (*statement, [][]byte, error) {
	if e.kind != kindInsert && len(t.key) == 0 && !t.whole {
		if t.lost {
			return nil, nil, permanentf("%s of %s: the task does not take every column of the replica identity", e.kind, t.relation.name)
		}
		return nil, nil, permanentf("%s of %s: the table has no replica identity", e.kind, t.relation.name)
	}
	old := e.old
	if e.oldKind == oldNone {
		old = e.new // then the addressing columns did not change
		if t.relation.identity == 'f' && e.kind == kindUpdate {
			return nil, nil, permanentf("update of %s: the old row is missing", t.relation.name)
		}
	}
	set, guard, move := t.plan(e, c)
	key := append([]byte(e.kind), c[0], boolByte(move))
	for _, columns := range [][]int{set, guard} {
		for _, i := range columns {
			key = strconv.AppendInt(append(key, ' '), int64(i), 10)
		}
		key = append(key, ';')
	}
	r, ok := s.rows[t][string(key)]
	if !ok {
		w := &writer{t: t}
		switch {
		case e.kind == kindInsert:
			w.insert()
		case e.kind == kindDelete:
			w.delete(c)
		case move:
			w.move(set, c)
		default:
			w.update(set, guard, c)
		}
		r = rowStatement{st: s.statement(w.sql.String(), w.types), params: w.params}
		s.keep(t, string(key), r)
	}
	args := s.args[:0]
	for _, p := range r.params {
		v := e.new
		if p.old {
			v = old
		}
		if isUnchanged(v[p.column]) {
			return nil, nil, permanentf("%s of %s: the value of column %s, which addresses the row, was not sent: PostgreSQL before 10.21, 11.16, 12.11, 13.7 and 14.3 "+
				"leaves out what is stored out of line; update the source, then reset the task", e.kind, t.relation.name, t.columns[p.column].name)
		}
		args = append(args, v[p.column])
	}
	s.args = args
	return r.st, args, nil
}

func boolByte(b bool) byte {
	if b {
		return '1'
	}
	return '0'
}

// plan decides which columns an update sets. A GENERATED ALWAYS identity column cannot be set: when its value changed the
// row is replaced (move); when the old value is unknown it is assumed not to have changed, and the statement checks that
// (guard).
func (t *target) plan(e *event, c care) (set, guard []int, move bool) {
	if e.kind != kindUpdate {
		return nil, nil, false
	}
	for i, col := range t.columns {
		known := e.oldKind == oldRow || e.oldKind == oldKey && t.relation.columns[i].key
		switch {
		case !col.takes() || isUnchanged(e.new[i]):
		case col.always && known:
			move = move || !sameValue(e.old[i], e.new[i])
		case col.always && e.oldKind == oldNone && t.relation.columns[i].key:
		case col.always && c == careful:
			move = true
		case col.always:
			guard = append(guard, i)
		case e.oldKind == oldNone && t.relation.columns[i].key:
		default:
			set = append(set, i)
		}
	}
	if !move {
		return set, guard, false
	}
	set = nil
	for i, col := range t.columns {
		if col.takes() && !isUnchanged(e.new[i]) {
			set = append(set, i)
		}
	}
	return set, nil, true
}

func sameValue(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// settable are the columns an INSERT gives values to.
func (t *target) settable() []int {
	var columns []int
	for i, c := range t.columns {
		if c.takes() {
			columns = append(columns, i)
		}
	}
	return columns
}

func (t *target) overriding() string {
	if slices.ContainsFunc(t.columns, func(c targetColumn) bool { return c.always }) {
		return " OVERRIDING SYSTEM VALUE"
	}
	return ""
}

func (t *target) columnList(columns []int) string {
	return t.list(columns, ", ", func(_, i int) string { return t.columns[i].name })
}

func (w *writer) insert() {
	columns := w.t.settable()
	if len(columns) == 0 {
		w.add("INSERT INTO ", w.t.name.String(), " DEFAULT VALUES")
		return
	}
	w.add("INSERT INTO ", w.t.name.String(), " (", w.t.columnList(columns), ")", w.t.overriding(), " VALUES (",
		w.t.list(columns, ", ", func(_, i int) string { return w.value(i, false) }), ")")
}

func (w *writer) delete(c care) {
	w.add("DELETE FROM ", w.t.only, w.t.name.String(), " AS t WHERE ", w.where(c))
}

func (w *writer) update(set, guard []int, c care) {
	if len(set) == 0 {
		set = []int{w.t.anyColumn()} // the row must be there all the same
	}
	w.add("UPDATE ", w.t.only, w.t.name.String(), " AS t SET ",
		w.t.list(set, ", ", func(_, i int) string {
			if w.t.columns[i].always || w.t.columns[i].generated {
				return w.t.columns[i].name + " = DEFAULT"
			}
			return w.t.columns[i].name + " = " + w.value(i, false)
		}), " WHERE ", w.where(c))
	for _, i := range guard {
		w.add(" AND t.", w.t.columns[i].name, " OPERATOR(pg_catalog.=) ", w.value(i, false))
	}
}

// anyColumn is one that can be set to the value it has.
func (t *target) anyColumn() int {
	for i, c := range t.columns {
		if c.takes() && !c.always {
			return i
		}
	}
	return max(0, slices.IndexFunc(t.columns, func(c targetColumn) bool { return !c.omitted }))
}

// move replaces a row: what is not among the given columns comes from the row that was there.
func (w *writer) move(given []int, c care) {
	t := w.t
	var names, values []string
	for i, col := range t.columns {
		if !col.takes() {
			continue
		}
		names = append(names, col.name)
		if slices.Contains(given, i) {
			values = append(values, w.value(i, false))
		} else {
			values = append(values, "d."+col.name)
		}
	}
	for _, name := range t.extra {
		names, values = append(names, name), append(values, "d."+name)
	}
	w.add("WITH d AS (DELETE FROM ", t.only, t.name.String(), " AS t WHERE ", w.where(c), " RETURNING *) INSERT INTO ",
		t.name.String(), " (", strings.Join(names, ", "), ") OVERRIDING SYSTEM VALUE SELECT ", strings.Join(values, ", "), " FROM d")
}

// where finds the row by its old values.
func (w *writer) where(c care) string {
	t := w.t
	if !t.whole {
		return t.list(t.key, " AND ", func(n, i int) string {
			if t.equal[n] == "" {
				return "t." + t.columns[i].name + "::text OPERATOR(pg_catalog.=) " + w.value(i, true) + "::text"
			}
			return "t." + t.columns[i].name + " " + t.equal[n] + " " + w.value(i, true)
		})
	}
	// Equal rows are interchangeable, but each change is about one of them.
	found := " FROM " + t.only + t.name.String() + " AS x WHERE " + w.image("x", c) + " LIMIT 1)"
	if t.only != "" {
		return "t.ctid = (SELECT x.ctid" + found
	}
	return "(t.tableoid, t.ctid) = (SELECT x.tableoid, x.ctid" + found
}

// image compares all columns of a row with the old ones. record_image_eq compares the stored bytes: it works for types
// without an equality of their own, and 1.0 is not 1.00. Where values were made in another way than from their text, bytes
// may differ between equal values; then the texts must decide.
func (w *writer) image(alias string, c care) string {
	columns := w.t.settable()
	if len(columns) == 0 {
		return "true"
	}
	cast := func(i int) string { return "CAST(" + w.value(i, true) + " AS " + w.t.columns[i].typeSQL + ")" }
	if c == careful {
		return w.t.list(columns, " AND ", func(_, i int) string {
			return alias + "." + w.t.columns[i].name + "::text IS NOT DISTINCT FROM " + cast(i) + "::text"
		})
	}
	return "pg_catalog.record_image_eq(ROW(" + w.t.list(columns, ", ", func(_, i int) string {
		return alias + "." + w.t.columns[i].name
	}) + "), ROW(" + w.t.list(columns, ", ", func(_, i int) string { return cast(i) }) + "))"
}
