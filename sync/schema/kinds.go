package schema

import "strings"

// notCarried are the entries that are no objects, hold data or are set by other means; nobody is told that they are left out.
var notCarried = map[string]bool{
	"ENCODING": true, "STDSTRINGS": true, "SEARCHPATH": true, // session settings, see Archive.SessionSQL
	"DATABASE": true, "DATABASE PROPERTIES": true,
	"TABLE DATA": true, "MATERIALIZED VIEW DATA": true, "STATISTICS DATA": true, "SEQUENCE SET": true,
	"BLOB": true, "BLOBS": true, "BLOB METADATA": true, "BLOB COMMENTS": true, "LARGE OBJECT": true,
	"SHELL TYPE":        true, // announces a base type or, for a range, a function in C
	"PUBLICATION TABLE": true, "PUBLICATION TABLES IN SCHEMA": true, "SUBSCRIPTION TABLE": true,
}

// unsupportedKinds are the kinds that are never synchronized.
var unsupportedKinds = map[string]string{
	"PUBLICATION":          "publications are not synchronized",
	"SUBSCRIPTION":         "subscriptions are not synchronized",
	"FOREIGN DATA WRAPPER": "foreign-data wrappers are not synchronized",
	"SERVER":               "foreign servers are not synchronized",
	"USER MAPPING":         "user mappings are not synchronized",
	"FOREIGN TABLE":        "foreign tables are not synchronized",
	"TABLESPACE":           "tablespaces are not synchronized",
}

// tableLevel says what happens to a relation that is selected by its own name, and to what belongs to it: "" takes it, a text says why
// not.
var tableLevel = map[string]string{
	"VIEW": "", "MATERIALIZED VIEW": "", "SEQUENCE": "", "SEQUENCE OWNED BY": "", "FOREIGN TABLE": "",
	"TABLE": "", "TABLE ATTACH": "", "INDEX": "", "INDEX ATTACH": "", "CONSTRAINT": "", "CHECK CONSTRAINT": "", "FK CONSTRAINT": "",
	"DEFAULT": "", "RULE": "", "STATISTICS": "",
	"TRIGGER":      "triggers are not part of a table-level task",
	"POLICY":       "row-level security is not part of a table-level task",
	"ROW SECURITY": "row-level security is not part of a table-level task",
}

// annotates reports whether an entry is only a remark on the entry it depends on.
func annotates(e *Entry) bool { return e.Desc == "COMMENT" || e.Desc == "SECURITY LABEL" }

// SessionSQL returns the settings under which a plan's statements must be executed: those pg_restore makes, and the archive's own.
func (a *Archive) SessionSQL() string {
	sql := []string{
		"SET search_path = ''", "SET check_function_bodies = off", "SET xmloption = content", "SET row_security = off",
		"SET client_min_messages = warning", "SET default_tablespace = ''", "SET client_encoding = 'UTF8'",
	}
	for _, e := range a.Entries {
		if e.Desc == "STDSTRINGS" {
			sql = append(sql, strings.TrimRight(e.Definition, ";\n"))
		}
	}
	return strings.Join(sql, ";\n")
}
