package schema

import "slices"

// Mirror returns the selection of the destination that corresponds to this one of the source, of which inv is the inventory: under the
// names of the destination, what is taken and, in schemas that are taken whole, what else may be there.
func (s Selection) Mirror(inv *Inventory) Selection {
	m := Selection{All: s.All, Accounts: s.Accounts}
	scope := newScope(s)
	for _, name := range s.Schemas {
		if to := s.TargetSchema(name); !slices.Contains(m.Schemas, to) {
			m.Schemas = append(m.Schemas, to)
		}
	}
	taken := map[Name]bool{}
	single := func(list *[]Name, target Name) {
		taken[target] = true
		if !s.All && !slices.Contains(m.Schemas, target.Schema) && !slices.Contains(*list, target) {
			*list = append(*list, target)
		}
	}
	for _, t := range inv.Tables {
		single(&m.Tables, t.Target)
	}
	for _, v := range inv.Views {
		single(&m.Views, v.Target)
	}
	for _, v := range inv.Matviews {
		single(&m.Matviews, v.Target)
	}
	for _, q := range inv.Sequences {
		single(&m.Sequences, q.Target)
	}
	if s.All {
		m.Except = s.mirrorException(inv, scope, taken)
	}
	return m
}

// mirrorException is what a whole destination is taken without, unless something that is selected has its name there.
func (s Selection) mirrorException(inv *Inventory, scope *scope, taken map[Name]bool) (x Exception) {
	whole := map[string]bool{}
	for name := range inv.schemas {
		if scope.whole(name) {
			whole[s.TargetSchema(name)] = true
		}
	}
	for name := range taken {
		whole[name.Schema] = true
	}
	for _, name := range s.Except.Schemas {
		if to := s.TargetSchema(name); !whole[to] {
			x.Schemas = append(x.Schemas, to)
		}
	}
	for oid, rel := range inv.relations {
		isTable := rel.Kind == 'r' || rel.Kind == 'p' || rel.Kind == 'f'
		if to := s.Target(rel.name()); isTable && !inv.selected[oid] && !inv.refused[oid] && rel.exclusion() == "" && !taken[to] {
			x.Tables = append(x.Tables, to)
		}
	}
	slices.SortFunc(x.Tables, Name.Compare)
	return x
}
