package schema

import "strings"

// Object returns kind and name of the entry's object as messages show them.
func (e Entry) Object() (kind, name string) {
	return e.Desc, objectName(e.Desc, Name{e.Namespace, e.Tag}, e.Table)
}

// Object returns kind and name of the object as messages show them.
func (x Excluded) Object() (kind, name string) { return x.Kind, objectName(x.Kind, x.Name, x.Table) }

// objectName makes a readable name of what pg_dump calls an object.
func objectName(kind string, n, table Name) string {
	switch kind {
	case "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "RULE", "POLICY", "DEFAULT":
		own, ok := strings.CutPrefix(n.Name, table.Name+" ")
		switch {
		case !ok:
			return n.String()
		case kind == "DEFAULT":
			return table.String() + "." + Name{Name: own}.String()
		}
		return Name{Name: own}.String() + " ON " + table.String()
	case "FUNCTION", "PROCEDURE", "AGGREGATE":
		if name, arguments, ok := strings.Cut(n.Name, "("); ok {
			return Name{n.Schema, name}.String() + "(" + arguments
		}
	case "OPERATOR CLASS", "OPERATOR FAMILY":
		if i := strings.LastIndex(n.Name, " USING "); i >= 0 {
			return Name{n.Schema, n.Name[:i]}.String() + n.Name[i:]
		}
	case "OPERATOR":
		if n.Schema != "" {
			return Name{Name: n.Schema}.String() + "." + n.Name
		}
		return n.Name
	case "COMMENT", "SECURITY LABEL", "ACL":
		return annotatedName(n)
	case "OWNER":
		return n.Name
	case "CAST", "TRANSFORM", "USER MAPPING", "DEFAULT ACL", "BLOB", "BLOBS":
		if n.Schema != "" {
			return n.Name + " IN SCHEMA " + Name{Name: n.Schema}.String()
		}
		return n.Name
	}
	return n.String()
}

// annotatedName qualifies the object in a tag such as TABLE "a", COLUMN "a"."b", FUNCTION "f"(integer) or CONSTRAINT "c" ON "a".
func annotatedName(n Name) string {
	if n.Schema == "" {
		return n.Name
	}
	schema := Name{Name: n.Schema}.String() + "."
	for _, kind := range []string{"CONSTRAINT ", "TRIGGER ", "RULE ", "POLICY "} {
		if rest, ok := strings.CutPrefix(n.Name, kind); ok {
			if _, after, ok := cutIdentifier(rest); ok {
				if on, ok := strings.CutPrefix(after, " ON "); ok {
					return n.Name[:len(n.Name)-len(on)] + schema + on
				}
			}
			return n.Name
		}
	}
	// The kind is made of words in capitals.
	i := 0
	for i < len(n.Name) && (n.Name[i] >= 'A' && n.Name[i] <= 'Z' || n.Name[i] == ' ') {
		i++
	}
	if i == 0 || n.Name[i-1] != ' ' {
		return n.Name
	}
	return n.Name[:i] + schema + n.Name[i:]
}
