package accounts

import (
	"fmt"
	"strings"

	"pgsyncd/sync/schema"
)

// lists are the settings that are stored as lists of quoted names, which SET takes one by one (bin/pg_dump/dumputils.c,
// variable_is_guc_list_quote).
var lists = map[string]bool{
	"local_preload_libraries": true, "search_path": true, "session_preload_libraries": true,
	"shared_preload_libraries": true, "temp_tablespaces": true, "unix_socket_directories": true,
}

// setting is one element of pg_db_role_setting.setconfig.
type setting struct{ name, value string }

func parseSetting(text string) setting {
	name, value, _ := strings.Cut(text, "=")
	return setting{name, value}
}

// statement writes the setting as an ALTER ROLE of the target, such as `"r" IN DATABASE "d"`.
func (s setting) statement(target string) string {
	value := schema.Literal(s.value)
	if lists[strings.ToLower(s.name)] {
		var elements []string
		for _, name := range splitList(s.value) {
			elements = append(elements, schema.Literal(name))
		}
		value = strings.Join(elements, ", ")
		if value == "" {
			value = "''"
		}
	}
	// A custom setting has a dot between two identifiers.
	parts := strings.Split(s.name, ".")
	for i, part := range parts {
		parts[i] = ident(part)
	}
	return fmt.Sprintf("ALTER ROLE %s SET %s TO %s", target, strings.Join(parts, "."), value)
}

// splitList takes a list of names apart, quoted where they need it (utils/adt/varlena.c, SplitGUCList).
func splitList(text string) []string {
	var list []string
	for text = strings.TrimLeft(text, " \t\n\r\f"); text != ""; {
		var name string
		if strings.HasPrefix(text, `"`) {
			var b strings.Builder
			for text = text[1:]; text != ""; text = text[1:] {
				if text[0] == '"' {
					if text = text[1:]; !strings.HasPrefix(text, `"`) {
						break
					}
				}
				b.WriteByte(text[0])
			}
			name = b.String()
			_, text, _ = strings.Cut(text, ",")
		} else {
			name, text, _ = strings.Cut(text, ",")
			name = strings.TrimSpace(name)
		}
		list = append(list, name)
		text = strings.TrimLeft(text, " \t\n\r\f")
	}
	return list
}
