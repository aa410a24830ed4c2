package incremental

import "slices"

// step is a part of a batch between two barriers: TRUNCATE, or a change of a table's shape.
type step struct {
	from, to int
	folds    []*fold // those that can be sent as sets, as they were begun
	rows     []int   // changes to apply one by one, in order
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
	var last *relation
	from := 0
	for i := range changes {
		c := &changes[i]
		if c.kind == kindTruncate {
			whole(from, i)
			steps = append(steps, step{from: i, to: i + 1, rows: []int{i}})
			from, last = i+1, nil
			continue
		}
		if c.relation == last {
			continue
		}
		last = c.relation
		if shape := shapes[last.oid]; shape != nil && shape != last {
			whole(from, i)
			from = i
		}
		shapes[last.oid] = last
	}
	whole(from, len(changes))
	return steps
}

func newStep(changes []change, from, to int) step {
	s := step{from: from, to: to}
	folds := map[*target]*fold{} // nil: its changes go one by one
	single := 0                  // targets whose changes do
	for i := from; i < to; i++ {
		t := changes[i].target
		f, met := folds[t]
		if !met {
			switch {
			case t.ordered:
				return step{from: from, to: to, rows: upTo(from, to)}
			case t.foldable():
				f = newFold(t)
				s.folds = append(s.folds, f)
			default:
				single++
			}
			folds[t] = f
		}
		if f != nil && !f.add(i, changes[i].event) {
			folds[t] = nil
			single++
		}
	}
	s.folds = slices.DeleteFunc(s.folds, func(f *fold) bool {
		few := folds[f.t] != nil && f.count < foldFrom && (!f.t.whole || f.count < foldFromWhole)
		if few {
			folds[f.t] = nil
			single++
		}
		return folds[f.t] == nil
	})
	if single == 0 {
		return s
	}
	for i := from; i < to; i++ {
		if folds[changes[i].target] == nil {
			s.rows = append(s.rows, i)
		}
	}
	return s
}

func upTo(from, to int) []int {
	rows := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, i)
	}
	return rows
}
