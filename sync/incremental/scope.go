package incremental

import (
	"context"
	"fmt"

	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// target returns where the changes of a relation go; nil when the task does not want them.
func (a *applier) target(ctx context.Context, r *relation) (*target, error) {
	if t, ok := a.targets[r]; ok {
		return t, nil
	}
	t, err := a.resolve(ctx, r)
	if err != nil {
		return nil, err
	}
	a.targets[r] = t
	if t == nil {
		return nil, nil
	}
	for other, o := range a.targets {
		if o != nil && o.oid == t.oid && other.oid != r.oid {
			o.shared, t.shared = true, true
		}
	}
	return t, nil
}

// resolve looks a relation up in the ledger, the selection and the destination. A partition that the destination does not
// have goes to its root. A relation nobody knows of must not be skipped silently. The partitions of the source were read
// when the stream began; before giving up, they are read again.
func (a *applier) resolve(ctx context.Context, r *relation) (*target, error) {
	t, err := a.lookUp(ctx, r)
	if t != nil || err != nil {
		return t, err
	}
	if err := a.readRoots(ctx); err != nil {
		return nil, fmt.Errorf("look for %s: %w", r.name, err)
	}
	t, err = a.lookUp(ctx, r)
	if t != nil || err != nil {
		return t, err
	}
	if !a.wanted(r.name) {
		return nil, permanentf("publication %q has table %s, which this task neither copied nor selects", a.cfg.Publication, r.name)
	}
	return nil, permanentf("table %s does not exist in the destination", r.name)
}

// lookUp returns nil when the relation is not wanted or the destination has no table for it.
func (a *applier) lookUp(ctx context.Context, r *relation) (*target, error) {
	if !a.wanted(r.name) {
		return nil, nil
	}
	root := a.stream.counters.root(r.name)
	after, _ := a.copiedAt(r.name)
	for _, name := range []schema.Name{r.name, root} {
		oid, kind, found, err := a.dst.findTable(ctx, name)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		t := &target{relation: r, oid: oid, name: name, after: after, root: name != r.name}
		if kind == "r" {
			t.only = "ONLY "
		}
		return t, a.dst.describe(ctx, t)
	}
	return nil, nil
}

// wanted reports whether a table, or the partitioned table it belongs to, was copied, or in a task that copies nothing is
// selected. Where there are copies, changes of a table without one would fall on rows that are not there.
func (a *applier) wanted(name schema.Name) bool {
	if len(a.copied) > 0 {
		_, copied := a.copiedAt(name)
		return copied
	}
	return a.cfg.Selection.Includes(name) || a.cfg.Selection.Includes(a.stream.counters.root(name))
}

// copiedAt returns the position of the copy that a table belongs to. What was copied is recorded under its own name, even if it
// was attached to a partitioned table or detached from one since; a partition that came later belongs to the copy of its root.
func (a *applier) copiedAt(name schema.Name) (pglogrepl.LSN, bool) {
	for _, unit := range []schema.Name{name, a.stream.counters.root(name)} {
		if lsn, ok := a.copied[unit.String()]; ok {
			return lsn, true
		}
	}
	return 0, false
}

// readRoots reads the partitions of the source anew.
func (a *applier) readRoots(ctx context.Context) error {
	conn, err := a.cfg.Source.Connect(ctx, "pgsyncd "+a.cfg.Task+" source")
	if err != nil {
		return err
	}
	defer closeRaw(ctx, conn.PgConn())
	roots, err := readRoots(ctx, conn)
	if err != nil {
		return err
	}
	a.stream.counters.partitions(roots)
	return nil
}
