package schema

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"
)

// relations reads every relation of the source and sorts out those that cannot be synchronized.
func (r *reader) relations(ctx context.Context) error {
	list, err := query(ctx, r.q, forVersion(relationsSQL, r.inv.Version), nil, pgx.RowToStructByPos[relation])
	if err != nil {
		return err
	}
	r.inv.relations = make(map[uint32]relation, len(list))
	for _, rel := range list {
		r.order = append(r.order, rel.OID)
		r.inv.relations[rel.OID] = rel
		if rel.Kind == 'r' || rel.Kind == 'p' {
			r.inv.known = append(r.inv.known, rel.name())
		}
	}
	return nil
}

// inheritance reads who inherits from whom, and with that knows which tables are selected.
func (r *reader) inheritance(ctx context.Context) error {
	type link struct{ Child, Parent uint32 }
	links, err := query(ctx, r.q,
		"SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno", nil, pgx.RowToStructByPos[link])
	if err != nil {
		return err
	}
	parents := map[uint32][]uint32{}
	for _, l := range links {
		if _, ok := r.inv.relations[l.Parent]; ok {
			parents[l.Child] = append(parents[l.Child], l.Parent)
		}
	}
	for _, oid := range r.order {
		rel := r.inv.relations[oid]
		selected := r.sel.Includes(rel.name())
		root := rel
		for root.Partition && len(parents[root.OID]) == 1 {
			root = r.inv.relations[parents[root.OID][0]]
			selected = selected || r.sel.Includes(root.name())
		}
		if !selected {
			continue
		}
		if reason := rel.exclusion(); reason != "" {
			r.inv.Excluded = append(r.inv.Excluded, Excluded{Kind: kindNames[rel.Kind], Name: rel.name(), Reason: reason})
			continue
		}
		switch rel.Kind {
		case 'r', 'p':
			t := rel.table(root.name())
			t.Target = r.sel.Target(t.Name)
			if rule := r.sel.rule(t.Name, t.Root); rule != nil {
				t.Filter = rule.Where
			}
			for _, parent := range parents[oid] {
				t.Parents = append(t.Parents, r.inv.relations[parent].name())
			}
			r.inv.byName[t.Name] = len(r.inv.Tables)
			r.inv.Tables = append(r.inv.Tables, t)
		case 'm':
			if r.sel.All {
				r.inv.Matviews = append(r.inv.Matviews, Matview{OID: oid, Name: rel.name(), Target: r.sel.Target(rel.name()), Populated: rel.Populated})
			}
		}
	}
	r.tables = make(map[uint32]*Table, len(r.inv.Tables))
	for i := range r.inv.Tables {
		r.tables[r.inv.Tables[i].OID] = &r.inv.Tables[i]
	}
	return nil
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
		target, taken := r.sel.rule(t.Name, t.Root).column(c.Name)
		if !taken {
			t.Omitted = append(t.Omitted, c.Name)
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

// parts reads which indexes, constraints and other objects belong to which relation.
func (r *reader) parts(ctx context.Context) error {
	rows, err := r.q.Query(ctx, forVersion(partsSQL, r.inv.Version))
	if err != nil {
		return err
	}
	r.inv.parts = map[catalogID]part{}
	var id catalogID
	var p part
	_, err = pgx.ForEachRow(rows, []any{&id.class, &id.oid, &p.relation, &p.references, &p.identity}, func() error {
		r.inv.parts[id] = p
		return nil
	})
	return err
}

// statistics reads the extended statistics of selected tables.
func (r *reader) statistics(ctx context.Context) error {
	if r.sel.All || r.inv.Version < 100000 {
		return nil
	}
	rows, err := r.q.Query(ctx, `
SELECT s.oid, n.nspname, s.stxname, s.stxrelid, coalesce(pg_catalog.pg_get_statisticsobjdef(s.oid), '')
  FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
 WHERE s.stxrelid = ANY ($1)
 ORDER BY n.nspname::text COLLATE "C", s.stxname::text COLLATE "C"`, r.tableOIDs())
	if err != nil {
		return err
	}
	e := Entry{ClassOID: classStatistics, Section: SectionPostData, Desc: "STATISTICS"}
	var table uint32
	_, err = pgx.ForEachRow(rows, []any{&e.OID, &e.Namespace, &e.Tag, &table, &e.Definition}, func() error {
		e.Table = r.tables[table].Name
		r.inv.statistics = append(r.inv.statistics, e)
		return nil
	})
	return err
}

// unsupported reads the other objects that are never synchronized, for the whole database only.
func (r *reader) unsupported(ctx context.Context) error {
	r.inv.unsupported = map[catalogID]string{}
	if !r.sel.All {
		return nil
	}
	rows, err := r.q.Query(ctx, forVersion(unsupportedSQL, r.inv.Version))
	if err != nil {
		return err
	}
	var id catalogID
	var x Excluded
	_, err = pgx.ForEachRow(rows, []any{&id.class, &id.oid, &x.Kind, &x.Name.Schema, &x.Name.Name, &x.Reason}, func() error {
		r.inv.unsupported[id] = x.Reason
		if x.Name.Schema != "pgsyncd" && !ownPublication(x.Kind, x.Name.Name) {
			r.inv.Excluded = append(r.inv.Excluded, x)
		}
		return nil
	})
	return err
}
