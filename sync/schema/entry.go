package schema

// Section is the part of a dump an entry belongs to.
type Section string

// The sections pg_dump knows (archive.h, enum teSection).
const (
	SectionNone     Section = "none" // comments, security labels: restored with the entry before them
	SectionPreData  Section = "pre-data"
	SectionData     Section = "data"
	SectionPostData Section = "post-data"
)

// Entry is one entry of an archive's table of contents: one object, or one part of it, with the statement that makes it.
type Entry struct {
	ID           int    // pg_dump's number, unique in its archive; 0 for an entry that Plan made
	ClassOID     uint32 // catalog of the object, 0 when it has none
	OID          uint32 // the object in that catalog, 0 when it has none
	Section      Section
	Desc         string // pg_dump's kind: TABLE, INDEX, FK CONSTRAINT, …
	Namespace    string // schema, empty for objects that live in none
	Tag          string // name as pg_dump shows it: functions with argument types, constraints as "table constraint"; operators with their operand types
	Owner        string
	Definition   string // one or several statements; executed as one simple query
	Drop         string
	AccessMethod string // of a table or materialized view; already part of Definition where Plan returns the entry
	RelKind      byte   // pg_class.relkind of a relation in archives of pg_dump 17 and later, else 0
	Depends      []int  // IDs of entries it needs; not all of them need be in the archive
	Table        Name   // set by Plan: the table an index, constraint, trigger, … belongs to
	Target       string // set by Plan: name in the destination, quoted and qualified
	Refused      string // set by Plan: why the statement cannot be rewritten for the destination's names; it must not be executed then

	// IndexDefinition and UsingIndex make a primary key or unique constraint in two steps, the index on its own and then the constraint out
	// of it. Plan sets both or none; Definition does the same at once.
	IndexDefinition string
	UsingIndex      string
}

// Key identifies the entry's object over several dumps of the same database.
func (e Entry) Key() string {
	key := e.Desc + " " + Name{Schema: e.Namespace, Name: e.Tag}.String()
	if e.Desc == "DEFAULT ACL" {
		key += " " + e.Owner // everybody has them for himself
	}
	return key
}

// Archive is the table of contents of a dump, in the order in which it is restored.
type Archive struct {
	Version       string // of the archive format, such as 1.14.0
	Database      string
	ServerVersion string
	DumpVersion   string
	Entries       []Entry
}

// PlanOptions are a task's choices about its structure.
type PlanOptions struct {
	// Without are tables of the inventory that the dump was made without.
	Without []Name
	// Indexes takes all indexes; without it only those behind constraints, replica identities and foreign keys.
	Indexes bool
	// Roles may be named as owners, grantors and grantees: the chosen roles that exist in the destination, or will when the plan is
	// executed. Nil carries no owners and no privileges; what names other roles is left out, with the reason in Plan.Excluded.
	Roles []string
	// RolesOf is the inventory of the server on which being a superuser counts; nil: the one that is planned.
	RolesOf *Inventory
}

// Plan is the order in which a structure is built. Each list is in the order in which it has to be executed; Indexes and Constraints
// of one table need nothing but that table's data, so tables may be done in parallel.
type Plan struct {
	Before      []Entry // before any data
	Indexes     []Entry // of tables that hold rows (Entry.Table), as soon as the table's data is in
	Constraints []Entry // primary keys, unique and exclusion constraints of such tables, after or along with its indexes
	After       []Entry // everything else, after all data, indexes and constraints; event triggers at the very end
	Sequences   []Name  // whose values are to be set
	Matviews    []Name  // populated in the source, in the order in which they can be refreshed after After
	Excluded    []Excluded

	without map[Name]string // tables among Excluded, with the reason
}

// Excludes reports whether the table is in the inventory the plan was made from, but is not created, and why.
func (p *Plan) Excludes(table Name) (reason string, excluded bool) {
	reason, excluded = p.without[table]
	return reason, excluded
}
