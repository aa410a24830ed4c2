package incremental

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// row reads the tuples of a change with the shape that the table had last, and where they do not fit, with the one that the
// line and the catalogs together tell of.
func (d *testDecoding) row(ctx context.Context, e *event, raw, line []byte) error {
	s, err := d.shape(ctx, raw)
	if err != nil {
		return err
	}
	if e.kind == kindDelete && s.identity == 'f' && !d.fresh[string(raw)] {
		// NULLs are not there, so a column that was added shows only in what is not.
		if s, err = d.refresh(ctx, raw, nil); err != nil {
			return err
		}
	}
	for attempt := 0; ; attempt++ {
		err = errShape
		if s.unreadable == "" {
			err = d.tuples(s, e, line)
		}
		switch {
		case err == nil:
			d.fresh[string(raw)] = true
			e.relation = s.relation
			return nil
		case !errors.Is(err, errShape):
			return fmt.Errorf("%s: %w", s.name, err)
		case attempt == 1:
			if s.unreadable == "" {
				s = d.unreadable(s.name, "its columns or its replica identity have changed since")
				d.shapes[string(raw)] = s
			}
			*e = event{kind: e.kind, relation: s.relation}
			return nil
		case s.unreadable != "" && d.fresh[string(raw)]:
			e.relation = s.relation
			return nil
		}
		d.fresh[string(raw)] = true
		if s, err = d.refresh(ctx, raw, line); err != nil {
			return err
		}
	}
}

// tuples reads a line's tuples into the event.
func (d *testDecoding) tuples(s *shape, e *event, line []byte) error {
	in := text{line}
	e.old, e.new, e.oldKind = nil, nil, oldNone
	switch {
	case in.skip(" (no-tuple-data)"):
		return errShape
	case e.kind == kindDelete || e.kind == kindUpdate && in.skip(" old-key:"):
		e.old, e.oldKind = d.tuple(s), oldKey
		if s.identity == 'f' {
			e.oldKind = oldRow
		}
		if err := s.oldTuple(&in, e.old); err != nil {
			return err
		}
		if e.kind == kindDelete {
			if len(in.rest) > 0 {
				return errShort
			}
			return nil
		}
		if !in.skip(newLabel) {
			return errShort
		}
	case e.kind == kindUpdate && (s.identity == 'f' || s.keys == 0):
		return errShape
	}
	e.new = d.tuple(s)
	return s.newTuple(&in, e.new)
}

func (d *testDecoding) tuple(s *shape) tuple {
	n := len(s.columns)
	if len(d.values) < n {
		d.values = make([][]byte, max(n, 2048))
	}
	t := tuple(d.values[:n:n])
	d.values = d.values[n:]
	clear(t)
	return t
}

// shape returns the shape a table had last. A table nobody wants may have become a partition of one that somebody wants.
func (d *testDecoding) shape(ctx context.Context, raw []byte) (*shape, error) {
	if s := d.shapes[string(raw)]; s != nil {
		if !d.trees || s.partition || s.wanted.Load() || d.fresh[string(raw)] {
			return s, nil
		}
		d.fresh[string(raw)] = true
		return d.refresh(ctx, raw, nil)
	}
	in := text{raw}
	name, ok := in.name()
	if !ok || len(in.rest) > 0 {
		return nil, errShort
	}
	if s := d.read[name]; s != nil && (!d.trees || s.partition) {
		return d.keep(raw, s), nil
	}
	return d.refresh(ctx, raw, nil)
}

