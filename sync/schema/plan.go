package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The catalogs whose objects are looked up in the inventory.
const (
	classRelation   = 1259
	classConstraint = 2606
	classStatistics = 3381
)

// Plan sorts the archive's entries into the order in which the structure is built. The inventory must come from the same source and
// selection, and best from the same snapshot. Excluded names everything that is left out against expectation, unsupported objects of
// the inventory included, but not what the selection leaves out by itself. Tablespaces are not carried.
func (a *Archive) Plan(inv *Inventory, sel Selection, o PlanOptions) (*Plan, error) {
	p := newPlanner(a, inv, sel, o)
	p.schemas()
	section := SectionPreData
	for i := range a.Entries {
		e := a.Entries[i]
		if e.Section != SectionNone {
			section = e.Section
		}
		e.Table = p.tableOf(&e)
		if e.Desc == "ACL" || e.Desc == "DEFAULT ACL" {
			p.carryPrivileges(e)
			continue
		}
		verdict := p.judge(&e)
		p.verdicts[e.ID] = verdict
		switch {
		case verdict.reason != "" && !verdict.silent:
			p.exclude(&e, verdict.reason)
		case verdict.taken:
			p.carryOwner(&e)
			p.take(e, section)
		}
	}
	p.inherited()
	p.statistics()
	p.inline()
	p.finishRights()
	p.plan.After = append(p.plan.After, p.last...)
	for _, s := range inv.Sequences {
		follower := s.OwnedBy != nil && inv.Table(*s.OwnedBy) != nil && p.follows[inv.Table(*s.OwnedBy).OID] != nil
		if follower || p.taken[catalogID{classRelation, s.OID}] {
			p.plan.Sequences = append(p.plan.Sequences, s.Name)
		}
	}
	for _, t := range inv.Tables {
		if p.taken[catalogID{classRelation, t.OID}] {
			continue
		}
		if _, excluded := p.plan.Excludes(t.Name); !excluded && !slices.Contains(o.Without, t.Name) {
			return nil, fmt.Errorf("plan: table %s is not in the dump", t.Name)
		}
	}
	return &p.plan, nil
}

// planner is one run of Plan.
type planner struct {
	archive   *Archive
	inv       *Inventory
	sel       Selection
	scope     *scope
	mapper    *Mapper
	plan      Plan
	rights    *rights
	last      []Entry // event triggers: they would fire on the statements after them
	byID      map[int]*Entry
	verdicts  map[int]verdict
	taken     map[catalogID]bool
	dumped    map[catalogID]bool // objects that the archive has
	remade    map[catalogID]bool // objects that the inventory has entries for, and the archive at most a part
	tables    map[uint32]*Table
	sequences map[uint32]*Sequence
	follows   map[uint32]*Table // tables that share their destination with one before them, which it is made from
	populate  map[uint32]Name   // populated materialized views
	unwanted  map[int]bool      // indexes a task without indexes does not need
	merged    map[string]string // where schemas become one: source's name by kind and destination's name
}

func newPlanner(a *Archive, inv *Inventory, sel Selection, o PlanOptions) *planner {
	p := &planner{
		archive: a, inv: inv, sel: sel, scope: newScope(sel), rights: newRights(inv, o), mapper: NewMapper(sel, inv), plan: Plan{without: map[Name]string{}},
		byID: make(map[int]*Entry, len(a.Entries)), verdicts: make(map[int]verdict, len(a.Entries)),
		taken: map[catalogID]bool{}, dumped: map[catalogID]bool{}, remade: map[catalogID]bool{}, tables: map[uint32]*Table{}, follows: map[uint32]*Table{},
		sequences: map[uint32]*Sequence{},
		populate:  map[uint32]Name{},
		merged:    map[string]string{},
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		p.byID[e.ID] = e
		p.dumped[catalogID{e.ClassOID, e.OID}] = true
	}
	for _, e := range inv.inherited {
		p.remade[catalogID{e.ClassOID, e.OID}] = true
	}
	for i := range inv.Sequences {
		p.sequences[inv.Sequences[i].OID] = &inv.Sequences[i]
	}
	first := map[Name]*Table{}
	for i := range inv.Tables {
		t := &inv.Tables[i]
		p.tables[t.OID] = t
		if first[t.Target] == nil {
			first[t.Target] = t
		} else {
			p.follows[t.OID] = first[t.Target]
		}
	}
	for _, m := range inv.Matviews {
		if m.Populated {
			p.populate[m.OID] = m.Name
		}
	}
	if !o.Indexes {
		p.unwanted = p.unwantedIndexes()
	}
	return p
}

