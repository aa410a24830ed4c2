package schema

import (
	"slices"

	pq "github.com/pganalyze/pg_query_go/v6"
)

// statement maps a whole statement and reports whether anything is left of it.
func (r *rewriter) statement(node *pq.Node) (keep bool) {
	switch {
	case node.GetCreateStmt() != nil:
		r.createTable(node.GetCreateStmt())
	case node.GetAlterTableStmt() != nil:
		return r.alterTable(node.GetAlterTableStmt())
	case node.GetIndexStmt() != nil:
		r.createIndex(node.GetIndexStmt())
	case node.GetGrantStmt() != nil:
		return r.grant(node.GetGrantStmt())
	case r.annotation(node), r.tablePart(node), r.program(node), r.typeStatement(node), r.nameStatement(node):
	default:
		r.walk(node, nil)
	}
	return true
}

// annotation maps statements about an object of any kind.
func (r *rewriter) annotation(node *pq.Node) bool {
	switch {
	case node.GetCommentStmt() != nil:
		n := node.GetCommentStmt()
		r.objectName(n.Objtype, n.Object)
	case node.GetSecLabelStmt() != nil:
		n := node.GetSecLabelStmt()
		r.objectName(n.Objtype, n.Object)
	case node.GetDropStmt() != nil:
		n := node.GetDropStmt()
		for _, object := range n.Objects {
			r.objectName(n.RemoveType, object)
		}
	case node.GetAlterOwnerStmt() != nil:
		n := node.GetAlterOwnerStmt()
		r.rangeVar(n.Relation)
		r.objectName(n.ObjectType, n.Object)
	case node.GetAlterObjectSchemaStmt() != nil:
		n := node.GetAlterObjectSchemaStmt()
		if n.Relation != nil {
			if _, own := r.targets[Name{n.Relation.Schemaname, n.Relation.Relname}]; own {
				r.fail("a relation with a name of its own moves to another schema")
			}
		}
		r.rangeVar(n.Relation)
		r.objectName(n.ObjectType, n.Object)
		n.Newschema = r.sel.TargetSchema(n.Newschema)
	case node.GetAlterObjectDependsStmt() != nil:
		n := node.GetAlterObjectDependsStmt()
		r.rangeVar(n.Relation)
		r.objectName(n.ObjectType, n.Object)
	case node.GetAlterExtensionContentsStmt() != nil:
		n := node.GetAlterExtensionContentsStmt()
		r.objectName(n.Objtype, n.Object)
	case node.GetRenameStmt() != nil:
		r.fail("a statement that gives another name")
	default:
		return false
	}
	return true
}

// objectName maps the name of an object of a certain kind, in the form that statements about any kind of object have it.
func (r *rewriter) objectName(kind pq.ObjectType, object *pq.Node) {
	if object == nil {
		return
	}
	names := object.GetList().GetItems()
	switch kind {
	case pq.ObjectType_OBJECT_TABLE, pq.ObjectType_OBJECT_VIEW, pq.ObjectType_OBJECT_MATVIEW, pq.ObjectType_OBJECT_SEQUENCE,
		pq.ObjectType_OBJECT_FOREIGN_TABLE:
		r.relationName(names)
		r.rangeVar(object.GetRangeVar())
	case pq.ObjectType_OBJECT_INDEX:
		if schema, name := qualified(names); schema != nil {
			to, err := r.index(Name{schema.Sval, name.Sval})
			if err != nil {
				r.fail("%w", err)
			}
			schema.Sval, name.Sval = to.Schema, to.Name
		}
	case pq.ObjectType_OBJECT_COLUMN:
		r.columnName(names)
	case pq.ObjectType_OBJECT_TABCONSTRAINT:
		if len(names) == 3 {
			table := r.relationName(names[:2])
			names[2].GetString_().Sval = r.ConstraintName(table, names[2].GetString_().GetSval())
		}
	case pq.ObjectType_OBJECT_TRIGGER, pq.ObjectType_OBJECT_RULE, pq.ObjectType_OBJECT_POLICY:
		if len(names) == 3 {
			r.relationName(names[:2])
		}
	case pq.ObjectType_OBJECT_SCHEMA:
		r.schemas([]*pq.Node{object})
	case pq.ObjectType_OBJECT_TYPE, pq.ObjectType_OBJECT_DOMAIN:
		r.typeNames(names)
		r.walk(object, nil)
	case pq.ObjectType_OBJECT_OPCLASS, pq.ObjectType_OBJECT_OPFAMILY: // access method, schema, name
		if len(names) == 3 {
			r.inSchema(names)
		}
	case pq.ObjectType_OBJECT_COLLATION, pq.ObjectType_OBJECT_CONVERSION, pq.ObjectType_OBJECT_STATISTIC_EXT,
		pq.ObjectType_OBJECT_TSCONFIGURATION, pq.ObjectType_OBJECT_TSDICTIONARY, pq.ObjectType_OBJECT_TSPARSER,
		pq.ObjectType_OBJECT_TSTEMPLATE:
		r.inSchema(names)
	default: // functions and operators with their arguments, casts by their types; what is in no schema
		r.walk(object, nil)
	}
}

