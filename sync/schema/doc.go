// Package schema reads what a source database contains and brings its structure to a destination.
//
// It has three parts:
//
//   - Read takes the inventory of tables and sequences as one transaction's snapshot sees it, with everything that copying and
//     replicating rows needs: columns, keys, replica identity, estimates, file nodes.
//   - Dump runs pg_dump for the structure alone, under the same snapshot, and ReadArchive parses the table of contents of its
//     custom format: one Entry per object with its statement and dependencies.
//   - Archive.Plan sorts the entries into what is created before the data, per table as soon as its data is in, and after all
//     data, and names whatever is left out together with the reason.
//
// The package executes nothing on the destination and owns no state: all its results are plain values which their reader must not
// change. It starts no goroutines; Dump has one child process, which ends before Dump returns.
//
// Objects are matched between inventory and archive by catalog and OID, never by parsing statements, so both must come from
// the same database; an object that only the archive knows (created between the two) is kept and handled as not belonging to a table.
//
// Failures: every error names the operation and its object. *SelectionError says that a selected table does not exist or cannot be
// synchronized, *ArchiveError that pg_dump's output was not understood, *PgDumpMissingError that no usable pg_dump was found.
package schema