func (p *planner) exclude(e *Entry, reason string) {
	name := Name{e.Namespace, e.Tag}
	p.plan.Excluded = append(p.plan.Excluded, Excluded{Kind: e.Desc, Name: name, Table: e.Table, Reason: reason})
	if e.Desc == "TABLE" {
		p.plan.without[name] = reason
	}
}

// schemas begins the plan with the schemas of the destination that no entry makes: those of single relations, those that relations are
// mapped to, and public, which pg_dump takes for granted but a destination may have dropped.
func (p *planner) schemas() {
	needed, made := map[string]bool{}, map[string]bool{}
	for _, t := range p.inv.Tables {
		needed[t.Target.Schema] = true
	}
	for _, v := range p.inv.Views {
		needed[v.Target.Schema] = true
	}
	for _, m := range p.inv.Matviews {
		needed[m.Target.Schema] = true
	}
	for _, s := range p.inv.Sequences {
		needed[s.Target.Schema] = true
	}
	for _, e := range p.archive.Entries {
		if e.Desc == "SCHEMA" && e.Tag != "public" && p.scope.whole(e.Tag) && ExcludedSchema(e.Tag) == "" {
			made[p.sel.TargetSchema(e.Tag)] = true
		} else if e.Namespace != "" && p.scope.whole(e.Namespace) && (e.Namespace == "public" || !p.sel.All) {
			needed[p.sel.TargetSchema(e.Namespace)] = true
		} else if e.Desc == "EXTENSION" && p.inv.extensions[e.OID] == "public" {
			needed[p.sel.TargetSchema("public")] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		if !made[name] {
			p.plan.Before = append(p.plan.Before, Entry{
				Section: SectionPreData, Desc: "SCHEMA", Tag: name, Target: Name{Name: name}.String(), Definition: createSchema(name),
			})
		}
	}
}

// inherited adds what a partition has from a partitioned table that is not selected.
func (p *planner) inherited() {
	for _, e := range p.inv.inherited {
		if !p.taken[catalogID{classRelation, p.inv.named[e.Table]}] {
			continue
		}
		reference := p.inv.parts[catalogID{e.ClassOID, e.OID}].references
		switch v := p.judge(&e); {
		case v.taken && reference != 0 && !p.taken[catalogID{classRelation, reference}]:
			p.exclude(&e, fmt.Sprintf("the referenced table %s is left out", p.inv.relations[reference].name()))
		case v.reason != "":
			p.exclude(&e, v.reason)
		case v.taken:
			p.take(e, SectionPostData)
		}
	}
}

// statistics adds the extended statistics that a dump of single tables does not have.
func (p *planner) statistics() {
	for _, e := range p.inv.statistics {
		id := catalogID{classStatistics, e.OID}
		switch reason := p.inv.lacks[id]; {
		case p.dumped[id], e.Definition == "", p.follows[p.inv.named[e.Table]] != nil:
		case reason != "":
			p.exclude(&e, reason)
		default:
			p.carryOwner(&e)
			if err := p.mapper.entry(&e); err != nil {
				p.exclude(&e, err.Error())
				continue
			}
			p.plan.After = append(p.plan.After, e)
		}
	}
}

// inline reports what table statements are made without.
func (p *planner) inline() {
	for _, t := range p.inv.Tables {
		if !p.taken[catalogID{classRelation, t.OID}] || p.follows[t.OID] != nil {
			continue
		}
		for _, i := range p.inv.inline[t.OID] {
			e := Entry{Desc: "DEFAULT", Namespace: t.Name.Schema, Tag: t.Name.Name + " " + i.name, Table: t.Name}
			if i.id.class == classConstraint {
				e.Desc = "CHECK CONSTRAINT"
			}
			if !p.dumped[i.id] {
				p.exclude(&e, i.reason)
			}
		}
	}
}

// createSchema creates a schema where it is missing. CREATE SCHEMA IF NOT EXISTS alone would demand CREATE on the database from a user
// whose schema is already there.
func createSchema(name string) string {
	quoted := pgx.Identifier{name}.Sanitize()
	literal := "'" + strings.ReplaceAll(name, "'", "''") + "'"
	if strings.Contains(name, `\`) {
		literal = " E" + strings.ReplaceAll(literal, `\`, `\\`)
	}
	tag := "$pgsyncd$"
	for strings.Contains(name, tag) {
		tag = tag[:len(tag)-1] + "_$"
	}
	return fmt.Sprintf(`DO %[1]s BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %[2]s) THEN
    CREATE SCHEMA %[3]s;
  END IF;
END %[1]s`, tag, literal, quoted)
}

// take puts an entry where it belongs.
func (p *planner) take(e Entry, section Section) {
	p.taken[catalogID{e.ClassOID, e.OID}] = true
	if e.Definition == "" || e.Desc == "TABLE" && p.follows[e.OID] != nil {
		return
	}
	e.Definition = withAccessMethod(&e)
	p.splitConstraint(&e)
	if err := p.mapper.entry(&e); err != nil {
		p.verdicts[e.ID] = verdict{reason: err.Error()}
		if !annotates(&e) && e.Desc != "SEQUENCE OWNED BY" {
			p.exclude(&e, err.Error())
		}
		return
	}
	p.refuseSecond(&e)
	t := p.inv.Table(e.Table)
	held := t != nil && t.Kind == KindTable
	switch {
	case e.Desc == "EVENT TRIGGER", annotates(&e) && p.isLast(e.Depends):
		p.last = append(p.last, e)
	case e.Desc == "INDEX" && held:
		p.plan.Indexes = append(p.plan.Indexes, e)
	case e.Desc == "CONSTRAINT" && held:
		p.plan.Constraints = append(p.plan.Constraints, e)
	case section == SectionPreData:
		p.plan.Before = append(p.plan.Before, e)
	default:
		p.plan.After = append(p.plan.After, e)
	}
	if name, ok := p.populate[e.OID]; ok && e.Desc == "MATERIALIZED VIEW" {
		p.plan.Matviews = append(p.plan.Matviews, name)
	}
}

// refuseSecond refuses an object that would replace or miss another one of its name, because several schemas become one. Relations are
// checked with the selection; parts of tables have names of their own.
func (p *planner) refuseSecond(e *Entry) {
	switch {
	case len(p.sel.Map.Schemas) == 0 || e.Namespace == "" || e.Table != (Name{}) || e.ClassOID == classRelation || annotates(e):
	case strings.HasPrefix(e.Desc, "OPERATOR"): // their names say nothing of their operands
	default:
		_, name := e.Object()
		key := e.Desc + " " + e.Target
		if first, ok := p.merged[key]; ok {
			e.Refused = fmt.Sprintf("would have the name of %s in the destination: %s", first, e.Target)
			return
		}
		p.merged[key] = name
	}
}

func (p *planner) isLast(depends []int) bool {
	return slices.ContainsFunc(depends, func(id int) bool { return p.byID[id].Desc == "EVENT TRIGGER" })
}

// withAccessMethod adds what pg_restore would do about a table's access method. The built-in one is left to the destination's default.
func withAccessMethod(e *Entry) string {
	if e.AccessMethod == "" || e.AccessMethod == "heap" {
		return e.Definition
	}
	method := pgx.Identifier{e.AccessMethod}.Sanitize()
	if e.RelKind == KindPartitioned {
		return fmt.Sprintf("%s\nALTER TABLE %s SET ACCESS METHOD %s;", e.Definition, Name{e.Namespace, e.Tag}, method)
	}
	return fmt.Sprintf("SET default_table_access_method = %s;\n%s\nRESET default_table_access_method;", method, e.Definition)
}

// unwantedIndexes finds the indexes that neither identify rows nor back a foreign key. An index and those attached to it go together.
func (p *planner) unwantedIndexes() map[int]bool {
	unwanted := map[int]bool{}
	for _, e := range p.archive.Entries {
		if e.Desc == "INDEX" && !p.inv.parts[catalogID{classRelation, e.OID}].identity {
			unwanted[e.ID] = true
		}
	}
	for _, e := range p.archive.Entries {
		if e.Desc == "FK CONSTRAINT" {
			for _, id := range e.Depends {
				delete(unwanted, id)
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, e := range p.archive.Entries {
			if e.Desc != "INDEX ATTACH" {
				continue
			}
			before := len(unwanted)
			wanted := slices.ContainsFunc(e.Depends, func(id int) bool {
				d := p.byID[id]
				return d != nil && d.Desc == "INDEX" && !unwanted[id]
			})
			for _, id := range e.Depends {
				if wanted {
					delete(unwanted, id)
				}
			}
			changed = changed || len(unwanted) != before
		}
	}
	return unwanted
}
