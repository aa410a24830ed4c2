package sqlapi

import "strings"

// reserved holds the keywords PostgreSQL does not take as a table's name unless they are quoted: categories RESERVED_KEYWORD and
// TYPE_FUNC_NAME_KEYWORD of src/include/parser/kwlist.h, every supported version together.
var reserved = wordSet(`all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate
	collation column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
	current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze from full
	grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit localtime
	localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references returning right
	select session_user similar some symmetric system_user table tablesample then to trailing true union unique user using
	variadic verbose when where window with`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// quoteIdentifier returns name as it is written in a statement: bare where that means the same, else in double quotes.
func quoteIdentifier(name string) string {
	plain := name != "" && !reserved[name] && !isDigit(name[0]) && name[0] != '$'
	for i := 0; i < len(name) && plain; i++ {
		c := name[i]
		plain = c >= 'a' && c <= 'z' || c == '_' || isDigit(c)
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// quoteLiteral returns s as a string literal under standard_conforming_strings.
func quoteLiteral(s string) string {
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
