package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Name is the exact, unquoted name of a relation and its schema.
type Name struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// String returns the name quoted and qualified, fit for a statement.
func (n Name) String() string {
	if n.Schema == "" {
		return pgx.Identifier{n.Name}.Sanitize()
	}
	return pgx.Identifier{n.Schema, n.Name}.Sanitize()
}

// Literal writes a string constant as a session with standard_conforming_strings reads it.
func Literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Compare orders names by schema, then name, bytewise.
func (n Name) Compare(o Name) int {
	if c := strings.Compare(n.Schema, o.Schema); c != 0 {
		return c
	}
	return strings.Compare(n.Name, o.Name)
}

// SelectionError says why something that a selection names cannot be synchronized.
type SelectionError struct {
	Kind    string // table, view, materialized view, sequence, schema, column or pattern
	Name    Name   // Schema is empty for schemas and columns
	Pattern string // where it is one
	Reason  string // "does not exist in the source", or why it is not supported
	Near    []Name // existing ones with a similar name, best first, when it does not exist
}

func (e *SelectionError) Error() string {
	if e.Kind == "pattern" {
		return fmt.Sprintf("pattern %q: %s", e.Pattern, e.Reason)
	}
	return fmt.Sprintf("%s %s %s", e.Kind, e.Name, e.Reason)
}

// Hint names what is called similarly, or is empty.
func (e *SelectionError) Hint() string {
	if len(e.Near) == 0 {
		return ""
	}
	near := make([]string, len(e.Near))
	for i, n := range e.Near {
		near[i] = n.String()
	}
	return "Did you mean " + strings.Join(near, " or ") + "?"
}

// nearest returns at most three of the known names that look like a misspelled or wrongly qualified n.
func nearest(n Name, known []Name) []Name {
	type match struct {
		name Name
		cost int
	}
	var found []match
	limit := max(1, len(n.Name)/3)
	for _, k := range known {
		cost := distance(strings.ToLower(n.Name), strings.ToLower(k.Name), limit)
		if cost > limit {
			continue
		}
		if k.Schema != n.Schema {
			cost++
		}
		found = append(found, match{k, cost})
	}
	slices.SortStableFunc(found, func(a, b match) int { return a.cost - b.cost })
	var near []Name
	for _, m := range found[:min(3, len(found))] {
		near = append(near, m.name)
	}
	return near
}

// distance is the Levenshtein distance in bytes, or anything above limit when it exceeds limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
