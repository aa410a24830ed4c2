package endpoint

import (
	"slices"
	"strings"
)

// leading are the keywords one reads first; the others follow by name.
var leading = []string{"host", "hostaddr", "port", "dbname", "user"}

// Public returns a connection string in keyword form that says everything the given one does, but for its passwords. Errors are
// *ConnInfoError.
func Public(conninfo string) (string, error) {
	values, err := tokenize(conninfo)
	if err == nil {
		err = checkKeywords(values)
	}
	if err != nil {
		return "", err
	}
	var words, rest []string
	for name, value := range values {
		if name != "password" && name != "sslpassword" && !slices.Contains(leading, name) {
			rest = append(rest, name+"="+quote(value))
		}
	}
	for _, name := range leading {
		if value := values[name]; value != "" {
			words = append(words, name+"="+quote(value))
		}
	}
	slices.Sort(rest)
	return strings.Join(append(words, rest...), " "), nil
}
