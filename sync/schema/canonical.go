package schema

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	pq "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// CanonicalDefinition returns a form of a definition, one or several statements, that is the same for all the ways in which servers of
// different versions, and the Mapper, write the same thing. It is for comparison alone. Oldest is the version of the oldest server
// concerned, like server_version_num: what that does not know is left out.
func CanonicalDefinition(sql string, oldest int) (string, error) {
	tree, err := parseAny(sql)
	if err != nil {
		return "", err
	}
	statements := make([]string, len(tree.Stmts))
	for i, s := range tree.Stmts {
		if statements[i], err = canonicalNode(s.Stmt, oldest); err != nil {
			return "", err
		}
	}
	if len(statements) > 1 {
		slices.Sort(statements[1:]) // what follows the first sets single properties
	}
	return strings.Join(statements, "\x00"), nil
}

// parseAny parses a statement, also one of a server that is newer than the parser.
func parseAny(sql string) (*pq.ParseResult, error) {
	tree, err := parseSQL(sql)
	if err == nil {
		return tree, nil
	}
	if older, olderErr := inOlderWords(sql); olderErr == nil && older != sql {
		if tree, olderErr := parseSQL(older); olderErr == nil {
			return tree, nil
		}
	}
	return nil, err
}

func canonicalNode(n *pq.Node, oldest int) (string, error) {
	c := canonizer{oldest}
	c.statement(n)
	forgetLocations(n.ProtoReflect())
	c.visit(n.ProtoReflect())
	return serialized(n)
}

// serialized is a text that two trees share only if they are equal.
func serialized(m proto.Message) (string, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("write a tree: %w", err)
	}
	return string(b), nil
}

// canonizer brings a tree into one of the forms it may have.
type canonizer struct{ oldest int }

// statement does what concerns a statement as a whole.
func (c canonizer) statement(n *pq.Node) {
	switch s := n.Node.(type) {
	case *pq.Node_ViewStmt:
		unqualify(s.ViewStmt.Query.GetSelectStmt())
		sorted(s.ViewStmt.Options)
	case *pq.Node_CreateTableAsStmt:
		unqualify(s.CreateTableAsStmt.Query.GetSelectStmt())
		sorted(s.CreateTableAsStmt.Into.GetOptions())
	case *pq.Node_IndexStmt:
		sorted(s.IndexStmt.Options)
	case *pq.Node_CreateRangeStmt:
		s.CreateRangeStmt.Params = slices.DeleteFunc(s.CreateRangeStmt.Params, func(p *pq.Node) bool {
			return c.oldest < 140000 && p.GetDefElem().GetDefname() == "multirange_type_name"
		})
	}
}

// unqualify takes the table's name from the columns of a query of a single table. Servers before 16 write it, later ones do not.
func unqualify(q *pq.SelectStmt) {
	if q == nil || len(q.FromClause) != 1 {
		return
	}
	name := rangeName(q.FromClause[0])
	if name == "" {
		return
	}
	var walk func(protoreflect.Message)
	walk = func(msg protoreflect.Message) {
		switch n := msg.Interface().(type) {
		case *pq.SelectStmt:
			if n != q {
				return // names of an outer query are always written
			}
		case *pq.ColumnRef:
			if len(n.Fields) == 2 && n.Fields[1].GetString_() != nil && n.Fields[0].GetString_().GetSval() == name {
				n.Fields = n.Fields[1:]
			}
		}
		msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
			eachMessage(field, value, walk)
			return true
		})
	}
	walk(q.ProtoReflect())
}

// rangeName is what a query calls an item of its FROM clause, or empty for a join.
func rangeName(n *pq.Node) string {
	switch r := n.Node.(type) {
	case *pq.Node_RangeVar:
		return cmp.Or(r.RangeVar.Alias.GetAliasname(), r.RangeVar.Relname)
	case *pq.Node_RangeSubselect:
		return r.RangeSubselect.Alias.GetAliasname()
	case *pq.Node_RangeFunction:
		return r.RangeFunction.Alias.GetAliasname()
	case *pq.Node_RangeTableFunc:
		return r.RangeTableFunc.Alias.GetAliasname()
	}
	return ""
}

