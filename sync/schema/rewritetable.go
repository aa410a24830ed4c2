package schema

import (
	"slices"

	pq "github.com/pganalyze/pg_query_go/v6"
)

func (r *rewriter) createTable(n *pq.CreateStmt) {
	table := r.rangeVar(n.Relation)
	c, own := r.columns[table], r.own(table)
	if c != nil && n.OfTypename != nil {
		r.fail("the columns of a typed table are those of its type")
	}
	n.TableElts = slices.DeleteFunc(n.TableElts, func(element *pq.Node) bool {
		switch {
		case element.GetColumnDef() != nil:
			return !r.columnDef(table, element.GetColumnDef(), own)
		case element.GetConstraint() != nil:
			constraint := element.GetConstraint()
			return r.without[absent{table, true, constraint.Conname}] || !r.optional(func() { r.constraint(table, constraint, own) })
		default:
			r.walk(element, own)
			return false
		}
	})
	r.rest(n, own, "relation", "table_elts")
}

// columnDef maps the definition of a column and reports whether it is selected.
func (r *rewriter) columnDef(table Name, n *pq.ColumnDef, own *level) bool {
	c := r.columns[table]
	if c != nil && c.omitted[n.Colname] {
		return false
	}
	original := n.Colname
	n.Colname = r.column(c, n.Colname)
	n.Constraints = slices.DeleteFunc(n.Constraints, func(item *pq.Node) bool {
		constraint := item.GetConstraint()
		if constraint == nil {
			r.walk(item, own)
			return false
		}
		if r.without[absent{table, true, constraint.Conname}] ||
			constraint.Contype == pq.ConstrType_CONSTR_DEFAULT && r.without[absent{table, false, original}] {
			return true
		}
		kept := r.optional(func() { r.constraint(table, constraint, own) })
		if !kept && constraint.Contype == pq.ConstrType_CONSTR_GENERATED {
			r.fail("column %s is computed from a column that is not selected", Name{Name: original})
		}
		return !kept
	})
	r.rest(n, own, "constraints")
	return true
}

// constraint maps a constraint of a table, or of one of its columns.
func (r *rewriter) constraint(table Name, n *pq.Constraint, own *level) {
	c := r.columns[table]
	if n.Conname != "" {
		n.Conname = r.ConstraintName(table, n.Conname)
	}
	if n.Indexname != "" {
		n.Indexname = r.IndexName(table, n.Indexname)
	}
	r.columnList(c, n.Keys)
	r.columnList(c, n.Including)
	r.columnList(c, n.FkAttrs)
	r.columnList(c, n.FkDelSetCols)
	if n.Pktable != nil {
		r.columnList(r.columns[r.rangeVar(n.Pktable)], n.PkAttrs)
	}
	for _, exclusion := range n.Exclusions { // index element, operator
		if pair := exclusion.GetList().GetItems(); len(pair) == 2 {
			r.inSchema(pair[1].GetList().GetItems())
		}
	}
	r.rest(n, own, "keys", "including", "fk_attrs", "pk_attrs", "fk_del_set_cols", "pktable")
}

// aboutConstraint are the kinds of ALTER TABLE whose name is that of a constraint.
var aboutConstraint = map[pq.AlterTableType]bool{
	pq.AlterTableType_AT_AlterConstraint: true, pq.AlterTableType_AT_ValidateConstraint: true, pq.AlterTableType_AT_DropConstraint: true,
}

// aboutColumn are the kinds of ALTER TABLE whose name is that of a column.
var aboutColumn = map[pq.AlterTableType]bool{
	pq.AlterTableType_AT_ColumnDefault: true, pq.AlterTableType_AT_DropNotNull: true, pq.AlterTableType_AT_SetNotNull: true,
	pq.AlterTableType_AT_SetExpression: true, pq.AlterTableType_AT_DropExpression: true, pq.AlterTableType_AT_SetStatistics: true,
	pq.AlterTableType_AT_SetOptions: true, pq.AlterTableType_AT_ResetOptions: true, pq.AlterTableType_AT_SetStorage: true,
	pq.AlterTableType_AT_SetCompression: true, pq.AlterTableType_AT_DropColumn: true, pq.AlterTableType_AT_AlterColumnType: true,
	pq.AlterTableType_AT_AlterColumnGenericOptions: true, pq.AlterTableType_AT_AddIdentity: true, pq.AlterTableType_AT_SetIdentity: true,
	pq.AlterTableType_AT_DropIdentity: true,
}

