package schema

import (
	"strings"
)

// maxIdentifier is how many bytes of a name PostgreSQL keeps (NAMEDATALEN - 1).
const maxIdentifier = 63

// mappings checks the entries of the mapping one by one.
func (v *validator) mappings() {
	seen := map[string]bool{}
	for _, m := range v.Map.Schemas {
		if seen[m.From] {
			v.fail("schema", Name{Name: m.From}, "is mapped twice")
		}
		seen[m.From] = true
		v.targetSchema("schema", Name{Name: m.From}, m.To)
	}
	mapped := map[Name]bool{}
	for _, m := range v.Map.Relations {
		rel, ok := v.existing("relation", "rpvmS", m.From)
		if !ok {
			continue
		}
		kind := relationWords[rel.Kind]
		switch {
		case mapped[m.From]:
			v.fail(kind, m.From, "is mapped twice")
		case rel.Kind == 'f':
			v.fail(kind, m.From, "cannot be synchronized: %s", rel.exclusion())
		}
		mapped[m.From] = true
		v.targetSchema(kind, m.From, m.To.Schema)
		v.targetLength(kind, m.From, m.To.Name)
	}
}

func (v *validator) targetSchema(kind string, from Name, to string) {
	if strings.HasPrefix(to, "pg_") || to == "information_schema" || to == "pgsyncd" {
		v.fail(kind, from, "cannot go to schema %s of the destination, which is not for users' objects", Name{Name: to})
	}
	v.targetLength(kind, from, to)
}

func (v *validator) targetLength(kind string, from Name, to string) {
	if to == "" || len(to) > maxIdentifier {
		v.fail(kind, from, "cannot be named %q in the destination: names have 1 to %d bytes", to, maxIdentifier)
	}
}

// targets checks what several relations of one name in the destination would be: tables may share one, if they look the same.
func (v *validator) targets() {
	tables, others := map[Name]*Table{}, map[Name]Name{}
	for i := range v.inv.Tables {
		t := &v.inv.Tables[i]
		first := tables[t.Target]
		if first == nil {
			tables[t.Target] = t
			continue
		}
		if reason := v.misfit(first, t); reason != "" {
			v.fail("table", t.Name, "cannot share table %s of the destination with %s: %s", t.Target, first.Name, reason)
		}
	}
	other := func(kind string, n, target Name) {
		if t := tables[target]; t != nil {
			v.fail(kind, n, "would have the name of table %s in the destination: %s", t.Name, target)
		} else if o, ok := others[target]; ok {
			v.fail(kind, n, "would have the name of %s in the destination: %s", o, target)
		}
		others[target] = n
	}
	for _, x := range v.inv.Views {
		other("view", x.Name, x.Target)
	}
	for _, x := range v.inv.Matviews {
		other("materialized view", x.Name, x.Target)
	}
	for _, x := range v.inv.Sequences {
		if x.OwnedBy != nil {
			t := v.inv.Table(*x.OwnedBy)
			switch {
			case t == nil || t.column(x.OwnerColumn) == nil:
			case tables[t.Target] != t:
				continue // shares the sequence of the first table
			case t.Target.Schema != x.Target.Schema:
				v.fail("sequence", x.Name, "belongs to table %s and must go to its schema %s", t.Name, Name{Name: t.Target.Schema})
			}
		}
		other("sequence", x.Name, x.Target)
	}
}

// misfit says why two tables cannot be one in the destination, or is empty. Only tables that hold rows themselves can: what lies
// above and below them would have to be one as well.
func (v *validator) misfit(a, b *Table) string {
	for _, t := range []*Table{a, b} {
		switch {
		case t.Kind == KindPartitioned:
			return t.Name.String() + " is partitioned"
		case len(t.Parents) > 0 && v.inv.Table(t.Parents[0]) != nil:
			return t.Name.String() + " belongs to " + t.Parents[0].String()
		}
	}
	columns := map[string]Column{}
	for _, c := range a.Columns {
		columns[c.Target] = c
	}
	for _, c := range b.Columns {
		other, ok := columns[c.Target]
		switch {
		case !ok:
			return "column " + Name{Name: c.Target}.String() + " is in " + b.Name.String() + " only"
		case v.targetType(other.Type) != v.targetType(c.Type):
			return "column " + Name{Name: c.Target}.String() + " is of type " + other.Type + " in one and of " + c.Type + " in the other"
		case (other.Generated == "") != (c.Generated == ""):
			return "column " + Name{Name: c.Target}.String() + " is generated in one of them"
		}
		delete(columns, c.Target)
	}
	for _, c := range a.Columns {
		if _, ok := columns[c.Target]; ok {
			return "column " + Name{Name: c.Target}.String() + " is in " + a.Name.String() + " only"
		}
	}
	return ""
}

// targetType names a type as the destination does. A type that format_type qualifies begins with its schema.
func (v *validator) targetType(text string) string {
	if name, rest, ok := cutIdentifier(text); ok && strings.HasPrefix(rest, ".") {
		return Name{Name: v.TargetSchema(name)}.String() + rest
	}
	return text
}

// cutIdentifier reads the identifier that a text begins with.
func cutIdentifier(text string) (name, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " .,;()[]\t\n\"'")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '"':
			b.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == '"':
			b.WriteByte('"')
			i++
		default:
			return b.String(), text[i+1:], true
		}
	}
	return "", text, false
}