// grant maps GRANT and REVOKE. Privileges on columns that are not selected are left out.
func (r *rewriter) grant(n *pq.GrantStmt) (keep bool) {
	var c *columns
	for _, object := range n.Objects {
		if v := object.GetRangeVar(); v != nil {
			c = r.columns[Name{v.Schemaname, v.Relname}]
		}
		if list := object.GetList(); list != nil && n.Objtype != pq.ObjectType_OBJECT_TYPE && n.Objtype != pq.ObjectType_OBJECT_DOMAIN {
			r.fail("a grant on objects of an unknown kind")
			return true
		}
		r.objectName(n.Objtype, object)
	}
	if c == nil {
		return true
	}
	if len(n.Objects) > 1 {
		r.fail("a grant on several tables with mapped columns")
	}
	all := len(n.Privileges)
	n.Privileges = slices.DeleteFunc(n.Privileges, func(p *pq.Node) bool {
		priv := p.GetAccessPriv()
		before := len(priv.GetCols())
		if before == 0 {
			return false
		}
		priv.Cols = r.selected(c, priv.Cols)
		return len(priv.Cols) == 0
	})
	return all == 0 || len(n.Privileges) > 0
}

// selected maps columns in a list and leaves out those that are not selected.
func (r *rewriter) selected(c *columns, names []*pq.Node) []*pq.Node {
	return slices.DeleteFunc(names, func(n *pq.Node) bool {
		return !r.optional(func() { r.columnList(c, []*pq.Node{n}) })
	})
}

// program maps functions, triggers, rules and policies.
func (r *rewriter) program(node *pq.Node) bool {
	switch {
	case node.GetCreateFunctionStmt() != nil:
		n := node.GetCreateFunctionStmt()
		r.inSchema(n.Funcname)
		r.children(n, nil)
	case node.GetCreateTrigStmt() != nil:
		n := node.GetCreateTrigStmt()
		table := r.rangeVar(n.Relation)
		r.rangeVar(n.Constrrel)
		r.inSchema(n.Funcname)
		if c := r.columns[table]; c != nil && len(n.Columns) > 0 {
			first := n.Columns[0].GetString_().GetSval()
			if n.Columns = r.selected(c, n.Columns); len(n.Columns) == 0 {
				r.missing = first
			}
		}
		if n.WhenClause != nil {
			r.walk(n.WhenClause, r.oldAndNew(table))
		}
	case node.GetCreateEventTrigStmt() != nil:
		r.inSchema(node.GetCreateEventTrigStmt().Funcname)
	case node.GetRuleStmt() != nil:
		n := node.GetRuleStmt()
		table := r.rangeVar(n.Relation)
		r.rest(n, r.oldAndNew(table), "relation")
	case node.GetCreatePolicyStmt() != nil:
		n := node.GetCreatePolicyStmt()
		table := r.rangeVar(n.Table)
		r.rest(n, r.own(table), "table")
	case node.GetAlterPolicyStmt() != nil:
		n := node.GetAlterPolicyStmt()
		table := r.rangeVar(n.Table)
		r.rest(n, r.own(table), "table")
	case node.GetCreatePlangStmt() != nil:
		n := node.GetCreatePlangStmt()
		r.inSchema(n.Plhandler)
		r.inSchema(n.Plinline)
		r.inSchema(n.Plvalidator)
	case node.GetCreateAmStmt() != nil:
		r.inSchema(node.GetCreateAmStmt().HandlerName)
	default:
		return false
	}
	return true
}

