package schema

import (
	"fmt"
	"regexp"
	"strings"
)

// Pattern selects tables by name as psql's \dt does: * stands for any characters, ? for one, what is not in double quotes is folded to
// lower case, a dot outside quotes separates the schema's pattern from the table's, and other regular expression characters than $ have
// their meaning outside quotes. Without a dot the schema is public, as it is for the name of a table.
type Pattern struct {
	text         string
	schema, name *regexp.Regexp
}

// ParsePattern reads a pattern. The error says what is wrong with it.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern{text: text}
	parts, err := splitPattern(text)
	if err != nil {
		return Pattern{}, err
	}
	if len(parts) == 1 {
		parts = []string{"public", parts[0]}
	}
	if p.schema, err = regexp.Compile(`(?s)\A(?:` + parts[0] + `)\z`); err == nil {
		p.name, err = regexp.Compile(`(?s)\A(?:` + parts[1] + `)\z`)
	}
	if err != nil {
		return Pattern{}, fmt.Errorf("improper pattern %q: %w", text, err)
	}
	return p, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Matches reports whether the pattern selects a table of that name.
func (p Pattern) Matches(n Name) bool {
	return p.schema.MatchString(n.Schema) && p.name.MatchString(n.Name)
}

// splitPattern translates a pattern to one or two regular expressions, as patternToSQLRegex of psql (src/fe_utils/string_utils.c).
func splitPattern(text string) ([]string, error) {
	if text == "" {
		return nil, fmt.Errorf("empty pattern")
	}
	parts := []string{""}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"' && quoted && i+1 < len(text) && text[i+1] == '"':
			b.WriteByte('"')
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
		case c == '.':
			parts[len(parts)-1] = b.String()
			parts = append(parts, "")
			b.Reset()
		case c >= 'A' && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		case c == '$', c == '[' && i+1 < len(text) && text[i+1] == ']':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	parts[len(parts)-1] = b.String()
	switch {
	case quoted:
		return nil, fmt.Errorf("unterminated quotation in pattern %q", text)
	case len(parts) > 2:
		return nil, fmt.Errorf("improper pattern %q: at most one dot outside double quotes, as in schema.table", text)
	case parts[0] == "", len(parts) == 2 && parts[1] == "":
		return nil, fmt.Errorf("improper pattern %q: one side of the dot is empty", text)
	}
	return parts, nil
}
