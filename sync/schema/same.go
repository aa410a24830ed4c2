package schema

import (
	"reflect"
	"slices"
)

// SameStructure reports whether two inventories differ in nothing but how much the tables hold, in which files they are, and how far
// sequences and materialized views have come.
func (inv *Inventory) SameStructure(other *Inventory) bool {
	return reflect.DeepEqual(inv.structure(), other.structure())
}

func (inv *Inventory) structure() Inventory {
	s := *inv
	s.Tables, s.Sequences, s.Matviews = slices.Clone(inv.Tables), slices.Clone(inv.Sequences), slices.Clone(inv.Matviews)
	for i := range s.Tables {
		s.Tables[i].Rows, s.Tables[i].Bytes, s.Tables[i].Filenode = 0, 0, 0
	}
	for i := range s.Sequences {
		s.Sequences[i].LastValue, s.Sequences[i].IsCalled = 0, false
	}
	for i := range s.Matviews {
		s.Matviews[i].Populated = false
	}
	s.relations = make(map[uint32]relation, len(inv.relations))
	for oid, r := range inv.relations {
		r.Rows, r.Bytes, r.Filenode, r.Populated = 0, 0, 0, false
		s.relations[oid] = r
	}
	return s
}