// sorted orders nodes whose order means nothing.
func sorted(nodes []*pq.Node) {
	slices.SortFunc(nodes, func(a, b *pq.Node) int {
		x, errX := serialized(withoutLocations(a))
		y, errY := serialized(withoutLocations(b))
		if errX != nil || errY != nil {
			return 0
		}
		return strings.Compare(x, y)
	})
}

func withoutLocations(n *pq.Node) *pq.Node {
	n = proto.CloneOf(n)
	forgetLocations(n.ProtoReflect())
	return n
}

// visit changes what is below a message, then the message itself.
func (c canonizer) visit(msg protoreflect.Message) {
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		eachMessage(field, value, c.visit)
		return true
	})
	switch n := msg.Interface().(type) {
	case *pq.Node:
		c.node(n)
	case *pq.CreateStmt:
		c.table(n)
	case *pq.Constraint:
		if n.Contype == pq.ConstrType_CONSTR_DEFAULT {
			n.RawExpr = untypedNull(n.RawExpr)
		}
	case *pq.AlterTableCmd:
		if n.Subtype == pq.AlterTableType_AT_ColumnDefault {
			n.Def = untypedNull(n.Def)
		}
	case *pq.FuncCall:
		canonicalCall(n)
	case *pq.TypeName: // a type's name may be a word of the grammar in one version only
		if len(n.Names) == 2 && n.Names[0].GetString_().GetSval() == "pg_catalog" {
			n.Names = n.Names[1:]
		}
	case *pq.RangeVar:
		if n.Alias != nil && n.Alias.Aliasname == n.Relname && len(n.Alias.Colnames) == 0 {
			n.Alias = nil
		}
	case *pq.FunctionParameter:
		if n.Mode == pq.FunctionParameterMode_FUNC_PARAM_DEFAULT {
			n.Mode = pq.FunctionParameterMode_FUNC_PARAM_IN
		}
	case *pq.ObjectWithArgs:
		n.Objfuncargs = nil // names and modes
	case *pq.BoolExpr:
		n.Args = flattened(n)
	case *pq.CreatePolicyStmt:
		sorted(n.Roles)
	}
}

// node changes a node that may become another one.
func (c canonizer) node(n *pq.Node) {
	cast := n.GetTypeCast()
	if cast == nil {
		return
	}
	names := cast.TypeName.GetNames()
	if len(names) == 0 {
		return
	}
	name := names[len(names)-1].GetString_().GetSval()
	switch constant := cast.Arg.GetAConst().GetSval(); {
	case cast.Arg.GetAArrayExpr() != nil && len(cast.TypeName.ArrayBounds) > 0:
		// A cast of the array becomes one of its elements when the expression is read again.
		for i, element := range cast.Arg.GetAArrayExpr().Elements {
			of := proto.CloneOf(cast.TypeName)
			of.ArrayBounds = of.ArrayBounds[1:]
			cast.Arg.GetAArrayExpr().Elements[i] = &pq.Node{Node: &pq.Node_TypeCast{TypeCast: &pq.TypeCast{Arg: element, TypeName: of}}}
		}
		n.Node = cast.Arg.Node
	case constant != nil && strings.HasPrefix(name, "reg"):
		constant.Sval = c.registered(name, constant.Sval)
	case name == "unknown": // before 10, the type of a text constant
		cast.TypeName.Names = []*pq.Node{pq.MakeStrNode("text")}
	}
}

