package schema

import (
	pq "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func (r *rewriter) selectStmt(n *pq.SelectStmt, outer *level) {
	sc := &level{outer: outer}
	if n.WithClause != nil {
		r.walk(n.WithClause, outer)
	}
	for _, item := range n.FromClause {
		r.from(item, sc)
	}
	r.rest(n, sc, "with_clause", "from_clause")
}

// rest maps the parts of a node that are not mapped yet.
func (r *rewriter) rest(node proto.Message, sc *level, done ...string) {
	msg := node.ProtoReflect()
	fields := msg.Descriptor().Fields()
next:
	for i := range fields.Len() {
		field := fields.Get(i)
		for _, name := range done {
			if string(field.Name()) == name {
				continue next
			}
		}
		if msg.Has(field) {
			eachMessage(field, msg.Get(field), func(child protoreflect.Message) { r.walk(child.Interface(), sc) })
		}
	}
}

// target maps the table that a statement changes. Its columns can have no aliases, so references to them are renamed.
func (r *rewriter) target(n *pq.RangeVar, sc *level) *columns {
	name := n.Relname
	if n.Alias != nil {
		name = n.Alias.Aliasname
	}
	table := r.rangeVar(n)
	r.keepName(n, table)
	c := r.columns[table]
	sc.add(name, name, c)
	return c
}

// assigned maps the columns that a statement assigns to.
func (r *rewriter) assigned(targets []*pq.Node, c *columns, sc *level) {
	for _, t := range targets {
		if target := t.GetResTarget(); target != nil {
			target.Name = r.column(c, target.Name)
			r.indirection(target.Indirection)
			r.children(target, sc)
		}
	}
}

// returned maps what a statement that changes a table returns, under the old names. Since PostgreSQL 18 that may be of the old and the
// new row, unless these are those of a rule.
func (r *rewriter) returned(list []*pq.Node, c *columns, of *level) {
	rows := &level{outer: of.outer}
	for _, row := range []string{"old", "new"} {
		if of.find(row) == nil {
			rows.add(row, row, c)
		}
	}
	sc := &level{outer: rows, refs: of.refs}
	for _, item := range list {
		target := item.GetResTarget()
		fields := target.GetVal().GetColumnRef().GetFields()
		if target == nil || target.Name != "" || len(fields) == 0 {
			r.walk(item, sc)
			continue
		}
		last := fields[len(fields)-1].GetString_()
		if last == nil {
			for _, x := range sc.refs {
				if x.columns != nil {
					r.fail("it returns all columns of a table with mapped columns")
				}
			}
			r.walk(item, sc)
			continue
		}
		before := last.Sval
		r.walk(item, sc)
		if last.Sval != before {
			target.Name = before
		}
	}
}

func (r *rewriter) insertStmt(n *pq.InsertStmt, outer *level) {
	sc := &level{outer: outer}
	table := Name{n.Relation.Schemaname, n.Relation.Relname}
	c := r.target(n.Relation, sc)
	if c != nil && len(c.omitted) > 0 && len(n.Cols) == 0 && n.SelectStmt != nil {
		r.fail("it fills columns in order, of which some are not selected")
	}
	r.assigned(n.Cols, c, outer)
	if conflict := n.OnConflictClause; conflict != nil {
		if infer := conflict.Infer; infer != nil {
			if infer.Conname != "" {
				infer.Conname = r.ConstraintName(table, infer.Conname)
			}
			r.children(infer, sc)
		}
		action := &level{outer: outer, refs: sc.refs}
		action.add("excluded", "excluded", c)
		r.assigned(conflict.TargetList, c, action)
		if conflict.WhereClause != nil {
			r.walk(conflict.WhereClause, action)
		}
	}
	r.returned(n.ReturningList, c, sc)
	r.rest(n, outer, "relation", "cols", "on_conflict_clause", "returning_list")
}

func (r *rewriter) updateStmt(n *pq.UpdateStmt, outer *level) {
	sc := &level{outer: outer}
	c := r.target(n.Relation, sc)
	for _, item := range n.FromClause {
		r.from(item, sc)
	}
	r.assigned(n.TargetList, c, sc)
	r.returned(n.ReturningList, c, sc)
	r.rest(n, sc, "relation", "from_clause", "target_list", "returning_list")
}

func (r *rewriter) deleteStmt(n *pq.DeleteStmt, outer *level) {
	sc := &level{outer: outer}
	c := r.target(n.Relation, sc)
	for _, item := range n.UsingClause {
		r.from(item, sc)
	}
	r.returned(n.ReturningList, c, sc)
	r.rest(n, sc, "relation", "using_clause", "returning_list")
}

func (r *rewriter) mergeStmt(n *pq.MergeStmt, outer *level) {
	sc := &level{outer: outer}
	c := r.target(n.Relation, sc)
	r.from(n.SourceRelation, sc)
	for _, item := range n.MergeWhenClauses {
		when := item.GetMergeWhenClause()
		r.assigned(when.GetTargetList(), c, sc)
		r.rest(when, sc, "target_list")
	}
	r.returned(n.ReturningList, c, sc)
	r.rest(n, sc, "relation", "source_relation", "merge_when_clauses", "returning_list")
}
