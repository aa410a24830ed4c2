package compare

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"
)

// key are the columns that identify a row: the primary key's or the replica identity's, if all parts have the same and they are
// compared. nil means that there are none; a row is then its content, and there may be several of it.
func key(parts []schema.Table, columns []column) []column {
	for _, names := range [][]string{parts[0].PrimaryKey, parts[0].Key} {
		wanted := targetsOf(parts[0], names)
		usable := wanted != nil && !slices.ContainsFunc(parts, func(t schema.Table) bool {
			return !sameNames(targetsOf(t, t.PrimaryKey), wanted) && !sameNames(targetsOf(t, t.Key), wanted)
		})
		var key []column
		for _, name := range wanted {
			i := slices.IndexFunc(columns, func(c column) bool { return c.target == name })
			if usable = usable && i >= 0; usable {
				key = append(key, columns[i])
			}
		}
		if usable {
			return key
		}
	}
	return nil
}

// targetsOf are the names of columns in the destination; nil if one of them is not selected.
func targetsOf(t schema.Table, columns []string) (names []string) {
	for _, name := range columns {
		i := slices.IndexFunc(t.Columns, func(c schema.Column) bool { return c.Name == name })
		if i < 0 {
			return nil
		}
		names = append(names, t.Columns[i].Target)
	}
	return names
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// locate finds the rows that differ, and in them the columns: at first the buckets, then the entries of their rows, and of those
// that the other side has not, as many as are to be reported, the rows themselves. It reads each side at one moment: that of the
// transaction that its connection is in, else one of its own. What an earlier attempt found is replaced. It reports whether there are
// such rows. That they cannot be listed does not make the table less different, so it is only remarked.
func (j *job) locate(ctx context.Context, source, destination *reading, result *catalog.CompareTable) (bool, error) {
	if err := j.cfg.Catalog.ClearCompareRows(ctx, j.run.ID, result.SourceTable); err != nil {
		return false, err
	}
	f := &findings{keyed: source.key != nil, limit: int(j.options.MaxReportedRows)}
	var partial bool
	err := within(ctx, source.conn, func() error {
		return within(ctx, destination.conn, func() (err error) {
			if partial, err = f.find(ctx, source, destination, source.total.rows+destination.total.rows); err != nil {
				return err
			}
			return j.list(ctx, source, destination, f.list, result.SourceTable)
		})
	})
	switch all := f.missing + f.extra + f.different; {
	case err != nil && (ctx.Err() != nil || source.conn.IsClosed() || destination.conn.IsClosed()):
		return false, err
	case err != nil:
		result.RowsMissing, result.RowsExtra, result.RowsDifferent = nil, nil, nil
		result.Remarks = "its differing rows are not known: " + err.Error()
		return true, j.cfg.Catalog.ClearCompareRows(ctx, j.run.ID, result.SourceTable)
	case partial:
		result.Remarks = fmt.Sprintf("more rows differ than the %d counted; at a limited pace no further ones are looked for", all)
	case int64(len(f.list)) < all:
		result.Remarks = fmt.Sprintf("%d of %d rows that differ are listed (max_reported_rows)", len(f.list), all)
	default:
		result.Remarks = ""
	}
	result.RowsMissing, result.RowsExtra, result.RowsDifferent = &f.missing, &f.extra, &f.different
	return f.missing+f.extra+f.different > 0, nil
}

// list saves rows that differ.
func (j *job) list(ctx context.Context, source, destination *reading, found []finding, table string) error {
	number := int64(0)
	for some := range slices.Chunk(found, chunk) {
		rows, err := describe(ctx, source, destination, some)
		if err != nil {
			return err
		}
		for i := range rows {
			rows[i].Number = number
			number++
		}
		if err := j.cfg.Catalog.AddCompareRows(ctx, j.run.ID, table, rows); err != nil {
			return err
		}
	}
	return nil
}

// chunk is how many rows are described at once.
const chunk = 50

// find finds what differs. True says that there is more.
func (f *findings) find(ctx context.Context, source, destination *reading, rows int64) (partial bool, err error) {
	set, partial, err := differing(ctx, source, destination, rows)
	if err != nil {
		return false, err
	}
	if source.pace != nil {
		partial, err = f.findHeld(ctx, source, destination, set, partial)
		return partial, err
	}
	a, b := make(chan []entry, 4), make(chan []entry, 4)
	feed := func(r *reading, to chan<- []entry) func() error {
		return func() error {
			defer close(to)
			if err := r.sorted(ctx, set, func(batch []entry) { to <- batch }); err != nil {
				return fmt.Errorf("look for differing rows of %s: %w", r.what, err)
			}
			return nil
		}
	}
	merged := make(chan struct{})
	go func() { // it takes everything until both are closed
		defer close(merged)
		f.merge(&stream{batches: a}, &stream{batches: b})
	}()
	err = both(feed(source, a), feed(destination, b))
	<-merged
	return false, err
}

// findHeld is find where sorting is not left to the servers, which would do it at their own pace.
func (f *findings) findHeld(ctx context.Context, source, destination *reading, set bitmap, partial bool) (bool, error) {
	gather := func(r *reading, to *[]entry) func() error {
		return func() error {
			err := r.trickle(ctx, func(e entry) {
				if set == nil || set.has(e.bucket()) {
					*to = append(*to, e)
				}
			})
			if err != nil {
				return fmt.Errorf("look for differing rows of %s: %w", r.what, err)
			}
			slices.SortFunc(*to, func(x, y entry) int { return cmp.Or(cmp.Compare(x.key, y.key), cmp.Compare(x.image, y.image)) })
			return nil
		}
	}
	var a, b []entry
	if err := both(gather(source, &a), gather(destination, &b)); err != nil {
		return false, err
	}
	none := make(chan []entry)
	close(none)
	f.merge(&stream{none, a}, &stream{none, b})
	return partial, nil
}
