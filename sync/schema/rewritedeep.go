package schema

import (
	"fmt"
	"strings"

	pq "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The deparser reads a tree with a stack of 64 KiB, of which each level of messages takes 448 bytes, on top of five or so thousand. Beyond
// its stack it would overwrite the parser's data unnoticed, so that a deeper tree is printed in pieces.
const (
	maxDepth   = 110 // levels that are printed at once
	pieceDepth = 40  // levels above a piece at least, so that a tree does not fall apart into too many
	maxHeight  = 2500
)

// deparse prints a tree of any depth. It changes the tree.
func deparse(tree *pq.ParseResult) (string, error) {
	var pieces []string
	if depth := height(tree.ProtoReflect()); depth > maxHeight {
		return "", fmt.Errorf("is nested too deeply: %d levels", depth)
	}
	if err := cutDeep(tree.ProtoReflect(), 0, &pieces); err != nil {
		return "", err
	}
	if depth := height(tree.ProtoReflect()); depth > maxDepth {
		return "", fmt.Errorf("is nested too deeply: %d levels", depth)
	}
	sql, err := locked(func() (string, error) { return pgquery.Deparse(tree) })
	if err != nil || len(pieces) == 0 {
		return sql, err
	}
	return strings.NewReplacer(pieces...).Replace(sql), nil
}

// cutDeep puts marks into the place of expressions and subqueries that reach too deep, and appends mark and text of each to pieces.
func cutDeep(msg protoreflect.Message, level int, pieces *[]string) (err error) {
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		i := 0
		eachMessage(field, value, func(child protoreflect.Message) {
			n := i
			i++
			if err != nil || level+1+height(child) <= maxDepth {
				return
			}
			if level < pieceDepth || !separable(child) {
				err = cutDeep(child, level+1, pieces)
				return
			}
			var mark protoreflect.Message
			if mark, err = piece(child, pieces); err != nil {
				return
			}
			if field.IsList() {
				value.List().Set(n, protoreflect.ValueOfMessage(mark))
			} else {
				msg.Set(field, protoreflect.ValueOfMessage(mark))
			}
		})
		return err == nil
	})
	return err
}

// separable reports whether a node may stand in parentheses of its own.
func separable(msg protoreflect.Message) bool {
	switch n := msg.Interface().(type) {
	case *pq.SelectStmt:
		return true
	case *pq.Node:
		if join := n.GetJoinExpr(); join != nil {
			return join.Alias == nil
		}
		return n.GetSelectStmt() != nil || n.GetAExpr() != nil || n.GetBoolExpr() != nil || n.GetCaseExpr() != nil || n.GetTypeCast() != nil ||
			n.GetSubLink() != nil || n.GetFuncCall() != nil || n.GetCoalesceExpr() != nil || n.GetRowExpr() != nil
	}
	return false
}

// piece prints a part of a tree and returns the mark to put into its place.
func piece(msg protoreflect.Message, pieces *[]string) (protoreflect.Message, error) {
	name := fmt.Sprintf("pgsyncd piece %d", len(*pieces)/2)
	from := &pq.Node{Node: &pq.Node_RangeVar{RangeVar: &pq.RangeVar{Relname: name, Inh: true, Relpersistence: "p"}}}
	var part *pq.SelectStmt // what is printed
	var mark proto.Message
	old, head := `"`+name+`"`, ""
	switch n := proto.Clone(msg.Interface()).(type) {
	case *pq.SelectStmt:
		part, mark, old = n, selecting(nil, from), "SELECT FROM "+old
	case *pq.Node:
		switch {
		case n.GetSelectStmt() != nil:
			part, old = n.GetSelectStmt(), "SELECT FROM "+old
			mark = &pq.Node{Node: &pq.Node_SelectStmt{SelectStmt: selecting(nil, from)}}
		case n.GetJoinExpr() != nil:
			part, mark, head = selecting(nil, n), from, "SELECT FROM "
		default:
			part, head = selecting(&pq.Node{Node: &pq.Node_ResTarget{ResTarget: &pq.ResTarget{Val: n}}}, nil), "SELECT "
			mark = &pq.Node{Node: &pq.Node_ColumnRef{ColumnRef: &pq.ColumnRef{Fields: []*pq.Node{pq.MakeStrNode(name)}}}}
		}
	}
	stmt := &pq.Node{Node: &pq.Node_SelectStmt{SelectStmt: part}}
	text, err := deparse(&pq.ParseResult{Stmts: []*pq.RawStmt{{Stmt: stmt}}})
	if err != nil {
		return nil, err
	}
	*pieces = append(*pieces, old, "("+strings.TrimPrefix(text, head)+")")
	return mark.ProtoReflect(), nil
}

// selecting makes a SELECT of a target list or a FROM clause.
func selecting(target, from *pq.Node) *pq.SelectStmt {
	n := &pq.SelectStmt{LimitOption: pq.LimitOption_LIMIT_OPTION_DEFAULT, Op: pq.SetOperation_SETOP_NONE}
	if target != nil {
		n.TargetList = []*pq.Node{target}
	}
	if from != nil {
		n.FromClause = []*pq.Node{from}
	}
	return n
}

// height counts the levels of messages in a tree.
func height(msg protoreflect.Message) int {
	deepest := 0
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		eachMessage(field, value, func(child protoreflect.Message) { deepest = max(deepest, height(child)) })
		return true
	})
	return deepest + 1
}
