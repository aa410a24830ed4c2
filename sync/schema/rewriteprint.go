package schema

import (
	"errors"
	"fmt"
	"strings"

	pq "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// printSQL writes a tree as a statement and reads it again: a statement that would not mean the same is an error.
func printSQL(tree *pq.ParseResult) (string, error) {
	printed := proto.CloneOf(tree)
	helpDeparser(printed.ProtoReflect())
	sql, err := deparse(printed)
	if err != nil {
		return "", fmt.Errorf("cannot be written: %w", err)
	}
	again, err := parseSQL(sql)
	if err != nil {
		return "", fmt.Errorf("cannot be rewritten faithfully: %w", err)
	}
	forgetLocations(tree.ProtoReflect())
	forgetLocations(again.ProtoReflect())
	if !proto.Equal(tree, again) {
		return "", errors.New("cannot be rewritten faithfully")
	}
	return sql, nil
}

// helpDeparser makes up for what the deparser leaves out: it quotes the few names that would be written as they are, and puts
// parentheses around expressions that would otherwise fall apart.
func helpDeparser(msg protoreflect.Message) {
	var name *string
	switch n := msg.Interface().(type) {
	case *pq.StatsElem:
		name = &n.Name
	case *pq.FunctionParameter:
		name = &n.Name
	case *pq.NamedArgExpr:
		name = &n.Name
	case *pq.WindowDef:
		name = &n.Name
	case *pq.JoinExpr:
		if n.JoinUsingAlias != nil {
			name = &n.JoinUsingAlias.Aliasname
		}
	case *pq.Constraint:
		for _, column := range n.FkDelSetCols {
			column.GetString_().Sval = Name{Name: column.GetString_().GetSval()}.String()
		}
	case *pq.A_Expr:
		n.Lexpr, n.Rexpr = operand(n, n.Lexpr), operand(n, n.Rexpr)
	case *pq.NullTest:
		n.Arg = enclosed(n.Arg)
	case *pq.BooleanTest:
		n.Arg = enclosed(n.Arg)
	case *pq.A_Indirection:
		n.Arg = enclosed(n.Arg)
	case *pq.RangeTableFunc:
		n.Docexpr, n.Rowexpr = enclosed(n.Docexpr), enclosed(n.Rowexpr)
	case *pq.RangeTableFuncCol:
		n.Colexpr, n.Coldefexpr = enclosed(n.Colexpr), enclosed(n.Coldefexpr)
	case *pq.FuncCall:
		if n.Funcformat == pq.CoercionForm_COERCE_SQL_SYNTAX && n.Funcname[len(n.Funcname)-1].GetString_().GetSval() == "xmlexists" {
			for i, arg := range n.Args {
				n.Args[i] = enclosed(arg)
			}
		}
	}
	if name != nil && *name != "" {
		*name = Name{Name: *name}.String()
	}
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		eachMessage(field, value, helpDeparser)
		return true
	})
}

// operand encloses an operand unless both it and the operation are plain operators, which the deparser knows how to nest.
func operand(operation *pq.A_Expr, n *pq.Node) *pq.Node {
	if operation.Kind == pq.A_Expr_Kind_AEXPR_OP && n.GetAExpr().GetKind() == pq.A_Expr_Kind_AEXPR_OP {
		return n
	}
	return enclosed(n)
}

// enclosed puts parentheses around an expression of several words. The deparser writes a row of one column, which the parser never
// makes, as just these.
func enclosed(n *pq.Node) *pq.Node {
	switch {
	case n.GetAExpr() != nil, n.GetBoolExpr() != nil, n.GetNullTest() != nil, n.GetBooleanTest() != nil, n.GetCaseExpr() != nil,
		n.GetAArrayExpr() != nil, n.GetTypeCast() != nil:
		row := &pq.RowExpr{Args: []*pq.Node{n}, RowFormat: pq.CoercionForm_COERCE_IMPLICIT_CAST}
		return &pq.Node{Node: &pq.Node_RowExpr{RowExpr: row}}
	}
	return n
}

// Triggers execute functions since PostgreSQL 11 and procedures before, which newer servers still understand. The deparser only knows the
// newer form.
const (
	executeFunction  = " EXECUTE FUNCTION "
	executeProcedure = " EXECUTE PROCEDURE "
)

// oldTrigger prints a trigger of an old server so that old servers understand it.
func oldTrigger(sql string) (string, error) {
	tree, err := parseSQL(sql)
	if err != nil {
		return "", err
	}
	forgetLocations(tree.ProtoReflect())
	for at := 0; ; at++ {
		next := strings.Index(sql[at:], executeFunction)
		if next < 0 {
			return sql, nil
		}
		at += next
		old := sql[:at] + executeProcedure + sql[at+len(executeFunction):]
		// Within a name or a text the words change the tree.
		if again, err := parseSQL(old); err == nil {
			forgetLocations(again.ProtoReflect())
			if proto.Equal(tree, again) {
				return old, nil
			}
		}
	}
}
