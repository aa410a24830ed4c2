package schema

// scope is a selection made ready for answering about many names.
type scope struct {
	Selection
	schemas, exceptSchemas   map[string]bool
	names                    map[rune]map[Name]bool // relations selected one by one, by pg_class.relkind
	exceptTables             map[Name]bool
	patterns, exceptPatterns []Pattern
}

// newScope leaves out improper patterns, which Validate reports.
func newScope(s Selection) *scope {
	tables := set(s.Tables)
	return &scope{
		Selection: s,
		schemas:   set(s.Schemas), exceptSchemas: set(s.Except.Schemas),
		names: map[rune]map[Name]bool{
			'r': tables, 'p': tables, 'f': tables, 'v': set(s.Views), 'm': set(s.Matviews), 'S': set(s.Sequences),
		},
		exceptTables: set(s.Except.Tables),
		patterns:     properPatterns(s.Patterns), exceptPatterns: properPatterns(s.Except.Patterns),
	}
}

func set[T comparable](list []T) map[T]bool {
	m := make(map[T]bool, len(list))
	for _, x := range list {
		m[x] = true
	}
	return m
}

func properPatterns(texts []string) []Pattern {
	var list []Pattern
	for _, text := range texts {
		if p, err := ParsePattern(text); err == nil {
			list = append(list, p)
		}
	}
	return list
}

func anyMatches(patterns []Pattern, n Name) bool {
	for _, p := range patterns {
		if p.Matches(n) {
			return true
		}
	}
	return false
}

// whole reports whether all objects of a schema are selected, of whatever kind, unless they are excepted themselves.
func (s *scope) whole(schema string) bool {
	return (s.All || s.schemas[schema]) && !s.exceptSchemas[schema]
}

// takes reports whether a relation of that kind is selected, alone or with its schema. It knows nothing of exceptions.
func (s *scope) takes(kind rune, n Name) bool {
	if s.whole(n.Schema) || s.names[kind][n] {
		return true
	}
	return (kind == 'r' || kind == 'p') && anyMatches(s.patterns, n)
}

// excepts reports whether the selection leaves out a relation of that kind.
func (s *scope) excepts(kind rune, n Name) bool {
	if s.exceptSchemas[n.Schema] {
		return true
	}
	switch kind {
	case 'r', 'p', 'f':
		return s.exceptTables[n] || anyMatches(s.exceptPatterns, n)
	}
	return false
}

// table reports whether a table is selected whose partitioned ancestors, if it has any, are given from the nearest on: what is said
// of one of them holds for it.
func (s *scope) table(kind rune, n Name, ancestors ...Name) bool {
	selected := s.takes(kind, n)
	excepted := s.excepts(kind, n)
	for _, a := range ancestors {
		selected = selected || s.takes('p', a)
		excepted = excepted || s.excepts('p', a)
	}
	return selected && !excepted
}

// other reports whether an object that is no relation and belongs to none is selected; schema is empty when it lives in none.
func (s *scope) other(schema string) bool {
	if schema == "" {
		return s.All
	}
	return s.whole(schema)
}
