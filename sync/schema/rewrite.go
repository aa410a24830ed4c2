package schema

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"

	pq "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// parser is PostgreSQL's own. One statement at a time goes through it, because every further one at the same time would load a parser
// of its own.
var parser struct {
	sync.Mutex
	loaded bool
}

// locked runs f alone and turns a panic of the parser, as on a tree too deep for its stack, into an error.
func locked[T any](f func() (T, error)) (result T, err error) {
	parser.Lock()
	defer parser.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the parser failed: %v", p)
		}
		if !parser.loaded {
			parser.loaded = true
			debug.FreeOSMemory() // what compiling the parser took
		}
	}()
	return f()
}

func parseSQL(sql string) (*pq.ParseResult, error) {
	tree, err := locked(func() (*pq.ParseResult, error) { return pgquery.Parse(sql) })
	if err != nil {
		return nil, fmt.Errorf("cannot be parsed: %w", err)
	}
	return tree, nil
}

// printSQL writes a tree as a statement and reads it again: a statement that would not mean the same is an error.
func printSQL(tree *pq.ParseResult) (string, error) {
	printed := proto.CloneOf(tree)
	helpDeparser(printed.ProtoReflect())
	sql, err := locked(func() (string, error) { return pgquery.Deparse(printed) })
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

// helpDeparser makes up for what the deparser leaves out: it quotes the few names that would be written as they are, and puts parentheses
// around an array of which an element is taken.
func helpDeparser(msg protoreflect.Message) {
	var name *string
	switch n := msg.Interface().(type) {
	case *pq.A_Indirection:
		if n.Arg.GetAArrayExpr() != nil {
			row := &pq.RowExpr{Args: []*pq.Node{n.Arg}, RowFormat: pq.CoercionForm_COERCE_IMPLICIT_CAST}
			n.Arg = &pq.Node{Node: &pq.Node_RowExpr{RowExpr: row}}
		}
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
	}
	if name != nil && *name != "" {
		*name = Name{Name: *name}.String()
	}
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		eachMessage(field, value, helpDeparser)
		return true
	})
}

// forgetLocations removes from a tree where in the text its nodes stood.
func forgetLocations(msg protoreflect.Message) {
	msg.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch field.Name() {
		case "location", "name_location", "stmt_location", "stmt_len":
			msg.Clear(field)
		}
		eachMessage(field, value, forgetLocations)
		return true
	})
}

// eachMessage calls f for the messages that a field holds.
func eachMessage(field protoreflect.FieldDescriptor, value protoreflect.Value, f func(protoreflect.Message)) {
	switch {
	case field.Message() == nil:
	case field.IsList():
		for i := range value.List().Len() {
			f(value.List().Get(i).Message())
		}
	default:
		f(value.Message())
	}
}

// rewrite maps the statements one by one; those that only concern columns which are not selected are left out.
func (m *Mapper) rewrite(sql string) (string, error) {
	tree, err := parseSQL(sql)
	if err != nil {
		return "", err
	}
	var statements []string
	var missing string
	for _, statement := range tree.Stmts {
		r := &rewriter{Mapper: m}
		keep := r.statement(statement.Stmt)
		switch {
		case r.err != nil:
			return "", r.err
		case r.missing != "":
			if missing == "" {
				missing = r.missing
			}
			continue
		case !keep:
			continue
		}
		text, err := printSQL(&pq.ParseResult{Version: tree.Version, Stmts: []*pq.RawStmt{{Stmt: statement.Stmt}}})
		if err == nil && strings.Contains(sql, executeProcedure) {
			text, err = oldTrigger(text)
		}
		if err != nil {
			return "", err
		}
		statements = append(statements, text+";")
	}
	if len(statements) == 0 {
		return "", &NotSelectedError{missing}
	}
	return strings.Join(statements, "\n"), nil
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

// rewriter maps one statement.
type rewriter struct {
	*Mapper
	err     error  // the first reason why it cannot be mapped
	missing string // a column that is not selected but needed
}

func (r *rewriter) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// optional maps a part of a statement which is left out if it needs a column that is not selected.
func (r *rewriter) optional(f func()) (kept bool) {
	outer := r.missing
	r.missing = ""
	f()
	kept = r.missing == ""
	r.missing = outer
	return kept
}

// children maps all parts of a node.
func (r *rewriter) children(node proto.Message, sc *level) {
	node.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		eachMessage(field, value, func(child protoreflect.Message) { r.walk(child.Interface(), sc) })
		return r.err == nil
	})
}

func (r *rewriter) walkAll(nodes []*pq.Node, sc *level) {
	for _, n := range nodes {
		r.walk(n, sc)
	}
}

// walk maps a node of a kind that may occur anywhere, with all below it. Column references are looked up in the scope.
func (r *rewriter) walk(node proto.Message, sc *level) {
	if r.err != nil {
		return
	}
	switch n := node.(type) {
	case *pq.RangeVar:
		r.rangeVar(n)
	case *pq.TypeName:
		r.typeName(n)
		r.children(n, sc)
	case *pq.TypeCast:
		r.regConstant(n)
		r.children(n, sc)
	case *pq.FuncCall:
		r.inSchema(n.Funcname)
		r.children(n, sc)
	case *pq.A_Expr:
		r.inSchema(n.Name)
		r.children(n, sc)
	case *pq.SubLink:
		r.inSchema(n.OperName)
		r.children(n, sc)
	case *pq.SortBy:
		r.inSchema(n.UseOp)
		r.children(n, sc)
	case *pq.CollateClause:
		r.inSchema(n.Collname)
		r.children(n, sc)
	case *pq.RangeTableSample:
		r.inSchema(n.Method)
		r.children(n, sc)
	case *pq.ObjectWithArgs:
		r.inSchema(n.Objname)
		r.children(n, sc)
	case *pq.IndexElem:
		r.inSchema(n.Collation)
		r.inSchema(n.Opclass)
		n.Name = r.ownColumn(n.Name, sc)
		r.children(n, sc)
	case *pq.PartitionElem:
		r.inSchema(n.Collation)
		r.inSchema(n.Opclass)
		n.Name = r.ownColumn(n.Name, sc)
		r.children(n, sc)
	case *pq.StatsElem:
		n.Name = r.ownColumn(n.Name, sc)
		r.children(n, sc)
	case *pq.ColumnRef:
		r.columnRef(n, sc)
	case *pq.A_Indirection:
		r.indirection(n.Indirection)
		r.children(n, sc)
	case *pq.DefElem:
		r.option(n, sc)
	case *pq.VariableSetStmt:
		r.setting(n)
	case *pq.SelectStmt:
		r.selectStmt(n, sc)
	case *pq.InsertStmt:
		r.insertStmt(n, sc)
	case *pq.UpdateStmt:
		r.updateStmt(n, sc)
	case *pq.DeleteStmt:
		r.deleteStmt(n, sc)
	case *pq.MergeStmt:
		r.mergeStmt(n, sc)
	default:
		r.children(n, sc)
	}
}
