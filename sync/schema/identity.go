package schema

import (
	"fmt"

	pq "github.com/pganalyze/pg_query_go/v6"
)

// Identity returns a text that tells the entry's object from all others of a destination, however its statements are written: that of a
// planned entry of a source is the same as that of the entry which describes the object in a dump of the destination.
func (e Entry) Identity() (string, error) {
	sql := e.Drop
	switch {
	case e.Desc == "SCHEMA", e.Desc == "ROW SECURITY", e.Desc == "TABLE ATTACH":
		return e.Desc + " " + e.Target, nil
	case sql == "" || annotates(&e) || e.Desc == "ACL":
		sql = e.Definition
	}
	tree, err := parseAny(sql)
	if err != nil {
		return "", err
	}
	for _, s := range tree.Stmts {
		if !subject(s.Stmt) {
			continue
		}
		text, err := canonicalNode(s.Stmt, 0)
		return e.Desc + " " + text, err
	}
	return "", fmt.Errorf("identify %s %s: nothing in its statements names it", e.Desc, e.Tag)
}

// subject reduces a statement to what it is about. False means that it is about nothing.
func subject(n *pq.Node) bool {
	switch s := n.Node.(type) {
	case *pq.Node_VariableSetStmt:
		return false
	case *pq.Node_CommentStmt:
		s.CommentStmt.Comment = ""
	case *pq.Node_SecLabelStmt:
		s.SecLabelStmt.Label = ""
	case *pq.Node_GrantStmt:
		subjectOfGrant(s.GrantStmt)
	case *pq.Node_AlterDefaultPrivilegesStmt:
		subjectOfGrant(s.AlterDefaultPrivilegesStmt.Action)
	case *pq.Node_AlterSeqStmt:
		s.AlterSeqStmt.Options = nil
	case *pq.Node_CreateTrigStmt:
		t := s.CreateTrigStmt
		*n = *dropOf(pq.ObjectType_OBJECT_TRIGGER, t.Relation, t.Trigname)
	case *pq.Node_DropStmt:
		s.DropStmt.MissingOk = false
	case *pq.Node_AlterTableStmt:
		s.AlterTableStmt.Relation.Inh = true
		if cmd := s.AlterTableStmt.Cmds[0].GetAlterTableCmd(); cmd.Subtype == pq.AlterTableType_AT_AddConstraint {
			cmd.Subtype, cmd.Name, cmd.Def = pq.AlterTableType_AT_DropConstraint, cmd.Def.GetConstraint().GetConname(), nil
		}
	}
	return true
}

// subjectOfGrant leaves the objects, and the columns if the privileges are on some.
func subjectOfGrant(g *pq.GrantStmt) {
	var columns []*pq.Node
	for _, p := range g.Privileges {
		if p.GetAccessPriv() != nil && columns == nil {
			columns = p.GetAccessPriv().Cols
		}
	}
	g.Privileges = columns
	g.IsGrant, g.Grantees, g.GrantOption, g.Grantor = false, nil, false, nil
}

// dropOf is the statement that drops a part of a table.
func dropOf(kind pq.ObjectType, table *pq.RangeVar, name string) *pq.Node {
	var names []*pq.Node
	if table.Schemaname != "" {
		names = append(names, pq.MakeStrNode(table.Schemaname))
	}
	names = append(names, pq.MakeStrNode(table.Relname), pq.MakeStrNode(name))
	list := &pq.Node{Node: &pq.Node_List{List: &pq.List{Items: names}}}
	return &pq.Node{Node: &pq.Node_DropStmt{DropStmt: &pq.DropStmt{Objects: []*pq.Node{list}, RemoveType: kind, Behavior: pq.DropBehavior_DROP_RESTRICT}}}
}
