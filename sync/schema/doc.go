// Package schema reads what a source database contains and brings its structure to a destination.
//
// It has these parts:
//
//   - A Selection says what a task takes, under which names, and which owners and privileges with it. Selection.Validate checks it
//     against an inventory.
//   - Read takes the inventory of a selection as one transaction's snapshot sees it, with everything that copying and
//     replicating rows needs: columns, keys, replica identity, estimates, file nodes. What is selected is resolved here, once;
//     everybody else asks the inventory.
//   - Dump runs pg_dump for the structure alone, under the same snapshot, and ReadArchive parses the table of contents of its
//     custom format: one Entry per object with its statement and dependencies.
//   - Archive.Plan sorts the entries into what is created before the data, per table as soon as its data is in, and after all
//     data, and names whatever is left out together with the reason: it is not supported, or uses something that is not there. Last
//     come owners, privileges and default privileges, so that until then everything is the destination's user's.
//   - A Mapper rewrites the statements of entries for the destination's names: PostgreSQL's own parser makes a tree of each, the tree is
//     changed, printed and read again; a statement that would come back differently is refused. Relations and columns
//     that are renamed keep their old names inside queries, by aliases. The text of function bodies is left alone.
//
// For comparisons, Selection.Mirror turns a selection of the source into that of the destination, Entry.Identity names what an entry
// makes, and CanonicalDefinition and Entry.Rights bring definitions and privileges into forms that do not depend on who wrote them.
//
// Entries and inventories speak of source names throughout; the names in the destination are in the fields called Target.
//
// The package executes nothing on the destination and owns no state but the parser, which the first rewritten statement loads: all its results are plain values which their reader must not
// change. It starts no goroutines; Dump has one child process, which ends before Dump returns.
//
// Objects are matched between inventory and archive by catalog and OID, never by parsing statements, so both must come from
// the same database; an object that only the archive knows (created between the two) is kept and handled as not belonging to a table.
// What an object uses of that which is not selected comes from pg_depend, because the dump of a part of a database does not say it.
//
// Failures: every error names the operation and its object. *SelectionError says that something selected does not exist or cannot be
// synchronized, *ArchiveError that pg_dump's output was not understood, *PgDumpMissingError that no usable pg_dump was found.
package schema