// alterTable maps ALTER TABLE, INDEX, VIEW, SEQUENCE and TYPE, and reports whether anything is left to alter.
func (r *rewriter) alterTable(n *pq.AlterTableStmt) (keep bool) {
	if n.Objtype == pq.ObjectType_OBJECT_INDEX {
		r.alterIndex(n)
		return true
	}
	table := r.rangeVar(n.Relation)
	own := r.own(table)
	var missing string
	n.Cmds = slices.DeleteFunc(n.Cmds, func(item *pq.Node) bool {
		kept := r.optional(func() {
			r.alteration(table, item.GetAlterTableCmd(), own)
			missing = r.missing
		})
		return !kept
	})
	if len(n.Cmds) == 0 {
		r.missing = missing
	}
	return len(n.Cmds) > 0
}

func (r *rewriter) alterIndex(n *pq.AlterTableStmt) {
	r.indexVar(n.Relation)
	for _, item := range n.Cmds {
		cmd := item.GetAlterTableCmd()
		if part := cmd.GetDef().GetPartitionCmd(); part != nil {
			r.indexVar(part.Name)
		}
	}
}

// alteration maps one part of ALTER TABLE.
func (r *rewriter) alteration(table Name, cmd *pq.AlterTableCmd, own *level) {
	switch {
	case aboutColumn[cmd.Subtype]:
		cmd.Name = r.column(r.columns[table], cmd.Name)
	case aboutConstraint[cmd.Subtype] && cmd.Name != "":
		cmd.Name = r.ConstraintName(table, cmd.Name)
	case cmd.Subtype == pq.AlterTableType_AT_ClusterOn:
		cmd.Name = r.indexOf(table, cmd.Name)
	case cmd.Subtype == pq.AlterTableType_AT_ReplicaIdentity:
		if identity := cmd.Def.GetReplicaIdentityStmt(); identity.GetName() != "" {
			identity.Name = r.indexOf(table, identity.Name)
		}
	}
	switch {
	case cmd.Def.GetConstraint() != nil:
		r.constraint(table, cmd.Def.GetConstraint(), own)
	case cmd.Def.GetColumnDef() != nil && cmd.Subtype == pq.AlterTableType_AT_AddColumn:
		r.columnDef(table, cmd.Def.GetColumnDef(), own)
	case cmd.Def != nil:
		r.walk(cmd.Def, own)
	}
}

func (r *rewriter) createIndex(n *pq.IndexStmt) {
	table := r.rangeVar(n.Relation)
	if n.Idxname != "" {
		n.Idxname = r.IndexName(table, n.Idxname)
	}
	r.rest(n, r.own(table), "relation")
}

func (r *rewriter) createStatistics(n *pq.CreateStatsStmt) {
	r.inSchema(n.Defnames)
	var own *level
	for _, item := range n.Relations {
		if v := item.GetRangeVar(); v != nil {
			own = r.own(r.rangeVar(v))
		}
	}
	r.walkAll(n.Exprs, own)
}

// tablePart maps statements that name an index beside its table.
func (r *rewriter) tablePart(node *pq.Node) bool {
	switch {
	case node.GetClusterStmt() != nil:
		n := node.GetClusterStmt()
		table := r.rangeVar(n.Relation)
		if n.Indexname != "" {
			n.Indexname = r.indexOf(table, n.Indexname)
		}
	case node.GetReindexStmt() != nil:
		n := node.GetReindexStmt()
		if n.Kind == pq.ReindexObjectType_REINDEX_OBJECT_INDEX {
			r.indexVar(n.Relation)
		} else {
			r.rangeVar(n.Relation)
		}
	default:
		return false
	}
	return true
}
