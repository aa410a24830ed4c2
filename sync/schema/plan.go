package schema

import (
	"fmt"
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
// the inventory included. Owners and privileges are not carried, tablespaces neither.
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
		verdict := p.judge(&e)
		p.verdicts[e.ID] = verdict
		switch {
		case verdict.reason != "" && !verdict.silent:
			p.exclude(&e, verdict.reason)
		case verdict.taken:
			p.take(e, section)
		}
	}
	for _, e := range inv.statistics {
		if !p.taken[catalogID{classStatistics, e.OID}] && e.Definition != "" {
			p.plan.After = append(p.plan.After, e)
		}
	}
	p.plan.After = append(p.plan.After, p.last...)
	for _, s := range inv.Sequences {
		if p.taken[catalogID{classRelation, s.OID}] {
			p.plan.Sequences = append(p.plan.Sequences, s.Name)
		}
	}
	for _, t := range inv.Tables {
		if p.taken[catalogID{classRelation, t.OID}] {
			continue
		}
		if _, excluded := p.plan.Excludes(t.Name); !excluded {
			return nil, fmt.Errorf("plan: table %s is not in the dump", t.Name)
		}
	}
	return &p.plan, nil
}

// verdict is what becomes of an entry: taken, left out for a reason, or (neither) left out because nobody asked for it.
type verdict struct {
	taken  bool
	reason string
	silent bool // the reason is not reported: pgsyncd's own objects
}

// planner is one run of Plan.
type planner struct {
	archive  *Archive
	inv      *Inventory
	sel      Selection
	plan     Plan
	last     []Entry // event triggers: they would fire on the statements after them
	byID     map[int]*Entry
	verdicts map[int]verdict
	taken    map[catalogID]bool
	tables   map[uint32]*Table
	owned    map[uint32]bool // sequences of the inventory
	populate map[uint32]Name // populated materialized views
	unwanted map[int]bool    // indexes a task without indexes does not need
}

func newPlanner(a *Archive, inv *Inventory, sel Selection, o PlanOptions) *planner {
	p := &planner{
		archive: a, inv: inv, sel: sel, plan: Plan{without: map[Name]string{}},
		byID: make(map[int]*Entry, len(a.Entries)), verdicts: make(map[int]verdict, len(a.Entries)),
		taken: map[catalogID]bool{}, tables: map[uint32]*Table{}, owned: map[uint32]bool{}, populate: map[uint32]Name{},
	}
	for i := range a.Entries {
		p.byID[a.Entries[i].ID] = &a.Entries[i]
	}
	for i := range inv.Tables {
		p.tables[inv.Tables[i].OID] = &inv.Tables[i]
	}
	for _, s := range inv.Sequences {
		p.owned[s.OID] = true
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
	p.plan.Excluded = append(p.plan.Excluded, Excluded{e.Desc, name, reason})
	if e.Desc == "TABLE" {
		p.plan.without[name] = reason
	}
}

// schemas begins the plan with schemas that have no entry of their own: those of a table-level plan, and public, which pg_dump
// takes for granted but a destination may have dropped.
func (p *planner) schemas() {
	var names []string
	add := func(name string) {
		if !p.sel.All || name == "public" {
			names = append(names, name)
		}
	}
	for _, t := range p.inv.Tables {
		add(t.Name.Schema)
	}
	for _, s := range p.inv.Sequences {
		add(s.Name.Schema)
	}
	if p.sel.All {
		for _, e := range p.archive.Entries {
			add(e.Namespace)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		p.plan.Before = append(p.plan.Before,
			Entry{Section: SectionPreData, Desc: "SCHEMA", Tag: name, Definition: createSchema(name)})
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

// tableOf finds the table, or other relation, an entry belongs to.
func (p *planner) tableOf(e *Entry) Name {
	switch e.Desc {
	case "TABLE", "TABLE ATTACH", "ROW SECURITY":
		return Name{e.Namespace, e.Tag}
	case "COMMENT", "SECURITY LABEL":
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
	return Name{}
}

// judge decides about one entry. Those it depends on have been judged before: the archive is in order of dependency.
func (p *planner) judge(e *Entry) verdict {
	switch {
	case notCarried[e.Desc], p.unwanted[e.ID], e.Desc == "SCHEMA" && e.Tag == "public": // for public see schemas
		return verdict{}
	case annotates(e):
		return verdict{taken: p.annotationTaken(e)}
	case !p.sel.All:
		return p.judgeTablePart(e)
	}
	if v, ok := p.unsupported(e); ok {
		return v
	}
	for _, id := range e.Depends {
		if v := p.verdicts[id]; v.reason != "" {
			d := p.byID[id]
			reason := fmt.Sprintf("depends on %s %s: %s", d.Desc, Name{d.Namespace, d.Tag}, v.reason)
			return verdict{reason: reason, silent: v.silent && e.Desc != "TABLE"}
		}
		if e.Desc == "INDEX ATTACH" && p.unwanted[id] {
			return verdict{}
		}
	}
	return verdict{taken: true}
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

// annotationTaken decides about a comment or security label: it goes with its object. Schema public keeps its own.
func (p *planner) annotationTaken(e *Entry) bool {
	if len(e.Depends) == 0 {
		return false
	}
	for _, id := range e.Depends {
		d := p.byID[id]
		if d == nil || !p.verdicts[id].taken {
			return false
		}
	}
	return true
}

// judgeTablePart decides about an entry of a table-level task.
func (p *planner) judgeTablePart(e *Entry) verdict {
	if e.ClassOID == classRelation && strings.HasPrefix(e.Desc, "SEQUENCE") {
		return verdict{taken: p.owned[e.OID]}
	}
	reason, ok := tableLevel[e.Desc]
	table := p.inv.Table(e.Table)
	switch {
	case !ok || table == nil || reason != "":
		return verdict{reason: reasonIf(table != nil, reason)}
	case e.Desc == "TABLE ATTACH":
		for _, parent := range table.Parents {
			if p.inv.Table(parent) == nil {
				return verdict{reason: fmt.Sprintf("its partitioned table %s is not selected", parent)}
			}
		}
	case e.Desc == "FK CONSTRAINT":
		part := p.inv.parts[catalogID{classConstraint, e.OID}]
		if p.tables[part.references] == nil {
			return verdict{reason: fmt.Sprintf("the referenced table %s is not selected", p.inv.relations[part.references].name())}
		}
	case e.Desc == "INDEX ATTACH":
		for _, id := range e.Depends {
			d := p.byID[id]
			if d != nil && (d.Desc == "TABLE" || d.Desc == "INDEX") && !p.verdicts[id].taken {
				return verdict{}
			}
		}
	}
	return verdict{taken: true}
}

func reasonIf(condition bool, reason string) string {
	if condition {
		return reason
	}
	return ""
}

// take puts an entry where it belongs.
func (p *planner) take(e Entry, section Section) {
	p.taken[catalogID{e.ClassOID, e.OID}] = true
	if e.Definition == "" {
		return
	}
	e.Definition = withAccessMethod(&e)
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
