package fullcopy

import (
	"context"
	"fmt"

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
	var wanted []schema.Name
	for _, t := range inv.Tables {
		wanted = append(wanted, t.Name)
	}
	dest, err := schema.Read(ctx, j.dst, schema.Selection{Tables: wanted})
	if err != nil {
		return l, fmt.Errorf("destination: %w", err)
	}
	for i := range inv.Tables {
		t := &inv.Tables[i]
		name := unitName(inv, t)
		top := dest.Table(name)
		if t.Name == name || top == nil || j.marks.has(schema.Entry{Desc: "TABLE", Namespace: name.Schema, Tag: name.Name}.Key()) {
			continue
		}
		if own := dest.Table(t.Name); own == nil || unitName(dest, own) != name {
			l.absent[t.Name] = true
			l.own[name] = top.Kind == schema.KindPartitioned
		}
	}
	return l, nil
}
