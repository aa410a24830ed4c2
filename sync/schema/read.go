package schema

import (
	"context"
	_ "embed" // the queries
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed sql/relations.sql
var relationsSQL string

//go:embed sql/columns.sql
var columnsSQL string

//go:embed sql/keys.sql
var keysSQL string

//go:embed sql/types.sql
var typesSQL string

//go:embed sql/parts.sql
var partsSQL string

//go:embed sql/dependencies.sql
var dependenciesSQL string

//go:embed sql/partitionkeys.sql
var partitionKeysSQL string

//go:embed sql/schemagrants.sql
var schemaGrantsSQL string

//go:embed sql/constraints.sql
var constraintsSQL string

//go:embed sql/inheritedparts.sql
var inheritedPartsSQL string

//go:embed sql/sequences.sql
var sequencesSQL string

//go:embed sql/unsupported.sql
var unsupportedSQL string

// ServerVersion returns server_version_num, such as 90426 or 150008.
func ServerVersion(ctx context.Context, q Querier) (int, error) {
	var v int
	if err := q.QueryRow(ctx, "SELECT pg_catalog.current_setting('server_version_num')::int").Scan(&v); err != nil {
		return 0, fmt.Errorf("read server version: %w", err)
	}
	return v, nil
}

// forVersion fills in the parts of the queries that depend on the server's version.
func forVersion(sql string, v int) string {
	since := func(version int, expr, before string) string {
		if v >= version {
			return expr
		}
		return before
	}
	return strings.NewReplacer(
		"{partition}", since(100000, "c.relispartition", "false"),
		"{generated}", since(120000, "a.attgenerated", "''"),
		"{identity}", since(100000, "a.attidentity", "''"),
		"{nullsnotdistinct}", since(150000, "i.indnullsnotdistinct", "false"),
		"{period}", since(180000, "c.conperiod", "false"),
		"{keyatts}", since(110000, "i.indnkeyatts", "i.indnatts"),
		"{aggregate}", since(110000, "p.prokind = 'a'", "p.proisagg"),
		"{support}", since(120000, "p.prosupport <> 0", "false"),
		"{seqtype}", since(100000, "pg_catalog.format_type(s.seqtypid, NULL)", "'bigint'"),
		"{seqparameters}", since(100000, "s.seqincrement, s.seqmin, s.seqmax, s.seqcycle", "0::int8, 0::int8, 0::int8, false"),
		"{seqjoin}", since(100000, "JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid", ""),
		"{triggers}", since(130000, `UNION ALL
SELECT 2620::oid, t.oid, 'TRIGGER', t.tgrelid, t.tgname, '', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled::text
  FROM pg_catalog.pg_trigger t
 WHERE t.tgparentid <> 0 AND t.tgrelid = ANY ($1)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.oid = t.tgconstraint AND c.contype = 'f')`, ""),
		"{policies}", since(90500, "UNION ALL SELECT 3256::oid, p.oid, p.polrelid, 0, false, '', 0::int2, false FROM pg_catalog.pg_policy p", ""),
		"{statistics}", since(100000, "UNION ALL SELECT 3381::oid, s.oid, s.stxrelid, 0, false, '', 0::int2, false FROM pg_catalog.pg_statistic_ext s", ""),
		"{publications}", since(100000, `UNION ALL
SELECT 6104::oid, p.oid, 'PUBLICATION', '', p.pubname, 'publications are not synchronized' FROM pg_catalog.pg_publication p
UNION ALL
SELECT 6100::oid, 0, 'SUBSCRIPTION', '', s.subname, 'subscriptions are not synchronized' FROM pg_catalog.pg_subscription s
 WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`, ""),
	).Replace(sql)
}

// Read takes the inventory of the source as q's snapshot sees it: what the selection takes, with the partitions of its tables and the
// sequences they own. Whether everything that the selection names was found is for Selection.Validate to say. It needs no privilege beyond reading the catalogs, except to read sequences.
// The session's search_path must be empty, so that type names come out qualified.
func Read(ctx context.Context, q Querier, sel Selection) (*Inventory, error) {
	version, err := ServerVersion(ctx, q)
	if err != nil {
		return nil, err
	}
	r := reader{q: q, sel: sel, scope: newScope(sel), rules: map[uint32]*TableRule{}, inv: &Inventory{
		Version: version, byName: map[Name]int{}, selected: map[uint32]bool{},
		unsupported: map[catalogID]string{}, lacks: map[catalogID]string{}, inline: map[uint32][]inline{}, refused: map[uint32]bool{},
	}}
	for _, step := range []struct {
		what string
		read func(context.Context) error
	}{
		{"relations", r.relations},
		{"inheritance", r.selection},
		{"columns", r.columns},
		{"keys", r.keys},
		{"unique constraints", r.constraints},
		{"sequences", r.sequences},
		{"parts of tables", r.parts},
		{"names of indexes and constraints", r.names},
		{"dependencies", r.dependencies},
		{"extended statistics", r.statistics},
		{"parts of partitions", r.inheritedParts},
		{"unsupported objects", r.unsupported},
		{"owners and privileges", r.accounts},
	} {
		if err := step.read(ctx); err != nil {
			return nil, fmt.Errorf("read %s: %w", step.what, err)
		}
	}
	return r.inv, nil
}

// reader is one run of Read.
type reader struct {
	q       Querier
	sel     Selection
	scope   *scope
	inv     *Inventory
	order   []uint32              // all relations by name
	parents map[uint32][]uint32   // of tables
	tables  map[uint32]*Table     // the inventory's tables by OID
	rules   map[uint32]*TableRule // of these tables, where there is one
	omitted []column              // of these tables
}

// column is a column of a relation.
type column struct {
	relation uint32
	number   int16
}

// relation is a row of relations.sql.
type relation struct {
	OID       uint32
	Schema    string
	Name      string
	Kind      rune // pg_class.relkind
	Persist   rune
	Identity  rune
	Filenode  uint32
	Partition bool
	Rows      float64
	Bytes     int64
	Populated bool
	Extension *string
}

func (r relation) name() Name { return Name{r.Schema, r.Name} }

// query runs one of the embedded queries and scans all its rows.
func query[T any](ctx context.Context, q Querier, sql string, args []any, scan pgx.RowToFunc[T]) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// ExcludedSchema says why nothing of a schema is synchronized, or is empty.
func ExcludedSchema(schema string) string {
	switch {
	case schema == "sys", schema == "utl_raw", strings.HasPrefix(schema, "dbms_"):
		return "schema " + Name{Name: schema}.String() + " is not synchronized"
	case schema == "pgsyncd":
		return "schema pgsyncd is pgsyncd's own"
	case strings.HasPrefix(schema, "pg_"), schema == "information_schema":
		return "system schemas are not synchronized"
	}
	return ""
}

var kindNames = map[rune]string{
	'r': "TABLE", 'p': "TABLE", 'f': "FOREIGN TABLE", 'v': "VIEW", 'm': "MATERIALIZED VIEW", 'S': "SEQUENCE",
}

// exclusion says why a relation is not synchronized, or is empty.
func (r relation) exclusion() string {
	switch {
	case r.Persist == 't':
		return "temporary tables are not synchronized"
	case r.Extension != nil:
		return "member of extension " + Name{Name: *r.Extension}.String()
	case r.Kind == 'f':
		return "foreign tables are not synchronized"
	}
	return ExcludedSchema(r.Schema)
}
