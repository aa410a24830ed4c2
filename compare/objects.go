package compare

import (
	"context"
	"slices"
	"strings"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"
)

// objects compares the definitions of all objects of the task.
func (j *job) objects(ctx context.Context) error {
	t, err := j.readStructure(ctx)
	if err != nil {
		return err
	}
	list := t.compare()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := j.cfg.Catalog.SaveCompareObjects(ctx, j.run.ID, list); err != nil {
		return err
	}
	for _, o := range list {
		j.tally(o.Result)
	}
	return nil
}

// tally counts an outcome that is no table's.
func (j *job) tally(result string) {
	j.run.TablesTotal++
	j.run.TablesDone++
	if result == ResultDifferent || result == ResultMissing {
		j.run.TablesDifferent++
	}
}

// attribute reports whether an entry is something that an object has, and no object itself.
func attribute(e *schema.Entry) bool {
	switch e.Desc {
	case "COMMENT", "SECURITY LABEL", "ACL", "OWNER":
		return true
	}
	return false
}

// valued reports whether an entry always has a value, be it an empty one, so that where one side has none the sides differ.
func valued(e *schema.Entry) bool {
	return attribute(e) || e.Desc == "DEFAULT ACL" || e.Desc == "ROW SECURITY"
}

// matching finds to each entry of the source the one of the destination.
type matching struct {
	*structure
	source, destination []schema.Entry
	of                  []int // for each of source an index into destination, -1 for none
	found               []bool
	byID                map[int]*schema.Entry // of the destination, by the ID of what it is in the source
}

// compare lists every object of the source with its outcome, and those that only the destination has.
func (t *structure) compare() []catalog.CompareObject {
	m := t.match()
	missing := m.missing()
	var list []catalog.CompareObject
	for i := range m.source {
		e := &m.source[i]
		if attribute(e) && slices.ContainsFunc(e.Depends, func(id int) bool { return missing[id] }) {
			continue // goes without saying
		}
		o := outcome(e)
		switch {
		case e.Desc == "OWNER":
			if len(e.Depends) > 0 && m.byID[e.Depends[0]] != nil {
				m.owner(&o, e, m.byID[e.Depends[0]])
			}
		case m.of[i] >= 0:
			d := &m.destination[m.of[i]]
			o.DestinationName = nameOf(d)
			m.definitions(&o, e, d)
		case e.Desc == "SCHEMA" && t.schemas[e.Target]:
		case t.unseen.why(e) != "":
			o.Result, o.SourceDefinition, o.Remarks = ResultUndecided, &e.Definition, t.unseen.why(e)
		default:
			o.Result, o.SourceDefinition = ResultMissing, &e.Definition
			if valued(e) {
				o.Result = ResultDifferent
			}
		}
		list = append(list, o)
	}
	return append(list, m.extra()...)
}

// outcome begins the row of an object of the source, which is equal as yet.
func outcome(e *schema.Entry) catalog.CompareObject {
	kind, name := e.Object()
	return catalog.CompareObject{Type: kind, Name: name, DestinationName: e.Target, Result: ResultEqual}
}

func nameOf(e *schema.Entry) string {
	_, name := e.Object()
	return name
}

// definitions compares the two definitions of one object.
func (m *matching) definitions(o *catalog.CompareObject, e, d *schema.Entry) {
	if e.Desc == "SCHEMA" || e.Definition == d.Definition || m.same(e, d) {
		return
	}
	o.Result, o.SourceDefinition, o.DestinationDefinition = ResultDifferent, &e.Definition, &d.Definition
}

// same compares what definitions mean. Where that cannot be told, their texts are compared, which differ.
func (t *structure) same(e, d *schema.Entry) bool {
	if e.Desc == "ACL" || e.Desc == "DEFAULT ACL" {
		a, errA := e.Rights(t.oldest)
		b, errB := d.Rights(t.oldest)
		return errA == nil && errB == nil && slices.Equal(a, b)
	}
	a, errA := schema.CanonicalDefinition(e.Definition, t.oldest)
	b, errB := schema.CanonicalDefinition(d.Definition, t.oldest)
	if errA != nil || errB != nil {
		return strings.Join(strings.Fields(e.Definition), " ") == strings.Join(strings.Fields(d.Definition), " ")
	}
	return a == b
}

