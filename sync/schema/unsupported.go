package schema

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// statistics reads the extended statistics of selected tables where the dump is one of single tables.
func (r *reader) statistics(ctx context.Context) error {
	if !r.sel.OnlyRelations() || r.inv.Version < 100000 {
		return nil
	}
	rows, err := r.q.Query(ctx, `
SELECT s.oid, n.nspname, s.stxname, s.stxrelid, pg_catalog.pg_get_userbyid(s.stxowner), coalesce(pg_catalog.pg_get_statisticsobjdef(s.oid), '')
  FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
 WHERE s.stxrelid = ANY ($1)
 ORDER BY n.nspname::text COLLATE "C", s.stxname::text COLLATE "C"`, r.tableOIDs())
	if err != nil {
		return err
	}
	e := Entry{ClassOID: classStatistics, Section: SectionPostData, Desc: "STATISTICS"}
	var table uint32
	_, err = pgx.ForEachRow(rows, []any{&e.OID, &e.Namespace, &e.Tag, &table, &e.Owner, &e.Definition}, func() error {
		e.Table, e.Drop = r.tables[table].Name, "DROP STATISTICS "+Name{e.Namespace, e.Tag}.String()+";"
		r.inv.statistics = append(r.inv.statistics, e)
		return nil
	})
	return err
}

// unsupported reads the other objects that are never synchronized, where such objects are selected at all, and where extensions live.
func (r *reader) unsupported(ctx context.Context) error {
	if r.sel.OnlyRelations() {
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
		if x.Name.Schema != "pgsyncd" && !ownPublication(x.Kind, x.Name.Name) && r.scope.other(x.Name.Schema) {
			r.inv.Excluded = append(r.inv.Excluded, x)
		}
		return nil
	})
	if err != nil {
		return err
	}
	r.inv.extensions = map[uint32]string{}
	var oid uint32
	var schema string
	rows, err = r.q.Query(ctx, "SELECT e.oid, n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace")
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, []any{&oid, &schema}, func() error {
		r.inv.extensions[oid] = schema
		return nil
	})
	return err
}
