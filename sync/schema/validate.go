package schema

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Validate checks a selection against the inventory that Read made for it: everything it names must exist and be what it is said to
// be, every pattern must match something, and what gets the same name in the destination must fit together. The error joins one
// *SelectionError for each fault. Filters are expressions: only a server can judge them.
func (s Selection) Validate(inv *Inventory) error {
	v := validator{scope: newScope(s), inv: inv}
	v.namedRelations()
	v.namedSchemas()
	v.namedPatterns()
	v.tableRules()
	v.inherited()
	v.mappings()
	v.targets()
	var list []error
	for _, e := range v.errs {
		list = append(list, e)
	}
	return errors.Join(list...)
}

// validator is one run of Validate.
type validator struct {
	*scope
	inv  *Inventory
	errs []*SelectionError
}

func (v *validator) fail(kind string, n Name, format string, args ...any) {
	v.errs = append(v.errs, &SelectionError{Kind: kind, Name: n, Reason: fmt.Sprintf(format, args...)})
}

// missing says that something does not exist, and what is called similarly. A similar name is of one of the kinds.
func (v *validator) missing(kind string, n Name, kinds string) {
	var known []Name
	for _, rel := range v.inv.relations {
		if strings.ContainsRune(kinds, rel.Kind) && rel.exclusion() == "" {
			known = append(known, rel.name())
		}
	}
	slices.SortFunc(known, Name.Compare)
	v.errs = append(v.errs, &SelectionError{Kind: kind, Name: n, Reason: "does not exist in the source", Near: nearest(n, known)})
}

// keywords are what a selection calls the kinds of relations.
var keywords = map[rune]string{'r': "TABLE", 'p': "TABLE", 'v': "VIEW", 'm': "MATERIALIZED VIEW", 'S': "SEQUENCE"}

func (v *validator) namedRelations() {
	for _, list := range []struct {
		kind  string
		kinds string
		names []Name
	}{
		{"table", "rp", v.Tables}, {"view", "v", v.Views}, {"materialized view", "m", v.Matviews}, {"sequence", "S", v.Sequences},
	} {
		for _, n := range list.names {
			v.namedRelation(list.kind, list.kinds, n)
		}
	}
	for _, n := range v.Except.Tables {
		v.existing("table", "rpf", n)
	}
}

// existing returns the relation of that name, after saying what is wrong if there is none of the kinds.
func (v *validator) existing(kind, kinds string, n Name) (relation, bool) {
	rel, ok := v.inv.relations[v.inv.named[n]]
	switch {
	case !ok && ExcludedSchema(n.Schema) != "":
		v.fail(kind, n, "cannot be synchronized: %s", ExcludedSchema(n.Schema))
	case !ok:
		v.missing(kind, n, kinds)
	case !strings.ContainsRune(kinds, rel.Kind) && rel.Kind != 'f':
		v.fail(kind, n, "is a %s: name it as %s %s", relationWords[rel.Kind], keywords[rel.Kind], n)
	default:
		return rel, true
	}
	return relation{}, false
}

// namedRelation checks a relation that was selected by its own name.
func (v *validator) namedRelation(kind, kinds string, n Name) {
	rel, ok := v.existing(kind, kinds, n)
	if !ok || v.inv.selected[rel.OID] {
		return
	}
	if v.excepts(rel.Kind, n) {
		v.fail(kind, n, "is selected and excepted")
		return
	}
	reason := rel.exclusion()
	if reason == "" {
		reason = v.inv.unsupported[catalogID{classRelation, rel.OID}]
	}
	if reason == "" && rel.Kind == 'S' {
		reason = "it belongs to an identity column of a table that is not selected"
	}
	v.fail(kind, n, "cannot be synchronized: %s", cmp.Or(reason, "it is part of something that is excepted"))
}

func (v *validator) namedSchemas() {
	known := make([]Name, 0, len(v.inv.schemas))
	for s := range v.inv.schemas {
		if ExcludedSchema(s) == "" {
			known = append(known, Name{Name: s})
		}
	}
	slices.SortFunc(known, Name.Compare)
	check := func(name string, selected bool) {
		n := Name{Name: name}
		switch reason := ExcludedSchema(name); {
		case !v.inv.schemas[name]:
			v.errs = append(v.errs, &SelectionError{Kind: "schema", Name: n, Reason: "does not exist in the source", Near: nearest(n, known)})
		case selected && reason != "":
			v.fail("schema", n, "cannot be synchronized: %s", reason)
		case selected && v.exceptSchemas[name]:
			v.fail("schema", n, "is selected and excepted")
		}
	}
	for _, name := range v.Schemas {
		check(name, true)
	}
	for _, name := range v.Except.Schemas {
		check(name, false)
	}
	for _, m := range v.Map.Schemas {
		check(m.From, true)
	}
}