// registered is the name in a constant of type regclass and the like. Those with argument types are read as the parser does.
func (c canonizer) registered(kind, text string) string {
	sql := ""
	switch kind {
	case "regprocedure":
		sql = "DROP FUNCTION " + text
	case "regoperator":
		sql = "DROP OPERATOR " + text
	case "regtype":
		sql = "DROP FUNCTION f(" + text + ")"
	}
	if tree, err := parseSQL(sql); err == nil && len(tree.Stmts) == 1 {
		if canonical, err := canonicalNode(tree.Stmts[0].Stmt, c.oldest); err == nil {
			return hex.EncodeToString([]byte(canonical)) // a string of a tree must be valid text
		}
	}
	return canonicalNames(text)
}

// canonicalNames quotes every name in a text such as s.f(integer).
func canonicalNames(text string) string {
	var b strings.Builder
	for text != "" {
		if name, rest, ok := cutIdentifier(text); ok {
			if text[0] != '"' {
				name = strings.ToLower(name)
			}
			b.WriteString(Name{Name: name}.String())
			text = rest
			continue
		}
		b.WriteByte(text[0])
		text = text[1:]
	}
	return b.String()
}

// untypedNull drops the cast of a NULL, which a default that is inherited has not.
func untypedNull(n *pq.Node) *pq.Node {
	if cast := n.GetTypeCast(); cast != nil && cast.Arg.GetAConst().GetIsnull() {
		return cast.Arg
	}
	return n
}

// canonicalCall makes an ordinary call of one in the words of the standard, in which servers from 14 on write it. EXTRACT is a function
// of its own since then.
func canonicalCall(n *pq.FuncCall) {
	if len(n.Funcname) == 2 && n.Funcname[0].GetString_().GetSval() == "pg_catalog" {
		n.Funcname = n.Funcname[1:]
	}
	n.Funcformat = pq.CoercionForm_COERCE_EXPLICIT_CALL
	if name := n.Funcname[len(n.Funcname)-1].GetString_(); name.GetSval() == "extract" {
		name.Sval = "date_part"
	}
	if len(n.Funcname) == 1 && n.Funcname[0].GetString_().GetSval() == "date_part" && len(n.Args) == 2 {
		if cast := n.Args[0].GetTypeCast(); cast != nil && cast.Arg.GetAConst().GetSval() != nil {
			n.Args[0] = cast.Arg
		}
	}
}

// flattened are the operands of AND and OR, those of nested ones of the same kind included.
func flattened(n *pq.BoolExpr) []*pq.Node {
	if n.Boolop == pq.BoolExprType_NOT_EXPR {
		return n.Args
	}
	var args []*pq.Node
	for _, a := range n.Args {
		if inner := a.GetBoolExpr(); inner != nil && inner.Boolop == n.Boolop {
			args = append(args, inner.Args...)
		} else {
			args = append(args, a)
		}
	}
	return args
}

// table orders the parts of a table. Constraints come by name, which a mapping changes; columns of a table that inherits come in the
// order of its parents where it is made anew.
func (c canonizer) table(n *pq.CreateStmt) {
	sorted(n.Options)
	var columns, constraints []*pq.Node
	for _, e := range n.TableElts {
		if e.GetConstraint() != nil {
			constraints = append(constraints, e)
		} else {
			columns = append(columns, e)
		}
	}
	if len(n.InhRelations) > 0 {
		sorted(columns)
	} else {
		for _, column := range columns {
			withoutNullDefault(column.GetColumnDef())
		}
	}
	sorted(constraints)
	n.TableElts = append(columns, constraints...)
}

// withoutNullDefault drops a default of NULL, which says no more than none where nothing is inherited; servers remember it for some partitions.
func withoutNullDefault(column *pq.ColumnDef) {
	if column == nil {
		return
	}
	column.Constraints = slices.DeleteFunc(column.Constraints, func(n *pq.Node) bool {
		c := n.GetConstraint()
		return c.GetContype() == pq.ConstrType_CONSTR_DEFAULT && c.RawExpr.GetAConst().GetIsnull()
	})
}
