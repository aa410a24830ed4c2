package schema

import (
	"strings"

	pq "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Canonical prints statements as the mapper does. Aliases that only repeat the names of a relation and its columns are left out: mapping
// there and back again leaves such ones behind.
func Canonical(sql string, columns map[Name][]string) ([]string, error) {
	tree, err := parseSQL(sql)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, s := range tree.Stmts {
		plainAliases(s.ProtoReflect(), columns)
		text, err := printSQL(&pq.ParseResult{Version: tree.Version, Stmts: []*pq.RawStmt{{Stmt: s.Stmt}}})
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}

func plainAliases(msg protoreflect.Message, columns map[Name][]string) {
	if v, ok := msg.Interface().(*pq.RangeVar); ok && v.Alias != nil {
		var names []string
		for _, n := range v.Alias.Colnames {
			names = append(names, n.GetString_().Sval)
		}
		own := columns[Name{v.Schemaname, v.Relname}]
		if strings.Join(names, "\x00") == strings.Join(own, "\x00") {
			v.Alias.Colnames = nil
		}
		if v.Alias.Aliasname == v.Relname && v.Alias.Colnames == nil {
			v.Alias = nil
		}
	}
	msg.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		eachMessage(f, v, func(m protoreflect.Message) { plainAliases(m, columns) })
		return true
	})
}

// Identity rewrites statements as if everything were mapped to itself.
func Identity(sql string) (string, error) {
	m := NewMapper(Selection{}, &Inventory{})
	return m.rewrite(sql)
}

// SameTree reports whether two statements have the same parse tree.
func SameTree(a, b string) bool {
	x, err := parseSQL(a)
	if err != nil {
		return false
	}
	y, err := parseSQL(b)
	if err != nil {
		return false
	}
	forgetLocations(x.ProtoReflect())
	forgetLocations(y.ProtoReflect())
	return proto.Equal(x, y)
}
