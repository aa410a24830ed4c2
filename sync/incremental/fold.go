package incremental

import "hash/maphash"

// netChange is what remains of all changes of a batch to one row.
type netChange struct {
	kind netKind
	row  tuple  // new values; unchanged where an update did not send one
	old  tuple  // values that address the row
	n    int64  // of rows addressed by all their columns: how many come (> 0) or go (< 0)
	hash uint64 // of the values that address the row
	late bool   // for a job of the crew: it has to wait for its turn
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
	by    []int // columns that address a row; none: rows only come
	nets  []netChange
	slots []uint32 // finds nets by hash, with open addressing: one more than the place in nets; a power of two of them. None: see onlyNew
	count int      // changes folded
	first int      // of them
	late  bool     // for a job of the crew: all of it has to wait
}

func newFold(t *target) *fold {
	f := &fold{t: t, by: t.key}
	if t.whole {
		f.by = t.settable()
	}
	return f
}

// add takes a change in. It returns false when the change fits no net change: then the target's changes have to be applied
// one by one.
func (f *fold) add(i int, e *event) bool {
	if f.count == 0 {
		f.first = i
	}
	f.count++
	switch {
	case f.t.whole:
		return f.addWhole(e)
	case len(f.t.key) == 0:
		f.nets = append(f.nets, netChange{kind: netInsert, row: e.new})
		return e.kind == kindInsert
	case e.kind == kindInsert && f.onlyNew():
		f.nets = append(f.nets, netChange{kind: netInsert, row: e.new, old: e.new})
		return true
	case e.kind == kindInsert:
		return f.insert(e.new)
	case e.kind == kindDelete:
		return f.delete(e.old)
	case e.oldKind == oldNone: // some servers leave out even the key where it is stored out of line
		return e.new.has(f.t.key) && f.update(e.new, e.new)
	case f.sameKey(e.old, e.new):
		return f.update(e.old, e.new)
	}
	// A new key: the old row goes and a new one comes, if all of it is known.
	row := known(e)
	return row != nil && len(f.t.extra) == 0 && f.delete(e.old) && f.insert(row)
}

// onlyNew reports whether rows have only come so far. In the source they have different keys, so none needs to be found; were two equal,
// the destination would refuse one.
func (f *fold) onlyNew() bool { return len(f.slots) == 0 && !f.t.whole }

// index makes rows be found. It changes nothing that a job which applies the fold reads.
func (f *fold) index() {
	if len(f.slots) > 0 {
		return
	}
	for i := range f.nets {
		f.nets[i].hash = f.hash(f.nets[i].old)
	}
	f.grow()
}

// at returns the net change of the row with these addressing values.
func (f *fold) at(row tuple) (n *netChange, found bool) {
	f.index()
	if 4*len(f.nets) >= 3*len(f.slots) {
		f.grow()
	}
	h := f.hash(row)
	last := uint64(len(f.slots) - 1)
	for slot := h & last; ; slot = (slot + 1) & last {
		place := f.slots[slot]
		if place == 0 {
			f.nets = append(f.nets, netChange{old: row, hash: h})
			f.slots[slot] = uint32(len(f.nets)) // a batch is bounded by its bytes
			return &f.nets[len(f.nets)-1], false
		}
		if n := &f.nets[place-1]; n.hash == h && f.same(n.old, row) {
			return n, true
		}
	}
}

// holds reports whether this fold of the same target has the row of a net change.
func (f *fold) holds(n *netChange) bool {
	last := uint64(len(f.slots) - 1)
	for slot := n.hash & last; f.slots[slot] != 0; slot = (slot + 1) & last {
		if f.nets[f.slots[slot]-1].hash == n.hash {
			return true // or another row with this hash: no harm is done
		}
	}
	return false
}

func (f *fold) grow() {
	size := max(64, len(f.slots))
	for 4*len(f.nets) >= 3*size {
		size *= 2
	}
	f.slots = make([]uint32, size)
	last := uint64(len(f.slots) - 1)
	for i := range f.nets {
		slot := f.nets[i].hash & last
		for f.slots[slot] != 0 {
			slot = (slot + 1) & last
		}
		f.slots[slot] = uint32(i + 1)
	}
}

var hashSeed = maphash.MakeSeed()

func (f *fold) hash(row tuple) uint64 {
	var h uint64
	for _, c := range f.by {
		h = h*31 + maphash.Bytes(hashSeed, row[c])
	}
	return h
}

func (f *fold) same(a, b tuple) bool {
	for _, c := range f.by {
		if !sameValue(a[c], b[c]) {
			return false
		}
	}
	return true
}

func (f *fold) insert(row tuple) bool {
	n, found := f.at(row)
	switch {
	case !found || n.kind == netNothing:
		n.kind = netInsert
	case n.kind == netDelete && len(f.t.extra) == 0:
		n.kind = netReplace
	default:
		return false
	}
	n.row, n.old = row, row
	return true
}

func (f *fold) delete(old tuple) bool {
	n, found := f.at(old)
	switch {
	case !found || n.kind == netUpdate || n.kind == netReplace:
		n.kind = netDelete
	case n.kind == netInsert:
		n.kind = netNothing
	default:
		return false
	}
	n.row, n.old = nil, old
	return true
}

func (f *fold) update(old, row tuple) bool {
	n, found := f.at(old)
	switch {
	case !found:
		n.kind, n.row = netUpdate, row
	case n.kind == netInsert || n.kind == netUpdate || n.kind == netReplace:
		n.row = merge(n.row, row)
	default:
		return false
	}
	n.old = old
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
func (f *fold) addWhole(e *event) bool {
	if e.kind != kindInsert {
		if e.oldKind != oldRow || !e.old.complete() {
			return false
		}
		f.counted(e.old).n--
	}
	if e.kind != kindDelete {
		row := known(e)
		if row == nil {
			return false
		}
		f.counted(row).n++
	}
	return true
}

func (f *fold) counted(row tuple) *netChange {
	n, _ := f.at(row)
	n.row = row
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
