package endpoint

import (
	"fmt"
	"net/url"
	"strings"
)

// ConnInfoError says what is wrong with a connection string. It never quotes a
// value, because in a malformed string any value may be a misplaced password.
type ConnInfoError struct {
	Keyword string // the keyword at fault; empty when the string as a whole is
	Message string
}

func (e *ConnInfoError) Error() string {
	if e.Keyword == "" {
		return "connection string: " + e.Message
	}
	return fmt.Sprintf("connection string: %s: %s", e.Keyword, e.Message)
}

// Permanent reports that no retry repairs a connection string.
func (*ConnInfoError) Permanent() bool { return true }

func malformed(format string, args ...any) error {
	return &ConnInfoError{Message: fmt.Sprintf(format, args...)}
}

func invalid(keyword, format string, args ...any) error {
	return &ConnInfoError{Keyword: keyword, Message: fmt.Sprintf(format, args...)}
}

const blanks = " \t\n\r\v\f"

// tokenize splits a connection string of either form into its keywords, the way
// conninfo_parse and conninfo_uri_parse of libpq's fe-connect.c do: a repeated
// keyword keeps its last value. Keywords are not yet checked.
func tokenize(text string) (map[string]string, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, malformed("contains a zero byte")
	}
	for _, scheme := range []string{"postgresql://", "postgres://"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			return tokenizeURL(rest)
		}
	}
	return tokenizeKeywords(text)
}

func tokenizeKeywords(text string) (map[string]string, error) {
	values := map[string]string{}
	rest := strings.TrimLeft(text, blanks)
	for rest != "" {
		offset := len(text) - len(rest) + 1
		end := strings.IndexAny(rest, "="+blanks)
		if end < 0 {
			return nil, malformed(`missing "=" after the word at character %d`, offset)
		}
		keyword := rest[:end]
		rest = strings.TrimLeft(rest[end:], blanks)
		if keyword == "" || rest == "" || rest[0] != '=' {
			return nil, malformed(`missing keyword or "=" at character %d`, offset)
		}
		value, after, err := keywordValue(strings.TrimLeft(rest[1:], blanks))
		if err != nil {
			return nil, err
		}
		values[keyword] = value
		rest = strings.TrimLeft(after, blanks)
	}
	return values, nil
}

// keywordValue reads one value, quoted or not, and returns what follows it. A
// backslash makes the next byte literal.
func keywordValue(text string) (value, rest string, err error) {
	quoted := strings.HasPrefix(text, "'")
	i := 0
	if quoted {
		i = 1
	}
	var b strings.Builder
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i < len(text) {
				b.WriteByte(text[i])
			}
		case quoted && c == '\'':
			return b.String(), text[i+1:], nil
		case !quoted && strings.IndexByte(blanks, c) >= 0:
			return b.String(), text[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", "", malformed("a quoted value is not terminated")
	}
	return b.String(), "", nil
}

// tokenizeURL reads what follows the scheme:
// [user[:password]@][host[:port][,…]][/dbname][?keyword=value[&…]].
func tokenizeURL(rest string) (map[string]string, error) {
	values := map[string]string{}
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		user, password, found := strings.Cut(rest[:i], ":")
		if err := store(values, "user", user); err != nil {
			return nil, err
		}
		if found {
			if err := store(values, "password", password); err != nil {
				return nil, err
			}
		}
		rest = rest[i+1:]
	}
	if address, _, _ := strings.Cut(rest, "?"); strings.Contains(address, "@") {
		// Else the end of a password would pass for the name of a host or database, which are shown.
		return nil, malformed(`contains a second "@"; inside of a password or name it is written %%40`)
	}
	rest, err := urlHosts(values, rest)
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(rest, "?")
	if path = strings.TrimPrefix(path, "/"); path != "" {
		if err := store(values, "dbname", path); err != nil {
			return nil, err
		}
	}
	for query != "" {
		var parameter string
		parameter, query, _ = strings.Cut(query, "&")
		if err := urlParameter(values, parameter); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// urlHosts reads the comma-separated host[:port] list and returns the rest,
// which is empty or starts with "/" or "?".
func urlHosts(values map[string]string, rest string) (string, error) {
	var hosts, ports []string
	for {
		var host, port string
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 2 {
				return "", malformed("the IPv6 address of the URL is empty or not terminated")
			}
			host, rest = rest[1:end], rest[end+1:]
			if rest != "" && !strings.ContainsRune(":/?,", rune(rest[0])) {
				return "", malformed("unexpected text after the IPv6 address of the URL")
			}
		} else {
			host, rest = cutAny(rest, ":/?,")
		}
		if strings.HasPrefix(rest, ":") {
			port, rest = cutAny(rest[1:], "/?,")
		}
		hosts, ports = append(hosts, host), append(ports, port)
		if !strings.HasPrefix(rest, ",") {
			break
		}
		rest = rest[1:]
	}
	if list := strings.Join(hosts, ","); list != "" {
		if err := store(values, "host", list); err != nil {
			return "", err
		}
	}
	if list := strings.Join(ports, ","); strings.Trim(list, ",") != "" {
		return rest, store(values, "port", list)
	}
	return rest, nil
}

func urlParameter(values map[string]string, parameter string) error {
	raw, value, found := strings.Cut(parameter, "=")
	if !found || strings.Contains(value, "=") {
		return malformed(`a query parameter of the URL needs exactly one "="`)
	}
	keyword, err := url.PathUnescape(raw)
	if err != nil {
		return malformed("invalid percent-encoding in a query parameter of the URL")
	}
	if keyword == "ssl" && value == "true" { // the JDBC spelling that libpq accepts too
		keyword, value = "sslmode", "require"
	}
	return store(values, keyword, value)
}

func store(values map[string]string, keyword, encoded string) error {
	value, err := url.PathUnescape(encoded)
	if err != nil {
		return malformed("invalid percent-encoding in the URL")
	}
	if strings.IndexByte(value, 0) >= 0 {
		return malformed("contains a zero byte")
	}
	values[keyword] = value
	return nil
}

func cutAny(s, chars string) (before, rest string) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}
