package sync

import "strings"

// whole are the kinds whose names are one identifier. Those of others hold more, such as the types of arguments or the table a
// constraint belongs to, and are shown as pg_dump writes them.
var whole = map[string]bool{
	"TABLE": true, "FOREIGN TABLE": true, "VIEW": true, "MATERIALIZED VIEW": true, "SEQUENCE": true, "INDEX": true, "SCHEMA": true, "TYPE": true,
	"DOMAIN": true, "COLLATION": true, "EXTENSION": true, "STATISTICS": true,
}

// objectName writes a quoted name of a kind of object as one reads it: in quotes only where it would mean something else without.
func objectName(kind, quoted string) string {
	parts := identifiers(quoted)
	if parts == nil {
		return quoted
	}
	for i, part := range parts {
		if whole[kind] || i+1 < len(parts) {
			parts[i] = quoteIfNeeded(part)
		}
	}
	return strings.Join(parts, ".")
}

// identifiers takes "a"."b""c" apart; of what is not written like that it returns nil.
func identifiers(quoted string) []string {
	var parts []string
	for rest := quoted; ; {
		if !strings.HasPrefix(rest, `"`) {
			return nil
		}
		var b strings.Builder
		i := 1
		for ; i < len(rest); i++ {
			if rest[i] == '"' {
				if i+1 == len(rest) || rest[i+1] != '"' {
					break
				}
				i++
			}
			b.WriteByte(rest[i])
		}
		if i >= len(rest) {
			return nil
		}
		parts = append(parts, b.String())
		if rest = rest[i+1:]; rest == "" {
			return parts
		}
		if !strings.HasPrefix(rest, ".") {
			return nil
		}
		rest = rest[1:]
	}
}

func quoteIfNeeded(name string) string {
	plain := name != "" && (name[0] < '0' || name[0] > '9')
	for _, c := range name {
		plain = plain && (c == '_' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9')
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}
