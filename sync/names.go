package sync

import "strings"

// readable writes names that are quoted for a statement as one reads them: in quotes only where they would mean something else
// without. What stands between and around them stays.
func readable(text string) string {
	var b strings.Builder
	for {
		start := strings.IndexByte(text, '"')
		end := closingQuote(text, start)
		if start < 0 || end < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:start])
		if name := text[start+1 : end]; plainIdentifier(name) {
			b.WriteString(name)
		} else {
			b.WriteString(text[start : end+1])
		}
		text = text[end+1:]
	}
}

// closingQuote finds the end of the identifier whose quote is at start; two quotes within stand for one.
func closingQuote(text string, start int) int {
	for i := start + 1; start >= 0 && i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if i+1 == len(text) || text[i+1] != '"' {
			return i
		}
		i++
	}
	return -1
}

func plainIdentifier(name string) bool {
	plain := name != "" && (name[0] < '0' || name[0] > '9')
	for _, c := range name {
		plain = plain && (c == '_' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9')
	}
	return plain
}
