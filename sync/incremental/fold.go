package incremental

import "encoding/binary"

// netChange is what remains of all changes of a batch to one row.
type netChange struct {
	kind netKind
	row  tuple // new values; unchanged where an update did not send one
	old  tuple // values that address the row
	n    int64 // of rows addressed by all their columns: how many come (> 0) or go (< 0)
	last int   // change that had its say last
}

type netKind string

const (
	netNothing netKind = "nothing" // came and went
	netInsert  netKind = "insert"
	netUpdate  netKind = "update"
	netReplace netKind = "replace" // deleted and inserted: every value is new
	netDelete  netKind = "delete"
)

// fold reduces the changes of a batch to one per row, for one target. Where a key addresses the rows, it becomes a delete, an
// update or an insert per key; where all columns do, a number of equal rows that come or go.
type fold struct {
	t     *target
	rows  map[string]int
	nets  []netChange
	key   []byte // scratch
	count int    // changes folded
	first int    // of them
}

func newFold(t *target) *fold { return &fold{t: t, rows: map[string]int{}} }

// add takes a change in. It returns false when the change fits no net change: then the target's changes have to be applied
// one by one.
func (f *fold) add(i int, e *event) bool {
	if f.count == 0 {
		f.first = i
	}
	f.count++
	switch {
	case f.t.whole:
		return f.addWhole(i, e)
	case len(f.t.key) == 0:
		f.nets = append(f.nets, netChange{kind: netInsert, row: e.new, last: i})
		return e.kind == kindInsert
	case e.kind == kindInsert:
		return f.insert(i, e)
	case e.kind == kindDelete:
		return f.delete(i, e.old)
	}
	if e.oldKind == oldNone {
		return f.update(i, e.new, e.new)
	}
	row := known(e)
	if f.sameKey(e.old, e.new) {
		if row == nil {
			row = e.new
		}
		return f.update(i, e.old, row)
	}
	// A new key: the old row goes and a new one comes, if all of it is known.
	if row == nil || len(f.t.extra) > 0 {
		return false
	}
	return f.delete(i, e.old) && f.insert(i, &event{new: row})
}

// at returns the net change of the row with that key.
func (f *fold) at(row tuple) (*netChange, bool) {
	f.key = f.key[:0]
	for _, c := range f.t.key {
		f.key = appendValue(f.key, row[c])
	}
	return f.entry(string(f.key))
}

func (f *fold) entry(key string) (n *netChange, found bool) {
	i, found := f.rows[key]
	if !found {
		i = len(f.nets)
		f.rows[key] = i
		f.nets = append(f.nets, netChange{})
	}
	return &f.nets[i], found
}

// appendValue makes concatenations of values unambiguous.
func appendValue(key, value []byte) []byte {
	if value == nil {
		return append(key, 0)
	}
	key = binary.AppendUvarint(key, uint64(len(value))+1)
	return append(key, value...)
}

func (f *fold) insert(i int, e *event) bool {
	n, found := f.at(e.new)
	switch {
	case !found || n.kind == netNothing:
		n.kind = netInsert
	case n.kind == netDelete && len(f.t.extra) == 0:
		n.kind = netReplace
	default:
		return false
	}
	n.row, n.old, n.last = e.new, e.new, i
	return true
}

func (f *fold) delete(i int, old tuple) bool {
	n, found := f.at(old)
	switch {
	case !found || n.kind == netUpdate || n.kind == netReplace:
		n.kind = netDelete
	case n.kind == netInsert:
		n.kind = netNothing
	default:
		return false
	}
	n.row, n.old, n.last = nil, old, i
	return true
}

func (f *fold) update(i int, old, row tuple) bool {
	n, found := f.at(old)
	switch {
	case !found:
		n.kind, n.row = netUpdate, row
	case n.kind == netInsert || n.kind == netUpdate || n.kind == netReplace:
		n.row = merge(n.row, row)
	default:
		return false
	}
	n.old, n.last = old, i
	return true
}

// merge puts a later row over an earlier one.
func merge(earlier, later tuple) tuple {
	if later.complete() {
		return later
	}
	row := append(tuple(nil), later...)
	for i := range row {
		if isUnchanged(row[i]) {
			row[i] = earlier[i]
		}
	}
	return row
}

// addWhole counts equal rows.
func (f *fold) addWhole(i int, e *event) bool {
	if e.kind != kindInsert {
		if e.oldKind != oldRow || !e.old.complete() {
			return false
		}
		f.counted(e.old, i).n--
	}
	if e.kind != kindDelete {
		row := known(e)
		if row == nil {
			return false
		}
		f.counted(row, i).n++
	}
	return true
}

func (f *fold) counted(row tuple, i int) *netChange {
	f.key = f.key[:0]
	for c := range row {
		if !f.t.columns[c].omitted {
			f.key = appendValue(f.key, row[c])
		}
	}
	n, _ := f.entry(string(f.key))
	n.row, n.last = row, i
	return n
}

// known is the new row, with values that were not sent taken from the old one; nil when some are in neither.
func known(e *event) tuple {
	if e.new.complete() {
		return e.new
	}
	if e.oldKind != oldRow || !e.old.complete() {
		return nil
	}
	return merge(e.old, e.new)
}

// sameKey reports whether an update leaves the key as it is.
func (f *fold) sameKey(old, row tuple) bool {
	for _, c := range f.t.key {
		if !isUnchanged(row[c]) && !sameValue(old[c], row[c]) {
			return false
		}
	}
	return true
}
