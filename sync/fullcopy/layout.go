package fullcopy

import (
	"context"

	"pgsyncd/sync/schema"
)

// layout tells which source tables are not created, because others of the task have the same name in the destination, or
// because the destination has a partitioned table already and divides it in its own way, or not at all.
type layout struct {
	absent map[schema.Name]bool // partitions whose rows go into the table above them
	own    map[schema.Name]bool // partitioned tables whose indexes are the destination's affair
	twins  map[schema.Name]bool // tables and sequences that another one of the same name in the destination stands for
	// values are the sequences of the destination that go on from each of the source's.
	values map[schema.Name]schema.Name
}

// readLayout looks at the tables that exist in the destination and were not created by this task. Tables that out accepts
// stand for no other.
func (j *job) readLayout(ctx context.Context, inv *schema.Inventory, out func(schema.Name) bool) (layout, error) {
	l := layout{absent: map[schema.Name]bool{}, own: map[schema.Name]bool{}}
	models := l.findTwins(inv, out)
	for i := range inv.Tables {
		t := &inv.Tables[i]
		root := topmost(inv, t)
		model := models[root.Target]
		if t != root && l.twins[root.Name] && !l.twins[t.Name] && model != nil && model.Kind != schema.KindPartitioned {
			l.absent[t.Name] = true
		}
	}
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

// findTwins chooses the first of all tables of one name in the destination, whose structure is made; likewise of sequences.
func (l *layout) findTwins(inv *schema.Inventory, out func(schema.Name) bool) (models map[schema.Name]*schema.Table) {
	l.twins, models = map[schema.Name]bool{}, map[schema.Name]*schema.Table{}
	for i := range inv.Tables {
		t := &inv.Tables[i]
		switch {
		case out(t.Name):
		case models[t.Target] == nil:
			models[t.Target] = t
		default:
			l.twins[t.Name] = true
		}
	}
	l.mergeSequences(inv)
	return models
}

// mergeSequences finds the sequences that are one in the destination: those that get the same name, and those that the same
// column of tables that become one draws from.
func (l *layout) mergeSequences(inv *schema.Inventory) {
	l.values = map[schema.Name]schema.Name{}
	column := func(s *schema.Sequence) string {
		if s.OwnedBy == nil {
			return ""
		}
		if t := inv.Table(*s.OwnedBy); t != nil {
			for _, c := range t.Columns {
				if c.Name == s.OwnerColumn {
					return t.Target.String() + "." + c.Target
				}
			}
		}
		return ""
	}
	taken, drawn := map[schema.Name]bool{}, map[string]schema.Name{}
	for i := range inv.Sequences {
		s := &inv.Sequences[i]
		if s.OwnedBy != nil && l.twins[*s.OwnedBy] {
			continue
		}
		l.twins[s.Name], l.values[s.Name] = taken[s.Target], s.Target
		taken[s.Target] = true
		if c := column(s); c != "" {
			drawn[c] = s.Target
		}
	}
	for i := range inv.Sequences {
		s := &inv.Sequences[i]
		if s.OwnedBy != nil && l.twins[*s.OwnedBy] {
			l.twins[s.Name] = true
			if target, ok := drawn[column(s)]; ok {
				l.values[s.Name] = target
			}
		}
	}
}
