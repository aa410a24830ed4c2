package sqlapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgsyncd/catalog"
)

// options writes (name = value, …) by name. Words, numbers and the like stand bare.
func (w *printer) options(options map[string]string, known []catalog.Option) string {
	return group(slices.Sorted(maps.Keys(options)), func(name string) string {
		value := options[name]
		i := slices.IndexFunc(known, func(o catalog.Option) bool { return o.Name == name })
		switch {
		case w.Redact && i >= 0 && known[i].Secret:
			value = quoteLiteral(stars)
		case value == "" || strings.Trim(value, "abcdefghijklmnopqrstuvwxyz_") != "" && strings.Trim(value, "0123456789") != "":
			value = quoteLiteral(value)
		}
		return quoteIdentifier(name) + " = " + value
	})
}

// group writes items in parentheses with commas between.
func group[T any](items []T, item func(T) string) string {
	return "(" + commas(items, item) + ")"
}

func commas[T any](items []T, item func(T) string) string {
	texts := make([]string, len(items))
	for i := range items {
		texts[i] = item(items[i])
	}
	return strings.Join(texts, ", ")
}

func targets(t Targets) string {
	if t.Tag != nil {
		return "WHERE TAG " + tag(*t.Tag)
	}
	return commas(t.Names, quoteIdentifier)
}

func tag(t Tag) string { return quoteIdentifier(t.Key) + " = " + quoteLiteral(t.Value) }

func confirm(c Confirm) string {
	switch {
	case c.All:
		return "CONFIRM ALL"
	case c.Items != nil:
		return "CONFIRM " + group(c.Items, quoteLiteral)
	}
	return ""
}

func start(s Start) string {
	if s.When == At {
		return "AT " + quoteLiteral(s.At)
	}
	return upper(string(s.When))
}

func accounts(a Accounts) string {
	switch {
	case a.All:
		return "ALL"
	case a.Roles != nil:
		return group(a.Roles, quoteIdentifier)
	}
	return "NONE"
}

func flow(f Flow) string {
	if f.MBPerSecond == 0 {
		return "UNLIMITED"
	}
	s := fmt.Sprintf("LIMIT %d MB PER SECOND", f.MBPerSecond)
	if f.Windows == nil {
		return s
	}
	return s + " BETWEEN " + commas(f.Windows, func(w Window) string {
		return quoteLiteral(formatClock(w.From)) + " AND " + quoteLiteral(formatClock(w.To))
	})
}

func scope(s Scope) string {
	if !s.All {
		return objects(s.Objects)
	}
	text := "ALL"
	if s.Map != nil {
		text += " MAP " + objects(s.Map)
	}
	if s.Except != nil {
		text += " EXCEPT " + objects(s.Except)
	}
	return text
}

// objects writes one object per line if they are several.
func objects(list []Object) string {
	if len(list) == 1 {
		return group(list, object)
	}
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = "\n        " + object(list[i])
	}
	return "(" + strings.Join(texts, ",") + ")"
}

func object(o Object) string {
	if o.Kind == TablesMatching {
		return string(o.Kind) + " " + quoteLiteral(o.Pattern)
	}
	text := string(o.Kind) + " " + name(o.Name)
	if o.As != (Name{}) {
		text += " AS " + name(o.As)
	}
	if o.Columns != nil {
		text += " " + group(o.Columns, func(c Column) string {
			if c.As == "" {
				return quoteIdentifier(c.Name)
			}
			return quoteIdentifier(c.Name) + " AS " + quoteIdentifier(c.As)
		})
	}
	if o.Where.Text != "" {
		text += " WHERE (" + o.Where.Text + ")"
	}
	return text
}

// name writes [schema.]name, or the schema alone.
func name(n Name) string {
	switch {
	case n.Name == "":
		return quoteIdentifier(n.Schema)
	case n.Schema == "":
		return quoteIdentifier(n.Name)
	}
	return quoteIdentifier(n.Schema) + "." + quoteIdentifier(n.Name)
}