// owner compares the owner that the task gives an object with the one it has.
func (m *matching) owner(o *catalog.CompareObject, e, d *schema.Entry) {
	if e.Owner != d.Owner {
		wanted, actual := ownerTo(e), ownerTo(d)
		o.Result, o.SourceDefinition, o.DestinationDefinition = ResultDifferent, &wanted, &actual
	}
}

func ownerTo(e *schema.Entry) string { return "OWNER TO " + schema.Name{Name: e.Owner}.String() }

// missing are the IDs of the source's objects that the destination lacks.
func (m *matching) missing() map[int]bool {
	ids := map[int]bool{}
	for i := range m.source {
		e := &m.source[i]
		if m.of[i] < 0 && e.ID != 0 && !valued(e) {
			ids[e.ID] = true
		}
	}
	return ids
}

// extra lists what only the destination has. What an extra object has goes without saying; what only the destination says of an object
// that both have is a difference.
func (m *matching) extra() []catalog.CompareObject {
	var list []catalog.CompareObject
	for _, e := range m.extraEntries() {
		kind, name := e.Object()
		o := catalog.CompareObject{Type: kind, Name: name, DestinationName: name, Result: ResultExtra, DestinationDefinition: &e.Definition}
		if valued(e) {
			o.Result = ResultDifferent
		}
		list = append(list, o)
	}
	return list
}

// extraEntries are those of the destination that are in the source's place of nothing.
func (m *matching) extraEntries() []*schema.Entry {
	var list []*schema.Entry
	alone := map[int]bool{}
	for i := range m.destination {
		e := &m.destination[i]
		if m.found[i] || e.Desc == "SCHEMA" && e.ID == 0 || e.Desc == "OWNER" {
			continue
		}
		alone[e.ID] = e.ID != 0 && !attribute(e)
		if !attribute(e) || !slices.ContainsFunc(e.Depends, func(id int) bool { return alone[id] }) {
			list = append(list, e)
		}
	}
	return list
}

// match pairs entries whose names are written alike, then, by what they mean, what is left.
func (t *structure) match() *matching {
	m := &matching{structure: t}
	for _, e := range entries(t.source) {
		if e.Refused == "" { // else the task does not make it
			m.source = append(m.source, e)
		}
	}
	m.destination = entries(t.destination)
	m.of, m.found = make([]int, len(m.source)), make([]bool, len(m.destination))
	for i := range m.of {
		m.of[i] = -1
	}
	m.pair(func(e *schema.Entry) string { return written(e, t.selection.Maps()) })
	m.pair(func(e *schema.Entry) string {
		if e.Desc == "OWNER" {
			return "" // see owner
		}
		key, err := e.Identity()
		if err != nil {
			return ""
		}
		return key
	})
	m.byID = map[int]*schema.Entry{}
	for i, at := range m.of {
		if at >= 0 && m.source[i].ID != 0 {
			m.byID[m.source[i].ID] = &m.destination[at]
		}
	}
	return m
}

// written is how an entry's object is named, empty where that does not suffice.
func written(e *schema.Entry, mapped bool) string {
	switch {
	case e.Desc == "OWNER":
		return ""
	case e.Desc == "SCHEMA", e.Desc == "ROW SECURITY", e.Desc == "TABLE ATTACH":
		return e.Desc + " " + e.Target
	case e.Drop != "":
		return e.Desc + " " + e.Drop
	case mapped:
		return ""
	}
	return e.Key()
}

// merged reports whether some of the source's objects are one in the destination: only schemas, and what is said of them.
func (m *matching) merged(sources []int) bool {
	return !slices.ContainsFunc(sources, func(i int) bool {
		e := &m.source[i]
		return e.Desc != "SCHEMA" && (!attribute(e) || !strings.HasPrefix(e.Tag, "SCHEMA "))
	})
}

// pair matches what has no partner yet and a key that nothing else on its side has.
func (m *matching) pair(key func(*schema.Entry) string) {
	there := map[string][]int{}
	for i := range m.destination {
		if m.found[i] {
			continue
		}
		if k := key(&m.destination[i]); k != "" {
			there[k] = append(there[k], i)
		}
	}
	here := map[string][]int{}
	for i := range m.source {
		if m.of[i] >= 0 || len(there) == 0 {
			continue
		}
		if k := key(&m.source[i]); k != "" {
			here[k] = append(here[k], i)
		}
	}
	for k, sources := range here {
		targets := there[k]
		if len(targets) != 1 || len(sources) > 1 && !m.merged(sources) {
			continue
		}
		m.found[targets[0]] = true
		for _, i := range sources {
			m.of[i] = targets[0]
		}
	}
}
