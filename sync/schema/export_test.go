package schema

import (
	"slices"
	"strings"

	pq "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Canonical prints statements as the mapper does, without what mapping there and back again leaves behind: aliases that only repeat the
// names of a relation and its columns, another order of constraints (pg_dump's is that of their names), other quotes in constants,
// names of results that are their columns' own.
func Canonical(sql string, columns map[Name][]string) ([]string, error) {
	tree, err := parseSQL(sql)
	if err != nil {
		var older string
		if older, err = inOlderWords(sql); err == nil {
			tree, err = parseSQL(older)
		}
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for _, s := range tree.Stmts {
		plain(s.ProtoReflect(), columns)
		text, err := printSQL(&pq.ParseResult{Version: tree.Version, Stmts: []*pq.RawStmt{{Stmt: s.Stmt}}})
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}

func plain(msg protoreflect.Message, columns map[Name][]string) {
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
	if c, ok := msg.Interface().(*pq.CreateStmt); ok {
		slices.SortStableFunc(c.TableElts, func(a, b *pq.Node) int {
			return strings.Compare(a.GetConstraint().GetConname(), b.GetConstraint().GetConname())
		})
	}
	if c, ok := msg.Interface().(*pq.TypeCast); ok && strings.HasPrefix(c.TypeName.Names[0].GetString_().GetSval(), "reg") {
		if s := c.Arg.GetAConst().GetSval(); s != nil {
			s.Sval = strings.NewReplacer(`"`, "", " ", "", "integer", "int").Replace(s.Sval)
		}
	}
	msg.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		eachMessage(f, v, func(m protoreflect.Message) {
			plain(m, columns)
			if n, ok := m.Interface().(*pq.Node); ok && f.Name() == "returning_list" {
				ownName(n.GetResTarget())
			}
		})
		return true
	})
}

// ownName takes away the name of a result that is its column's own.
func ownName(target *pq.ResTarget) {
	fields := target.GetVal().GetColumnRef().GetFields()
	if len(fields) > 0 && fields[len(fields)-1].GetString_().GetSval() == target.Name {
		target.Name = ""
	}
}