// typeStatement maps types and what is defined by a list of attributes.
func (r *rewriter) typeStatement(node *pq.Node) bool {
	switch {
	case node.GetDefineStmt() != nil:
		n := node.GetDefineStmt()
		r.inSchema(n.Defnames)
		r.walkAll(n.Args, nil)
		r.definition(n.Definition)
	case node.GetCreateRangeStmt() != nil:
		n := node.GetCreateRangeStmt()
		r.inSchema(n.TypeName)
		r.definition(n.Params)
	case node.GetCreateEnumStmt() != nil:
		r.inSchema(node.GetCreateEnumStmt().TypeName)
	case node.GetAlterEnumStmt() != nil:
		r.inSchema(node.GetAlterEnumStmt().TypeName)
	case node.GetAlterTypeStmt() != nil:
		n := node.GetAlterTypeStmt()
		r.inSchema(n.TypeName)
		r.definition(n.Options)
	case node.GetAlterOperatorStmt() != nil:
		n := node.GetAlterOperatorStmt()
		r.walk(n.Opername, nil)
		r.definition(n.Options)
	case node.GetCreateDomainStmt() != nil:
		n := node.GetCreateDomainStmt()
		r.inSchema(n.Domainname)
		r.children(n, nil)
	case node.GetAlterDomainStmt() != nil:
		n := node.GetAlterDomainStmt()
		r.inSchema(n.TypeName)
		r.children(n, nil)
	case node.GetCreateOpClassStmt() != nil:
		n := node.GetCreateOpClassStmt()
		r.inSchema(n.Opclassname)
		r.inSchema(n.Opfamilyname)
		r.walk(n.Datatype, nil)
		r.operatorClass(n.Items)
	case node.GetCreateOpFamilyStmt() != nil:
		r.inSchema(node.GetCreateOpFamilyStmt().Opfamilyname)
	case node.GetAlterOpFamilyStmt() != nil:
		n := node.GetAlterOpFamilyStmt()
		r.inSchema(n.Opfamilyname)
		r.operatorClass(n.Items)
	default:
		return false
	}
	return true
}

func (r *rewriter) operatorClass(items []*pq.Node) {
	for _, item := range items {
		if n := item.GetCreateOpClassItem(); n != nil {
			r.inSchema(n.OrderFamily)
			r.children(n, nil)
		}
	}
}

// nameStatement maps statements whose object's name is a list or a text of their own.
func (r *rewriter) nameStatement(node *pq.Node) bool {
	switch {
	case node.GetCreateSchemaStmt() != nil:
		n := node.GetCreateSchemaStmt()
		n.Schemaname = r.sel.TargetSchema(n.Schemaname)
	case node.GetCreateConversionStmt() != nil:
		n := node.GetCreateConversionStmt()
		r.inSchema(n.ConversionName)
		r.inSchema(n.FuncName)
	case node.GetCreateStatsStmt() != nil:
		r.createStatistics(node.GetCreateStatsStmt())
	case node.GetAlterStatsStmt() != nil:
		r.inSchema(node.GetAlterStatsStmt().Defnames)
	case node.GetAlterCollationStmt() != nil:
		r.inSchema(node.GetAlterCollationStmt().Collname)
	case node.GetAlterTsdictionaryStmt() != nil:
		r.inSchema(node.GetAlterTsdictionaryStmt().Dictname)
	case node.GetAlterTsconfigurationStmt() != nil:
		n := node.GetAlterTsconfigurationStmt()
		r.inSchema(n.Cfgname)
		for _, dictionary := range n.Dicts {
			r.inSchema(dictionary.GetList().GetItems())
		}
	default:
		return false
	}
	return true
}
