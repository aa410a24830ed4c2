package schema

import (
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
	isNewer := false
	if err != nil && !strings.Contains(sql, `"pgsyncd `) {
		if older, olderErr := inOlderWords(sql); olderErr == nil && older != sql {
			isNewer = true
			tree, err = parseSQL(older)
		}
	}
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
		if err == nil && isNewer {
			text, err = inNewerWords(text)
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
