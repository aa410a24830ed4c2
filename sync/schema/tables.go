package schema

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// relations reads every relation of the source.
func (r *reader) relations(ctx context.Context) error {
	list, err := query(ctx, r.q, forVersion(relationsSQL, r.inv.Version), nil, pgx.RowToStructByPos[relation])
	if err != nil {
		return err
	}
	r.inv.relations, r.inv.named = make(map[uint32]relation, len(list)), make(map[Name]uint32, len(list))
	for _, rel := range list {
		r.order = append(r.order, rel.OID)
		r.inv.relations[rel.OID] = rel
		r.inv.named[rel.name()] = rel.OID
	}
	schemas, err := query(ctx, r.q, "SELECT nspname FROM pg_catalog.pg_namespace", nil, pgx.RowTo[string])
	r.inv.schemas = set(schemas)
	return err
}

// selection reads who inherits from whom, and with that knows which relations but sequences are selected.
func (r *reader) selection(ctx context.Context) error {
	if err := r.inheritance(ctx); err != nil {
		return err
	}
	selected := map[uint32]bool{}
	for _, oid := range r.order {
		rel := r.inv.relations[oid]
		if rel.Kind == 'S' || !r.selects(rel) {
			continue
		}
		if reason := rel.exclusion(); reason != "" {
			r.exclude(rel, reason)
			continue
		}
		selected[oid] = true
	}
	r.excludeOrphans(selected)
	for _, oid := range r.order {
		if selected[oid] {
			r.take(r.inv.relations[oid])
		}
	}
	r.tables = make(map[uint32]*Table, len(r.inv.Tables))
	for i := range r.inv.Tables {
		r.tables[r.inv.Tables[i].OID] = &r.inv.Tables[i]
	}
	return nil
}

// inheritance reads the parents of tables.
func (r *reader) inheritance(ctx context.Context) error {
	type link struct{ Child, Parent uint32 }
	links, err := query(ctx, r.q,
		"SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno", nil, pgx.RowToStructByPos[link])
	if err != nil {
		return err
	}
	r.parents = map[uint32][]uint32{}
	for _, l := range links {
		if _, ok := r.inv.relations[l.Parent]; ok {
			r.parents[l.Child] = append(r.parents[l.Child], l.Parent)
		}
	}
	return nil
}

// ancestors returns the partitioned tables above a partition, the nearest first.
func (r *reader) ancestors(rel relation) []Name {
	var list []Name
	for rel.Partition && len(r.parents[rel.OID]) == 1 {
		rel = r.inv.relations[r.parents[rel.OID][0]]
		list = append(list, rel.name())
	}
	return list
}

func (r *reader) selects(rel relation) bool {
	return r.scope.table(rel.Kind, rel.name(), r.ancestors(rel)...)
}

func (r *reader) exclude(rel relation, reason string) {
	r.inv.refused[rel.OID] = true
	r.inv.Excluded = append(r.inv.Excluded, Excluded{Kind: kindNames[rel.Kind], Name: rel.name(), Reason: reason})
}

// excludeOrphans leaves out the tables that inherit from one that is not there: they cannot be made without it.
func (r *reader) excludeOrphans(selected map[uint32]bool) {
	for changed := true; changed; {
		changed = false
		for _, oid := range r.order {
			rel := r.inv.relations[oid]
			if !selected[oid] || rel.Partition {
				continue
			}
			for _, parent := range r.parents[oid] {
				if !selected[parent] {
					reason := fmt.Sprintf("it inherits from %s, which is not selected", r.inv.relations[parent].name())
					r.exclude(rel, reason)
					r.inv.unsupported[catalogID{classRelation, oid}] = reason
					delete(selected, oid)
					changed = true
					break
				}
			}
		}
	}
}

// take makes a relation part of the inventory.
func (r *reader) take(rel relation) {
	r.inv.selected[rel.OID] = true
	target := r.sel.Target(rel.name())
	switch rel.Kind {
	case 'r', 'p':
		above := r.ancestors(rel)
		t := rel.table(rel.name())
		if len(above) > 0 {
			t.Root = above[len(above)-1]
		}
		t.Target = target
		if rule := r.sel.rule(append([]Name{t.Name}, above...)...); rule != nil {
			t.Filter = rule.Where
			r.rules[rel.OID] = rule
		}
		for _, parent := range r.parents[rel.OID] {
			t.Parents = append(t.Parents, r.inv.relations[parent].name())
		}
		r.inv.byName[t.Name] = len(r.inv.Tables)
		r.inv.Tables = append(r.inv.Tables, t)
	case 'v':
		r.inv.Views = append(r.inv.Views, View{OID: rel.OID, Name: rel.name(), Target: target})
	case 'm':
		r.inv.Matviews = append(r.inv.Matviews, Matview{OID: rel.OID, Name: rel.name(), Target: target, Populated: rel.Populated})
	}
}

func (r relation) table(root Name) Table {
	return Table{
		OID: r.OID, Name: r.name(), Kind: byte(r.Kind), Partition: r.Partition, Root: root, Identity: byte(r.Identity),
		Rows: int64(math.Round(r.Rows)), Bytes: r.Bytes, Filenode: r.Filenode, Unlogged: r.Persist == 'u',
	}
}

// tableOIDs returns the OIDs of the inventory's tables.
func (r *reader) tableOIDs() []uint32 {
	oids := make([]uint32, len(r.inv.Tables))
	for i, t := range r.inv.Tables {
		oids[i] = t.OID
	}
	return oids
}

// columns reads the tables' columns.
func (r *reader) columns(ctx context.Context) error {
	types, err := readTypes(ctx, r.q, r.inv.Version)
	if err != nil {
		return err
	}
	rows, err := r.q.Query(ctx, forVersion(columnsSQL, r.inv.Version), r.tableOIDs())
	if err != nil {
		return err
	}
	var table uint32
	var c Column
	into := []any{&table, &c.Name, &c.Type, &c.TypeOID, &c.Number, &c.NotNull, &c.Generated, &c.Identity, &c.Toastable}
	_, err = pgx.ForEachRow(rows, into, func() error {
		t := r.tables[table]
		target, taken := r.rules[table].column(c.Name)
		if !taken {
			t.Omitted = append(t.Omitted, c.Name)
			r.omitted = append(r.omitted, column{table, c.Number})
			return nil
		}
		c.Target, c.BinarySafe = target, types.binarySafe(c.TypeOID)
		t.Columns = append(t.Columns, c)
		return nil
	})
	return err
}

// keys reads primary keys and replica identities.
func (r *reader) keys(ctx context.Context) error {
	rows, err := r.q.Query(ctx, forVersion(keysSQL, r.inv.Version), r.tableOIDs())
	if err != nil {
		return err
	}
	var table uint32
	var primary, identity, usable bool
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&table, &primary, &identity, &usable, &columns}, func() error {
		t := r.tables[table]
		if primary {
			t.PrimaryKey = columns
		}
		if usable && (primary && t.Identity == IdentityDefault || identity && t.Identity == IdentityIndex) {
			t.Key = columns
		}
		columns = nil
		return nil
	})
	return err
}
