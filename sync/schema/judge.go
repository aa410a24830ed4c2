package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// verdict is what becomes of an entry: taken, left out for a reason, or (neither) left out because nobody asked for it.
type verdict struct {
	taken  bool
	reason string
	silent bool // the reason is not reported: pgsyncd's own objects
}

// tableOf finds the table, or other relation, an entry belongs to.
func (p *planner) tableOf(e *Entry) Name {
	switch e.Desc {
	case "TABLE", "TABLE ATTACH", "ROW SECURITY", "SEQUENCE OWNED BY":
		return Name{e.Namespace, e.Tag}
	case "COMMENT", "SECURITY LABEL", "ACL":
		if len(e.Depends) > 0 && p.byID[e.Depends[0]] != nil && !annotates(p.byID[e.Depends[0]]) {
			return p.tableOf(p.byID[e.Depends[0]])
		}
		return Name{}
	case "INDEX ATTACH": // depends on both indexes and both tables
		for _, id := range e.Depends {
			if d := p.byID[id]; d != nil && d.Desc == "TABLE" {
				return Name{d.Namespace, d.Tag}
			}
		}
		return Name{}
	}
	if part, ok := p.inv.parts[catalogID{e.ClassOID, e.OID}]; ok {
		return p.inv.relations[part.relation].name()
	}
	if e.Desc == "DEFAULT" && e.OID == 0 { // NULL in place of a default that would be inherited, which no catalog has
		for _, id := range e.Depends {
			if d := p.byID[id]; d != nil && d.Desc == "TABLE" && strings.HasPrefix(e.Tag, d.Tag+" ") {
				return Name{d.Namespace, d.Tag}
			}
		}
	}
	return Name{}
}

// judge decides about one entry. Those it depends on have been judged before: the archive is in order of dependency.
func (p *planner) judge(e *Entry) verdict {
	switch {
	case notCarried[e.Desc], p.unwanted[e.ID], e.Desc == "SCHEMA" && e.Tag == "public": // for public see schemas
		return verdict{}
	case annotates(e):
		return verdict{taken: p.annotationTaken(e)}
	case !p.wanted(e), e.ID != 0 && p.remade[catalogID{e.ClassOID, e.OID}]:
		return verdict{}
	}
	if v, ok := p.unsupported(e); ok {
		return v
	}
	if oid, ok := p.relationOf(e); ok {
		if v, ok := p.judgePart(e, p.inv.relations[oid]); ok {
			return v
		}
	}
	if v, ok := p.dependsOnMissing(e); ok {
		return v
	}
	if reason := p.inv.lacks[catalogID{e.ClassOID, e.OID}]; reason != "" {
		return verdict{reason: reason}
	}
	return verdict{taken: e.Desc != "INDEX ATTACH" || p.attachable(e)}
}

// relationOf returns the relation of the inventory that an entry is or belongs to.
func (p *planner) relationOf(e *Entry) (uint32, bool) {
	if e.Table == (Name{}) {
		oid := e.OID
		_, ok := p.inv.relations[oid]
		return oid, ok && e.ClassOID == classRelation
	}
	oid, ok := p.inv.named[e.Table]
	return oid, ok
}

// wanted reports whether the selection asks for an entry, supported or not.
func (p *planner) wanted(e *Entry) bool {
	if e.Desc == "INDEX ATTACH" {
		return true // see attachable
	}
	if oid, ok := p.relationOf(e); ok {
		return p.inv.selected[oid] || p.inv.refused[oid]
	}
	switch e.Desc {
	case "SCHEMA":
		return p.scope.whole(e.Tag)
	case "EXTENSION":
		if schema, known := p.inv.extensions[e.OID]; known {
			return p.scope.whole(schema)
		}
	}
	return p.scope.other(e.Namespace)
}

// judgePart decides about an entry that is a relation or belongs to one. It has no opinion where nothing speaks against it.
func (p *planner) judgePart(e *Entry, rel relation) (v verdict, decided bool) {
	if !p.scope.whole(rel.Schema) {
		if reason, ok := tableLevel[e.Desc]; !ok || reason != "" {
			return verdict{reason: reason}, true
		}
	}
	part := p.inv.parts[catalogID{e.ClassOID, e.OID}]
	if leader := p.follows[rel.OID]; leader != nil {
		return p.judgeFollower(e, rel, leader), true
	}
	t := p.tables[rel.OID]
	switch {
	case t == nil:
	case e.Desc == "TABLE ATTACH":
		for _, parent := range t.Parents {
			if p.inv.Table(parent) == nil {
				return verdict{reason: fmt.Sprintf("its partitioned table %s is not selected", parent)}, true
			}
		}
	case e.Desc == "FK CONSTRAINT" && p.tables[part.references] == nil:
		return verdict{reason: fmt.Sprintf("the referenced table %s is not selected", p.inv.relations[part.references].name())}, true
	case e.Desc == "FK CONSTRAINT" && p.tables[part.references].Filter != "":
		return verdict{reason: fmt.Sprintf("a filter leaves out rows of the referenced table %s", p.inv.relations[part.references].name())}, true
	case e.Desc == "DEFAULT" && t.column(cmp.Or(part.name, strings.TrimPrefix(e.Tag, t.Name.Name+" "))) == nil:
		return verdict{}, true
	}
	if s := p.sequences[rel.OID]; s != nil && s.OwnedBy != nil {
		owner := p.inv.Table(*s.OwnedBy)
		switch {
		case owner != nil && p.follows[owner.OID] != nil:
			return verdict{}, true
		case e.Desc == "SEQUENCE OWNED BY" && (owner == nil || owner.column(s.OwnerColumn) == nil) && !p.inv.refused[p.inv.named[*s.OwnedBy]]:
			return verdict{reason: fmt.Sprintf("column %s of table %s is not selected", Name{Name: s.OwnerColumn}, *s.OwnedBy)}, true
		}
	}
	return verdict{}, false
}

