package schema

import (
	pq "github.com/pganalyze/pg_query_go/v6"
)

// level is what column references are looked up in: the relations of one query level, and those around it.
type level struct {
	outer *level
	refs  []*ref
}

// ref is a relation under the name by which a query refers to it.
type ref struct {
	name    string
	as      string   // that name in the destination
	columns *columns // nil when its columns keep their names, or get them back by an alias
}

func (s *level) add(name, as string, c *columns) { s.refs = append(s.refs, &ref{name, as, c}) }

// find looks a relation up by name, the inner queries first.
func (s *level) find(name string) *ref {
	for ; s != nil; s = s.outer {
		for _, x := range s.refs {
			if x.name == name {
				return x
			}
		}
	}
	return nil
}

// own is the scope of expressions over the columns of one table, such as checks and indexes. What PostgreSQL prints of them refers to
// the table by its name.
func (r *rewriter) own(table Name) *level {
	s := &level{}
	s.add(table.Name, r.relation(table).Name, r.columns[table])
	return s
}

// oldAndNew is the scope of rules and of conditions of triggers.
func (r *rewriter) oldAndNew(table Name) *level {
	s := &level{}
	s.add("old", "old", r.columns[table])
	s.add("new", "new", r.columns[table])
	return s
}

// column maps a column's name.
func (r *rewriter) column(c *columns, name string) string {
	switch {
	case c == nil || name == "":
		return name
	case c.omitted[name]:
		r.missing = name
		return name
	}
	if to, ok := c.to[name]; ok {
		return to
	}
	return name
}

// columnList maps the names of columns in a list.
func (r *rewriter) columnList(c *columns, names []*pq.Node) {
	for _, n := range names {
		if s := n.GetString_(); s != nil {
			s.Sval = r.column(c, s.Sval)
		}
	}
}

// ownColumn maps the name of a column in a statement about one table.
func (r *rewriter) ownColumn(name string, sc *level) string {
	for ; sc != nil; sc = sc.outer {
		switch len(sc.refs) {
		case 0:
			continue
		case 1:
			return r.column(sc.refs[0].columns, name)
		}
		// PostgreSQL prints the relation before the column wherever there is more than one.
		for _, x := range sc.refs {
			if x.columns != nil && (x.columns.omitted[name] || x.columns.to[name] != "") {
				r.fail("column %s may be that of several relations", Name{Name: name})
			}
		}
		return name
	}
	return name
}

// columnRef maps a column reference: column, relation.column or relation.*, also with a schema before the relation. PostgreSQL prints
// a whole row as relation.*, so a name alone is a column.
func (r *rewriter) columnRef(n *pq.ColumnRef, sc *level) {
	if len(n.Fields) >= 3 {
		r.qualifiedRef(n)
	}
	first := n.Fields[0].GetString_()
	if first == nil {
		return // a star alone
	}
	if len(n.Fields) == 1 {
		first.Sval = r.ownColumn(first.Sval, sc)
		return
	}
	x := sc.find(first.Sval)
	if x == nil {
		return
	}
	first.Sval = x.as
	if column := n.Fields[1].GetString_(); column != nil {
		column.Sval = r.column(x.columns, column.Sval)
	}
}

// qualifiedRef takes the schema from before a relation that keeps its name by an alias, and maps the schema of any other.
func (r *rewriter) qualifiedRef(n *pq.ColumnRef) {
	schema, table := n.Fields[0].GetString_(), n.Fields[1].GetString_()
	if schema == nil || table == nil {
		return
	}
	original := Name{schema.Sval, table.Sval}
	switch to := r.relation(original); {
	case to.Name != original.Name, r.columns[original] != nil:
		n.Fields = n.Fields[1:]
	default:
		schema.Sval = to.Schema
	}
}

// indirection refuses the selection of a field from a row, because it does not tell of which type the row is.
func (r *rewriter) indirection(fields []*pq.Node) {
	for _, f := range fields {
		if name := f.GetString_(); name != nil && r.fields[name.Sval] {
			r.fail("field %s may be a mapped column", Name{Name: name.Sval})
		}
	}
}

// from maps an item of a FROM clause and enters it into the scope. A relation that gets another name, or whose columns do, keeps the
// old ones for the rest of the query as aliases.
func (r *rewriter) from(item *pq.Node, sc *level) {
	switch {
	case item.GetRangeVar() != nil:
		n := item.GetRangeVar()
		name := n.Relname
		if n.Alias != nil {
			name = n.Alias.Aliasname
		}
		table := r.rangeVar(n)
		r.keepName(n, table)
		if c := r.columns[table]; c != nil {
			r.keepColumns(n, name, c)
		}
		sc.add(name, name, nil)
	case item.GetJoinExpr() != nil:
		n := item.GetJoinExpr()
		r.from(n.Larg, sc)
		r.from(n.Rarg, sc)
		if n.Alias != nil {
			sc.add(n.Alias.Aliasname, n.Alias.Aliasname, nil)
		}
		if n.Quals != nil {
			r.walk(n.Quals, sc)
		}
	case item.GetRangeTableSample() != nil:
		n := item.GetRangeTableSample()
		r.from(n.Relation, sc)
		r.inSchema(n.Method)
		r.walkAll(n.Args, sc)
		if n.Repeatable != nil {
			r.walk(n.Repeatable, sc)
		}
	default:
		name := fromName(item)
		sc.add(name, name, nil)
		r.walk(item, sc)
	}
}

// fromName is the name by which the rest of the query refers to something that is no relation.
func fromName(item *pq.Node) string {
	for _, alias := range []*pq.Alias{
		item.GetRangeSubselect().GetAlias(), item.GetRangeFunction().GetAlias(), item.GetRangeTableFunc().GetAlias(), item.GetJsonTable().GetAlias(),
	} {
		if alias != nil {
			return alias.Aliasname
		}
	}
	for _, f := range item.GetRangeFunction().GetFunctions() {
		if items := f.GetList().GetItems(); len(items) > 0 {
			if name := items[0].GetFuncCall().GetFuncname(); len(name) > 0 {
				return name[len(name)-1].GetString_().GetSval()
			}
		}
	}
	return ""
}

// keepName gives a relation with another name its old one as alias.
func (r *rewriter) keepName(n *pq.RangeVar, table Name) {
	if n.Alias == nil && table != (Name{}) && n.Relname != table.Name {
		n.Alias = &pq.Alias{Aliasname: table.Name}
	}
}

// keepColumns gives the columns of a relation in a query their old names.
func (r *rewriter) keepColumns(n *pq.RangeVar, name string, c *columns) {
	switch {
	case n.Alias != nil && len(n.Alias.Colnames) > 0:
		if len(c.omitted) > 0 {
			r.fail("not all columns of a table are selected to which a query gives names in order")
		}
	case len(c.to) > 0:
		n.Alias = &pq.Alias{Aliasname: name}
		for _, column := range c.order {
			n.Alias.Colnames = append(n.Alias.Colnames, pq.MakeStrNode(column))
		}
	}
}
