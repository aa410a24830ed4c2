package schema

import "strings"

// splitStatements cuts the text of an entry of privileges into its statements, without their semicolons. There are no comments, dollar
// quotes or backslashes in what pg_dump writes there.
func splitStatements(sql string) []string {
	var list []string
	start := 0
	var quote byte
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"', c == '\'':
			quote = c
		case c == ';':
			list = append(list, strings.TrimSpace(sql[start:i]))
			start = i + 1
		}
	}
	if rest := strings.TrimSpace(sql[start:]); rest != "" {
		list = append(list, rest)
	}
	return list
}

// word is a keyword, identifier or other token of a statement.
type word struct {
	text   string
	quoted bool // it was in double quotes
}

func (w word) is(keyword string) bool { return !w.quoted && strings.EqualFold(w.text, keyword) }

func words(statement string) []word {
	var list []word
	for rest := statement; rest != ""; {
		if name, after, ok := cutIdentifier(rest); ok {
			list = append(list, word{name, rest[0] == '"'})
			rest = after
			continue
		}
		rest = rest[1:] // white space and punctuation
	}
	return list
}

// right is one statement about privileges.
type right struct {
	text    string
	verb    string // GRANT, REVOKE, SET, RESET
	role    string // grantee, or the new session's role; empty for PUBLIC
	public  bool
	creator string // of ALTER DEFAULT PRIVILEGES FOR ROLE
}

// parseRight reads a statement of an ACL or DEFAULT ACL entry: GRANT … TO, REVOKE … FROM, SET and RESET SESSION AUTHORIZATION, ALTER
// DEFAULT PRIVILEGES FOR ROLE … GRANT or REVOKE. Anything else has no verb.
func parseRight(statement string) right {
	r := right{text: statement}
	list := words(statement)
	if len(list) == 0 {
		return r
	}
	if list[0].is("ALTER") {
		for i, w := range list {
			if w.is("ROLE") && i+1 < len(list) {
				r.creator = list[i+1].text
				list = list[i+2:]
				break
			}
		}
		for len(list) > 0 && !list[0].is("GRANT") && !list[0].is("REVOKE") {
			list = list[1:]
		}
		if len(list) == 0 || r.creator == "" {
			return r
		}
	}
	r.verb = strings.ToUpper(list[0].text)
	keyword := map[string]string{"GRANT": "TO", "REVOKE": "FROM", "SET": "AUTHORIZATION"}[r.verb]
	for i := len(list) - 2; i > 0 && keyword != ""; i-- {
		if list[i].is(keyword) {
			r.role, r.public = list[i+1].text, list[i+1].is("PUBLIC")
			if r.public {
				r.role = ""
			}
			return r
		}
	}
	if r.verb != "RESET" {
		r.verb = ""
	}
	return r
}