// judgeFollower decides about a table that shares its destination with another one, and about what belongs to it.
func (p *planner) judgeFollower(e *Entry, rel relation, leader *Table) verdict {
	switch e.Desc {
	case "TABLE":
		return verdict{taken: true} // what depends on it is made; take leaves out the table
	case "DEFAULT":
		return verdict{}
	}
	return verdict{reason: fmt.Sprintf("%s shares %s of the destination with %s, which has the structure of that", rel.name(), leader.Target, leader.Name)}
}

// dependsOnMissing leaves out what depends on something that is left out. Other objects than relations that a selection of schemas or
// tables does not take may exist in the destination; those that are excepted from the whole database count as missing.
func (p *planner) dependsOnMissing(e *Entry) (v verdict, decided bool) {
	for _, id := range e.Depends {
		d := p.byID[id]
		if d == nil {
			continue
		}
		named := *d
		named.Table = p.tableOf(d)
		kind, name := named.Object()
		if v := p.verdicts[id]; v.reason != "" {
			reason := fmt.Sprintf("depends on %s %s: %s", kind, name, v.reason)
			return verdict{reason: reason, silent: v.silent && e.Desc != "TABLE"}, true
		}
		if _, isRelation := p.relationOf(d); p.sel.All && !isRelation && !notCarried[d.Desc] && !p.wanted(d) {
			return verdict{reason: fmt.Sprintf("depends on %s %s, which is not selected", kind, name)}, true
		}
	}
	return verdict{}, false
}

// attachable reports whether both indexes of an INDEX ATTACH are made. One above a table that is not selected need not even be in the
// archive.
func (p *planner) attachable(e *Entry) bool {
	made := map[int]bool{}
	for _, id := range e.Depends {
		if d := p.byID[id]; d != nil && (d.Desc == "INDEX" || d.Desc == "CONSTRAINT") && p.verdicts[id].taken {
			made[id] = true
		}
	}
	return len(made) >= 2
}

// unsupported judges the objects that are never synchronized.
func (p *planner) unsupported(e *Entry) (verdict, bool) {
	if reason, ok := unsupportedKinds[e.Desc]; ok {
		return verdict{reason: reason, silent: ownPublication(e.Desc, e.Tag)}, true
	}
	if reason, ok := p.inv.unsupported[catalogID{e.ClassOID, e.OID}]; ok {
		return verdict{reason: reason}, true
	}
	schema := e.Namespace
	if e.Desc == "SCHEMA" {
		schema = e.Tag
	}
	if reason := ExcludedSchema(schema); reason != "" {
		return verdict{reason: reason, silent: schema == "pgsyncd"}, true
	}
	return verdict{}, false
}

// ownPublication reports whether an object is a publication that pgsyncd made for a task.
func ownPublication(kind, name string) bool {
	return kind == "PUBLICATION" && strings.HasPrefix(name, "pgsyncd")
}

// annotationTaken decides about a comment, security label or privileges: they go with their object. Schema public keeps its own.
func (p *planner) annotationTaken(e *Entry) bool {
	if len(e.Depends) == 0 {
		return false
	}
	for _, id := range e.Depends {
		d := p.byID[id]
		if d == nil || d.Desc != "ACL" && !p.verdicts[id].taken { // a column's privileges come after its table's
			return false
		}
	}
	t := p.inv.Table(e.Table)
	if t == nil {
		return true
	}
	if p.follows[t.OID] != nil {
		return false
	}
	// The remark may be on a part of the table's own statement.
	if rest, ok := strings.CutPrefix(e.Tag, "COLUMN "); ok {
		if _, rest, ok = cutIdentifier(rest); ok && rest != "" {
			name, _, _ := cutIdentifier(rest[1:])
			return !slices.Contains(t.Omitted, name)
		}
	}
	if rest, ok := strings.CutPrefix(e.Tag, "CONSTRAINT "); ok {
		name, _, _ := cutIdentifier(rest)
		return !slices.ContainsFunc(p.inv.inline[t.OID], func(i inline) bool { return i.id.class == classConstraint && i.name == name })
	}
	return true
}
