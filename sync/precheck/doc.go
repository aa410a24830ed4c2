// Package precheck finds out, before a task touches anything, what would make it
// fail or surprise.
//
// Checks are data: each file holds the checks of one category, a check is a
// category, an item, what it needs and a function. Run makes them one after the
// other and returns one Result per check, in the same order each time. Items are
// unique, because operators confirm results by item.
//
// Nothing is changed on either side: privileges and settings are read from the
// catalogs or tried in transactions that are rolled back. No locks beyond those of
// catalog queries are taken, except that tables with filters are published for a
// moment, which waits for DDL on them at most a few seconds and holds up no reader
// and no writer.
//
// A check that could not be made has failed, with the cause; only those that need a server which cannot be reached at all are left
// out, because one row says that. "To confirm" is kept
// for what is unusual and may be meant so; a well-prepared ordinary database
// passes without any.
//
// Run owns one session per side, which it closes before it returns; it starts no
// goroutine.
package precheck