// refresh reads a table anew. With a line, its new tuple has the last word on the columns.
func (d *testDecoding) refresh(ctx context.Context, raw, line []byte) (*shape, error) {
	in := text{raw}
	name, ok := in.name()
	if !ok {
		return nil, errShort
	}
	earlier := d.shapes[string(raw)]
	if earlier == nil {
		earlier = &shape{relation: &relation{}}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// Whoever changed the table before this transaction can be seen: it had to wait for their locks.
	if err := visible(ctx, d.catalog, d.begun.xid); err != nil {
		return nil, err
	}
	found, err := readShapes(ctx, d.catalog, d.version, name)
	if err != nil {
		return nil, err
	}
	now := found[name]
	switch {
	case now != nil:
		d.read[name] = now
	case d.read[name] != nil: // dropped since
		now = d.read[name]
	default:
		return d.keep(raw, d.unreadable(name, "it does not exist any more in the source")), nil
	}
	labels := newLabels(line)
	if labels == nil {
		return d.keep(raw, now), nil
	}
	s, err := d.compose(ctx, labels, now, earlier)
	if err != nil {
		return nil, err
	}
	return d.keep(raw, s), nil
}

// newLabels returns the labels of a line's new tuple, nil when it has none.
func newLabels(line []byte) []label {
	in := text{line}
	if in.skip(" old-key:") {
		for !in.skip(newLabel) {
			if _, ok := in.label(); !ok {
				return nil
			}
			if _, ok := in.value(); !ok {
				return nil
			}
		}
	}
	labels, ok := in.labels()
	if !ok {
		return nil
	}
	return labels
}

// keep makes a shape the one that the table has. A relation that did not change stays the same.
func (d *testDecoding) keep(raw []byte, s *shape) *shape {
	if before := d.shapes[string(raw)]; before != nil && before.same(s.relation) {
		s.relation = before.relation
	}
	if s.counter == nil {
		s.counter = d.counters.of(s.name)
	}
	d.shapes[string(raw)] = s
	return s
}

// modifiers reads the modifiers of the types of these tables' columns, which lines do not tell, as they are now.
func (d *testDecoding) modifiers(ctx context.Context, oids, xids []uint32) (map[uint32]map[string]int32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := visible(ctx, d.catalog, xids...); err != nil {
		return nil, err
	}
	rows, err := d.catalog.Query(ctx, `SELECT attrelid, attname, atttypmod FROM pg_catalog.pg_attribute
		WHERE attrelid = ANY ($1) AND attnum > 0 AND NOT attisdropped`, oids)
	if err != nil {
		return nil, fmt.Errorf("read columns of the source: %w", err)
	}
	now := map[uint32]map[string]int32{}
	var oid uint32
	var name string
	var modifier int32
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &modifier}, func() error {
		if now[oid] == nil {
			now[oid] = map[string]int32{}
		}
		now[oid][name] = modifier
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read columns of the source: %w", err)
	}
	return now, nil
}

// checkModifiers makes sure, before a batch is committed, that the destination's columns still fit: of a table with modifiers there,
// a new modifier in the source may have had values rounded or cut off. A stream that begins anew knows it.
func (a *applier) checkModifiers(ctx context.Context, b *batch) error {
	d := a.src.lines
	if d == nil {
		return nil
	}
	relations := map[*relation]bool{}
	var oids, xids []uint32
	for i := range b.changes {
		c := &b.changes[i]
		if c.kind == kindTruncate || c.kind == kindDelete || !c.target.modified() {
			continue
		}
		if len(xids) == 0 || xids[len(xids)-1] != c.tx.xid {
			xids = append(xids, c.tx.xid)
		}
		if relations[c.relation] {
			continue
		}
		relations[c.relation] = true
		oids = append(oids, c.relation.oid)
	}
	if oids == nil {
		return nil
	}
	now, err := d.modifiers(ctx, oids, xids)
	if err != nil {
		return err
	}
	for r := range relations {
		for _, c := range r.columns {
			if modifier, there := now[r.oid][c.name]; there && modifier != c.typmod {
				return fmt.Errorf("column %s of table %s has another type modifier in the source than before", pgx.Identifier{c.name}.Sanitize(), r.name)
			}
		}
	}
	return nil
}

// modified tells whether a column of the destination has a modifier.
func (t *target) modified() bool {
	return slices.ContainsFunc(t.columns, func(c targetColumn) bool { return c.takes() && c.typmod >= 0 })
}
