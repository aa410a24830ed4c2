package schema

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// parts reads which indexes, constraints and other objects belong to which relation.
func (r *reader) parts(ctx context.Context) error {
	rows, err := r.q.Query(ctx, forVersion(partsSQL, r.inv.Version))
	if err != nil {
		return err
	}
	r.inv.parts = map[catalogID]part{}
	var id catalogID
	var p part
	into := []any{&id.class, &id.oid, &p.relation, &p.references, &p.identity, &p.name, &p.column, &p.computed}
	_, err = pgx.ForEachRow(rows, into, func() error {
		r.inv.parts[id] = p
		return nil
	})
	return err
}

// absent returns the relations that are not selected. Those that are selected but not supported count only where the dump will not
// have them: else they are found as dependencies there. What belongs to an extension comes with the extension.
func (r *reader) absent() []uint32 {
	var list []uint32
	for _, oid := range r.order {
		rel := r.inv.relations[oid]
		if !r.inv.selected[oid] && rel.Extension == nil && (r.sel.OnlyRelations() || !r.selects(rel)) {
			list = append(list, oid)
		}
	}
	return list
}

// dependencies finds what cannot be made because it uses a relation or a column that is not selected.
func (r *reader) dependencies(ctx context.Context) error {
	absent := r.absent()
	if len(absent) == 0 && len(r.omitted) == 0 {
		return nil
	}
	omitted := make(map[column]bool, len(r.omitted))
	relations, numbers := make([]uint32, len(r.omitted)), make([]int16, len(r.omitted))
	for i, c := range r.omitted {
		omitted[c] = true
		relations[i], numbers[i] = c.relation, c.number
	}
	rows, err := r.q.Query(ctx, dependenciesSQL, absent, relations, numbers)
	if err != nil {
		return err
	}
	var u usage
	_, err = pgx.ForEachRow(rows, []any{&u.user.class, &u.user.oid, &u.number, &u.relation, &u.column}, func() error {
		if !omitted[column{u.user.oid, u.number}] || u.user.class != classRelation {
			r.used(u, omitted)
		}
		return nil
	})
	if err != nil || len(r.omitted) == 0 || r.inv.Version < 100000 {
		return err
	}
	keys, err := query(ctx, r.q, partitionKeysSQL, []any{relations, numbers}, pgx.RowToStructByPos[needed])
	for _, k := range keys {
		if !slices.Contains(r.inv.partitionKeys, k) {
			r.inv.partitionKeys = append(r.inv.partitionKeys, k)
		}
	}
	return err
}

// usage is a row of dependencies.sql.
type usage struct {
	user     catalogID
	number   int16 // of the user's column, 0 for all of it
	relation uint32
	column   string // empty for the whole relation
}

func (r *reader) used(u usage, omitted map[column]bool) {
	part, isPart := r.inv.parts[u.user]
	rel, isRelation := r.inv.relations[u.user.oid]
	isRelation = isRelation && u.user.class == classRelation
	switch {
	case isPart && (!r.inv.selected[part.relation] || omitted[column{part.relation, part.column}]):
		return
	case isPart && part.computed && u.column != "":
		r.inv.computed = append(r.inv.computed, computed{u.relation, part.name, u.column})
		return
	case isRelation && (!r.inv.selected[rel.OID] || rel.Kind == 'S'):
		return
	case isRelation && r.tables[rel.OID] != nil && u.column != "": // before 15 a generated column depends itself; a partition key always
		if u.number > 0 {
			r.inv.computed = append(r.inv.computed, computed{u.relation, r.tables[rel.OID].columnName(u.number), u.column})
		} else {
			r.inv.partitionKeys = append(r.inv.partitionKeys, needed{u.relation, u.column})
		}
		return
	case isRelation && r.tables[rel.OID] != nil && u.number == 0: // parents, see excludeOrphans
		return
	}
	used := r.inv.relations[u.relation]
	reason := fmt.Sprintf("%s %s is not selected", relationWords[used.Kind], used.name())
	if u.column != "" {
		reason = fmt.Sprintf("column %s of table %s is not selected", Name{Name: u.column}, used.name())
	}
	if _, told := r.inv.lacks[u.user]; told {
		return
	}
	r.inv.lacks[u.user] = reason
	if !isPart || part.name == "" {
		return
	}
	r.inv.inline[part.relation] = append(r.inv.inline[part.relation], inline{u.user, part.name, reason})
}

// relationWords name kinds of relations in messages.
var relationWords = map[rune]string{
	'r': "table", 'p': "table", 'f': "foreign table", 'v': "view", 'm': "materialized view", 'S': "sequence",
}

// columnName returns the name of a selected column.
func (t *Table) columnName(number int16) string {
	for _, c := range t.Columns {
		if c.Number == number {
			return c.Name
		}
	}
	return ""
}

// inheritedParts makes entries for what partitions have from partitioned tables that are not selected.
func (r *reader) inheritedParts(ctx context.Context) error {
	var alone []uint32
	for _, t := range r.inv.Tables {
		if t.Partition && len(t.Parents) == 1 && r.inv.Table(t.Parents[0]) == nil {
			alone = append(alone, t.OID)
		}
	}
	if len(alone) == 0 || r.inv.Version < 110000 {
		return nil
	}
	rows, err := r.q.Query(ctx, forVersion(inheritedPartsSQL, r.inv.Version), alone)
	if err != nil {
		return err
	}
	e := Entry{Section: SectionPostData}
	var table uint32
	var name, clause, statement, enabled string
	_, err = pgx.ForEachRow(rows, []any{&e.ClassOID, &e.OID, &e.Desc, &table, &name, &clause, &statement, &enabled}, func() error {
		part := e
		part.Table = r.tables[table].Name
		part.Namespace, part.Tag = part.Table.Schema, part.Table.Name+" "+name
		part.Definition = statement + ";"
		if clause != "" {
			part.Definition = fmt.Sprintf("ALTER TABLE ONLY %s %s;", part.Table, clause)
		}
		if state := triggerStates[enabled]; state != "" {
			part.Definition += fmt.Sprintf("\nALTER TABLE %s %s TRIGGER %s;", part.Table, state, Name{Name: name})
		}
		r.inv.inherited = append(r.inv.inherited, part)
		return nil
	})
	return err
}

// triggerStates are what ALTER TABLE calls pg_trigger.tgenabled, where it is not as after CREATE TRIGGER.
var triggerStates = map[string]string{"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
