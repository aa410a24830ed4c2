package schema

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Querier is what reading the catalogs needs of a transaction or connection.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Kinds of a Table, as in pg_class.relkind.
const (
	KindTable       byte = 'r'
	KindPartitioned byte = 'p'
)

// Replica identities of a Table, as in pg_class.relreplident.
const (
	IdentityDefault byte = 'd' // the primary key, where there is one
	IdentityNothing byte = 'n'
	IdentityFull    byte = 'f' // the whole old row
	IdentityIndex   byte = 'i'
)

// Column is one column of a table; dropped columns are not listed.
type Column struct {
	Name       string
	Target     string // its name in the destination
	Type       string // as format_type prints it: qualified unless it is in pg_catalog
	TypeOID    uint32
	Number     int16 // pg_attribute.attnum: gaps where columns were dropped
	NotNull    bool
	Generated  string // "" or "s" (stored) or "v" (virtual)
	Identity   string // "" or "a" (always) or "d" (by default)
	BinarySafe bool   // its binary form means the same in every other database and version
	Toastable  bool   // a value may be stored out of line, so an UPDATE may not carry it
}

// Table is an ordinary table, a partition or a partitioned table.
type Table struct {
	OID        uint32
	Name       Name
	Target     Name     // its name in the destination
	Filter     string   // boolean expression over the table's columns that selects its rows; empty: all
	Kind       byte     // KindTable or KindPartitioned (which holds no rows of its own)
	Partition  bool     // it is a partition of another table
	Root       Name     // topmost partitioned ancestor; the table itself when it is no partition
	Parents    []Name   // direct parents: the partitioned table of a partition, else the tables it inherits from, in order
	Columns    []Column // the selected ones, in order of Number
	Omitted    []string // columns that are not selected
	Identity   byte     // IdentityDefault, IdentityNothing, IdentityFull, IdentityIndex
	Key        []string // columns of the usable replica identity in index order; nil when there is none and for IdentityFull
	PrimaryKey []string // in index order; also when it is deferrable and hence no replica identity
	Rows       int64    // estimate scaled to the present size; 0 when the table was never vacuumed or analyzed
	Bytes      int64    // size without indexes, TOAST included
	Filenode   uint32   // pg_class.relfilenode as the snapshot sees it; pg_relation_filenode() differs once it was rewritten since
	Unlogged   bool
}

// Sequence is a sequence with its parameters and state.
type Sequence struct {
	OID         uint32
	Name        Name
	Target      Name   // its name in the destination
	Type        string // as format_type prints it; bigint before PostgreSQL 10
	LastValue   int64
	IsCalled    bool
	Increment   int64
	Min, Max    int64
	Cycle       bool
	OwnedBy     *Name  // table of the owning serial or identity column, nil when there is none
	OwnerColumn string // that column
	Identity    bool   // that column is an identity column
	Readable    bool   // the user may read it; else LastValue, IsCalled and, before PostgreSQL 10, the parameters are zero
}

// View is a view.
type View struct {
	OID    uint32
	Name   Name
	Target Name // its name in the destination
}

// Matview is a materialized view.
type Matview struct {
	OID       uint32
	Name      Name
	Target    Name // its name in the destination
	Populated bool
}

// Excluded is an object that is not synchronized.
type Excluded struct {
	Kind   string // as pg_dump calls it: TABLE, FOREIGN TABLE, FUNCTION, …
	Name   Name   // Schema is empty for objects that live in none; functions with their argument types
	Table  Name   // the table it belongs to; its name then begins Name.Name where Kind is one of a constraint, trigger, rule, policy or default
	Reason string
}

// Inventory is what Read found. Tables and the other lists are ordered by name.
type Inventory struct {
	Version   int // server_version_num of the source
	Tables    []Table
	Sequences []Sequence
	Views     []View
	Matviews  []Matview
	Excluded  []Excluded

	byName      map[Name]int                // index into Tables
	relations   map[uint32]relation         // every relation of the source that is not a system relation
	named       map[Name]uint32             // OID of each
	schemas     map[string]bool             // every schema of the source
	extensions  map[uint32]string           // schema of each extension
	selected    map[uint32]bool             // relations that are in the inventory
	refused     map[uint32]bool             // relations that would be, if they were supported
	parts       map[catalogID]part          // indexes, constraints, … of relations
	lacks       map[catalogID]string        // what keeps an object from being made: it uses something that is not selected
	inline      map[uint32][]inline         // those of these objects that may be part of a table's own statement, by table
	constraints map[uint32]uniqueConstraint // primary keys and unique constraints that can be made of an index, by OID
	superusers  map[string]bool             // roles of the source, where owners and privileges are carried
	computed    []computed                  // generated columns that would miss a column
	unsupported map[catalogID]string        // reason by object
	indexes     map[Name]ownedIndex         // every index, where names are mapped
	inheritable map[inheritable]bool        // constraints, where names are mapped

	partitionKeys []needed // columns that are not selected, but needed
	inherited     []Entry  // foreign keys and triggers of partitions whose partitioned tables are not selected
	schemaGrants  []Entry  // privileges on the schemas of relations that are selected one by one, where privileges are carried
	statistics    []Entry  // extended statistics of selected tables, which a dump of single tables does not have
}

// catalogID is an object's identity: the OID of its catalog and its OID there.
type catalogID struct{ class, oid uint32 }

// part is something that belongs to a relation.
type part struct {
	relation   uint32
	references uint32 // the other table of a foreign key
	identity   bool   // an index that is its table's replica identity
	name       string // of a CHECK constraint; of the column that a default belongs to
	column     int16  // that column
	computed   bool   // the default is the expression of a generated column
}

// computed is a generated column whose expression uses a column that is not selected.
type computed struct {
	relation     uint32
	column, uses string
}

// needed is a column that cannot be left out.
type needed struct {
	Relation uint32
	Column   string
}

// inline is a CHECK constraint or a default that a table has to be made without.
type inline struct {
	id     catalogID
	name   string // of the constraint, or of the column that the default belongs to
	reason string
}

// Table returns the table of that name, or nil.
func (inv *Inventory) Table(n Name) *Table {
	if i, ok := inv.byName[n]; ok {
		return &inv.Tables[i]
	}
	return nil
}

// column returns the selected column of that name, or nil.
func (t *Table) column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}