// namedPatterns does not ask whether what a pattern matches is supported: that is reported table by table.
func (v *validator) namedPatterns() {
	for _, text := range slices.Concat(v.Patterns, v.Except.Patterns) {
		p, err := ParsePattern(text)
		if err != nil {
			v.errs = append(v.errs, &SelectionError{Kind: "pattern", Pattern: text, Reason: err.Error()})
			continue
		}
		matches := false
		for _, rel := range v.inv.relations {
			if (rel.Kind == 'r' || rel.Kind == 'p') && p.Matches(rel.name()) {
				matches = true
				break
			}
		}
		if !matches {
			v.errs = append(v.errs, &SelectionError{Kind: "pattern", Pattern: text, Reason: "matches no table of the source"})
		}
	}
}

func (v *validator) tableRules() {
	ruled := map[Name]bool{}
	for _, r := range v.Rules {
		t := v.inv.Table(r.Table)
		switch {
		case ruled[r.Table]:
			v.fail("table", r.Table, "has two lists of columns or filters")
			continue
		case t == nil:
			if _, ok := v.existing("table", "rp", r.Table); ok && !slices.Contains(v.Tables, r.Table) {
				v.fail("table", r.Table, "has a list of columns or a filter, but is not selected")
			}
			continue
		case t.Partition && v.inv.Table(t.Parents[0]) != nil:
			v.fail("table", r.Table, "is a partition of %s, whose columns and filter hold for it", t.Root)
		}
		ruled[r.Table] = true
		v.ruledColumns(t, r)
	}
	for _, c := range v.inv.computed {
		v.fail("table", v.inv.relations[c.relation].name(), "computes column %s from column %s, which is not selected",
			Name{Name: c.column}, Name{Name: c.uses})
	}
	for _, k := range v.inv.partitionKeys {
		v.fail("table", v.inv.relations[k.Relation].name(), "is partitioned by column %s, which is not selected", Name{Name: k.Column})
	}
}

func (v *validator) ruledColumns(t *Table, r TableRule) {
	var known []Name
	for _, c := range t.Columns {
		known = append(known, Name{Name: c.Name})
	}
	for _, c := range t.Omitted {
		known = append(known, Name{Name: c})
	}
	named, targets := map[string]bool{}, map[string]string{}
	for _, c := range r.Columns {
		n, target := Name{Name: c.Name}, cmp.Or(c.As, c.Name)
		switch {
		case named[c.Name]:
			v.fail("column", n, "of table %s is named twice", t.Name)
			continue
		case !slices.Contains(known, n):
			v.errs = append(v.errs, &SelectionError{
				Kind: "column", Name: n, Reason: fmt.Sprintf("of table %s does not exist in the source", t.Name), Near: nearest(n, known),
			})
		case targets[target] != "":
			v.fail("column", n, "of table %s would have the name of column %s", t.Name, Name{Name: targets[target]})
		}
		v.targetLength("column", n, target)
		named[c.Name], targets[target] = true, c.Name
	}
}

// inherited checks that a table which inherits columns takes them as its parents do: it has no statement of its own for them.
func (v *validator) inherited() {
	for i := range v.inv.Tables {
		t := &v.inv.Tables[i]
		for _, name := range t.Parents {
			parent := v.inv.Table(name)
			if t.Partition || parent == nil {
				continue
			}
			for _, c := range parent.Columns {
				own := t.column(c.Name)
				if own == nil || own.Target != c.Target {
					v.fail("table", t.Name, "inherits column %s from %s and must take it as that does", Name{Name: c.Name}, name)
				}
			}
			for _, c := range parent.Omitted {
				if t.column(c) != nil {
					v.fail("table", t.Name, "inherits column %s from %s, where it is not selected", Name{Name: c}, name)
				}
			}
		}
	}
}
