package fullcopy

import (
	"context"

	"pgsyncd/sync/schema"
)

// layout tells which partitions of the source the destination is not given, because it has the partitioned table already
// and divides it in its own way, or not at all. Their rows go into that table.
type layout struct {
	absent map[schema.Name]bool // partitions that are not created
	own    map[schema.Name]bool // partitioned tables whose indexes are the destination's affair
}

// readLayout looks at the tables that exist in the destination and were not created by this task.
func (j *job) readLayout(ctx context.Context, inv *schema.Inventory) (layout, error) {
	l := layout{absent: map[schema.Name]bool{}, own: map[schema.Name]bool{}}
	if j.cfg.ExistingObjects != ExistingUse && j.cfg.ExistingObjects != ExistingAppend {
		return l, nil
	}
	dest, err := j.readDestination(ctx, inv)
	if err != nil {
		return l, err
	}
	created := map[schema.Name]bool{}
	for _, t := range inv.Tables {
		if j.marks.has(schema.Entry{Desc: "TABLE", Namespace: t.Name.Schema, Tag: t.Name.Name}.Key()) {
			created[t.Target] = true
		}
	}
	for i := range inv.Tables {
		t := &inv.Tables[i]
		root := topmost(inv, t)
		top := dest.Table(root.Target)
		if t == root || top == nil || created[root.Target] {
			continue
		}
		if own := dest.Table(t.Target); own == nil || topmost(dest, own).Name != root.Target {
			l.absent[t.Name] = true
			l.own[root.Name] = top.Kind == schema.KindPartitioned
		}
	}
	return l, nil
}
