package compare

import "pgsyncd/catalog"

// stream gives entries in the order of key and image.
type stream struct {
	batches <-chan []entry
	batch   []entry
}

// head is the next entry; false at the end.
func (s *stream) head() (entry, bool) {
	for len(s.batch) == 0 {
		batch, more := <-s.batches
		if !more {
			return entry{}, false
		}
		s.batch = batch
	}
	return s.batch[0], true
}

// of is the next entry if it is one of the key.
func (s *stream) of(key int64) (entry, bool) {
	e, more := s.head()
	return e, more && e.key == key
}

func (s *stream) next() { s.batch = s.batch[1:] }

// finding is a row that differs; a side that has not the row is the zero entry.
type finding struct {
	kind                string // as in catalog.CompareRow
	source, destination entry
}

// findings are the rows of a table that differ: how many of each kind, and the first of them.
type findings struct {
	keyed                     bool // rows of one key belong together
	limit                     int  // of list
	missing, extra, different int64
	list                      []finding
}

func (f *findings) add(kind string, source, destination entry) {
	switch kind {
	case catalog.RowMissing:
		f.missing++
	case catalog.RowExtra:
		f.extra++
	default:
		f.different++
	}
	if len(f.list) < f.limit {
		f.list = append(f.list, finding{kind, source, destination})
	}
}

// merge finds the difference of two multisets of entries: equal ones cancel each other; of what is left, a row of either side with
// the same key are one that differs, and the rest is missing or extra.
func (f *findings) merge(source, destination *stream) {
	for {
		a, inSource := source.head()
		b, inDestination := destination.head()
		switch {
		case inSource && (!inDestination || a.key <= b.key):
			f.group(a.key, source, destination)
		case inDestination:
			f.group(b.key, source, destination)
		default:
			return
		}
	}
}

// group does that for one key. Keys are unique nearly always, but nothing here depends on it.
func (f *findings) group(key int64, source, destination *stream) {
	var left, right leftovers // one of them is empty at any time
	for {
		a, inSource := source.of(key)
		b, inDestination := destination.of(key)
		switch {
		case inSource && inDestination && a.image == b.image:
			source.next()
			destination.next()
		case inSource && (!inDestination || a.image < b.image):
			source.next()
			switch {
			case !f.keyed:
				f.add(catalog.RowMissing, a, entry{})
			case right.n > 0:
				f.add(catalog.RowDifferent, a, right.take())
			default:
				left.put(a, f.limit)
			}
		case inDestination:
			destination.next()
			switch {
			case !f.keyed:
				f.add(catalog.RowExtra, entry{}, b)
			case left.n > 0:
				f.add(catalog.RowDifferent, left.take(), b)
			default:
				right.put(b, f.limit)
			}
		default:
			for left.n > 0 {
				f.add(catalog.RowMissing, left.take(), entry{})
			}
			for right.n > 0 {
				f.add(catalog.RowExtra, entry{}, right.take())
			}
			return
		}
	}
}

// leftovers are rows of a key that found no partner so far: the first of them, since no others can come to be listed, and how many.
type leftovers struct {
	first []entry
	n     int64
}

func (l *leftovers) put(e entry, limit int) {
	if len(l.first) < limit {
		l.first = append(l.first, e)
	}
	l.n++
}

func (l *leftovers) take() (e entry) {
	l.n--
	if len(l.first) > 0 {
		e, l.first = l.first[0], l.first[1:]
	}
	return e
}
