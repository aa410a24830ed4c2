// Package ledger keeps what a task must know about its destination inside that destination, in schema pgsyncd, so that
// it changes in the same transaction as the rows it speaks of.
//
// State, one set of rows per task:
//
//   - progress: the fence, the slot with the identity of the source cluster it was made on, and the end position of the
//     last applied source commit;
//   - copied: for every finished copy unit, and for every source table that feeds it, the position of the snapshot it was
//     copied at;
//   - objects: the keys of the objects that were created, and marks of other things: which OIDs the copied tables of the source
//     and the publication's rows had, and which server the position was last written on.
//
// Invariants:
//
//   - lsn only rises, and only in a transaction that also holds the rows up to that position;
//   - fence only rises. Whoever takes a task over raises it first (Raise); every transaction that writes for the task
//     names the fence it knows (Hold, Advance, Check) and fails with ErrFenced when another owner has come since, or
//     when the position is not the expected one because an earlier COMMIT of unknown outcome did take effect;
//   - Raise waits for the row lock of a transaction still in flight, so after Raise nothing of an earlier owner can
//     commit any more: it has committed and is visible in the returned row, or it will be refused.
//
// Creating and dropping the schema is serialised over all tasks of a destination database by an advisory lock. The schema
// belongs to the role that came first; other tasks into the same database need that role or a membership in it.
//
// The package starts no goroutines. Every function leaves the ledger as it was when it returns an error, except that
// the outcome of a COMMIT cut off by the network is unknown, as always.
package ledger
