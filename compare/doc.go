// Package compare proves that the two sides of a task hold the same rows, or says where they do not; likewise with definitions and roles.
//
// # State
//
// Runs, their results per table and schedules are rows of the catalog; a run moves from queued to running to an end. Nothing
// else is remembered. A run that a crash interrupts is queued again at the next start; it keeps the tables that it has finished, and
// compares the others at a later position. A run never changes either side; a repair does.
//
// # What is compared
//
// ROWS counts. VALUES adds up, on each side by itself, a 64-bit hash of every row's image: a sum needs no order, so collations
// play no role, and unlike XOR it counts duplicates. The image is the row's binary form, which tells 1.0 from 1.00 and -0
// from 0 and knows no session setting. What depends on the database, which is every type that is not a built-in one, enters
// it as text. Both servers must give the same hash for a probe, else md5 takes its place.
//
// Between servers since 14 that agree on it, what makes most columns need not be sent to be hashed: where a type's own hash is that of
// exactly its value (hash.go), the row's hash is made of the hashes of its columns, and of one image of all others. PostgreSQL's hash of a record is
// a linear combination of these, so that the sum over all rows would not notice two rows that swap a value; it therefore only seeds another hash.
//
// Tables and columns are paired by the names they have in the destination; of the source only the rows and columns that are selected
// are read. A tree of partitions is one table, read through its root, because the sides may be partitioned differently; only where
// its leaves are selected differently are they read one by one. A table that others inherit from is read without them. Several
// tables that are one in the destination are compared as one: their figures add up. Of them VALUES takes the columns that all have.
//
// # Why a result is exact
//
// A running task never stands still, but a run reads both sides in one state of the source (frozen.go, slot.go), with this protocol:
//
//  1. The stream is held: from now on it stays a second behind, and remembers how far it went.
//  2. A temporary slot is made that exports a snapshot. Its consistent point L is the end of a record of the WAL, and the snapshot
//     shows exactly the transactions whose commit record starts before L. That is so because the slot's snapshot is made by following
//     the WAL; a snapshot and a position that are read one after the other do not belong together, because transactions do not become
//     visible in the order of their commit records. The slot waits for the transactions in progress, at most three minutes. Nothing is
//     ever decoded from it.
//  3. The stream goes on to L and stops there. The destination then has the transactions whose commit record starts before L,
//     and no others (package incremental says why). If it had gone further before L was known, all begins anew.
//  4. Every connection to the destination begins a transaction, and reads the fence of the task's ledger in it: it must be the stream's, or
//     another owner has been at work. Its snapshot shows what the stream has committed, since that was answered before.
//  5. The stream is released. If it has not stood still from 3 to now, all begins anew.
//  6. Every connection to the source begins a transaction with the slot's snapshot. Then the slot goes.
//  7. A commit record comes before the commit: for a moment the transaction is in progress for others, who take its rows for those of
//     an aborted one. So before any table is read, all transactions that the snapshot shows have to be out of the list of those
//     in progress.
//
// The transactions are REPEATABLE READ, so what is read on them from then on is one state of both sides, however long that takes and whatever
// goes on; if the task is paused or fails meanwhile, too. A difference in it is one. That state is not protected from what PostgreSQL does outside of
// MVCC: a table that is truncated or rewritten after it reads as empty, and a new partition as what it holds. So each table is locked
// (ACCESS SHARE) with its partitions while it is compared, and must then be in the file, and have the partitions, which the snapshot shows
// (anchor.go); else the worker moves on to another moment. Locks last no longer than one table, and transactions little longer than a quarter
// of an hour, or one table: what they see is kept by both servers, and whoever truncates a table waits for its comparison.
// sync_compares.lsn is the latest L.
//
// After a crash nothing is left of all this: slots and transactions end with their sessions, and the hold with the daemon.
//
// # Why a difference is real without that
//
// Before version 10, on a standby, without a slot to spare or the right to make one, or while transactions stay in progress, there is no L. The
// sides of a task that streams are then read at different moments. Figures of VALUES that are equal prove
// the rows equal; figures that are not are believed only if nothing happened to the table between two moments that enclose
// both readings. The first is when the stream's counters of the table are read; the second when they are read again after
// the stream has passed what was the end of the source's WAL once both sides had been read. Take a row that only one
// reading saw:
//
//   - Only the source's: its commit was in the WAL by then and was applied after the destination was read, which moved the
//     counter of what is applied.
//   - Only the destination's: either it was applied after the first moment, which moved the counter, or it had arrived before,
//     while the source still hid it. PostgreSQL writes the commit record first, then makes the row visible, then releases the
//     transaction's locks, so the transaction held a write lock on the table at the first moment. If there was any such lock,
//     the reading is repeated after those transactions have ended.
//
// If the counters moved, both sides are read again; a table that keeps moving is undecided, never different, and a remark says why there was no
// L. So is every difference while the task does not stream: later changes of the source are missing then, and which these are nobody
// knows. Counts may be equal by chance while rows come and go; a remark says so.
//
// In a table that has rows of others as well only what the destination lacks is a difference; what it has besides may be theirs.
//
// Servers before 12 write floating point numbers as text in another way than later ones. Between such a pair a difference in a
// table with values that enter the image as text is undecided.
//
// # Which rows differ
//
// A table that differs is read again, each side at one moment. Rows fall into buckets by the hash of their key's image; of every bucket
// rows and hashes are added up; the rows of those that differ come, as hashes of key and image and the ctid, in the order of these hashes,
// which is the same on both servers because they are numbers. Merging them takes no memory to speak of. Equal entries cancel
// each other; of what is left of one key, a row of either side makes one that differs, and the rest is missing or extra. Nothing depends
// on keys being unique, and in a table without one a row's image is its key. Only the rows that are to be listed are fetched, by their
// ctid, each column with a hash of its own, which tells the columns that differ.
//
// # Pace
//
// At a limited pace rows come through a cursor, a twentieth of a second's worth at a time, and are added up here. The servers could not
// sort at that pace, so entries of differing buckets are held in memory up to a bound, beyond which rows are not looked for and counts
// are lower bounds. While the stream is further behind than max_delay nothing more is read; a statement that adds up a table is
// cancelled then, and the table read in portions.
//
// # Definitions and accounts
//
// OBJECTS plans the source as a copy would (package schema), which gives the statements that the destination should have been made by,
// under its names and without all that the task leaves out. The destination is dumped by the same pg_dump and planned under the mirrored
// selection. Entries are paired by what their statements name, first as written and then as parsed, and their definitions are compared as
// trees in a canonical form: versions, and the mapping, write the same thing in several ways. Nothing is ever executed to find out.
// Tables that the destination's user may not lock are not dumped, since pg_dump would fail as a whole; they are undecided, with all that they have.
//
// ACCOUNTS takes the privileges from the same plans, and the rest from the catalogs of both sides (package accounts). Neither is affected
// by the stream, which carries no definitions.
//
// # Repair
//
// Service.Repair is the one thing here that writes, and only in the destination, in one transaction; Repair tells why a row it writes is
// known to differ. It works on what a run has reported, as the caller's statement, beside the runs. The rows as they were are in the
// catalog before the transaction is committed. With them goes a mark into the destination's ledger, by which it can be told afterwards, by this
// daemon or the next, whether the transaction was committed; then what was repaired is compared again, as a run like any other. Deletes go before updates and these before inserts; where a constraint is in the way even
// so, every row is deleted before the first is inserted. What cannot be written is left out, and the table tried again from a savepoint.
//
// # Goroutines
//
// Service.Run, one that finds out how repairs ended that were cut short, two per run in progress (the run, and one that looks whether it was cancelled), and within a run one per
// worker, which is two for a moment while both sides are read, one more for each statement that watches the stream's delay meanwhile, one that
// merges, and one that waits for a slot. All end with Run.
//
// # Failure
//
// What befalls one table is that table's result; what befalls a run (an endpoint gone, a limit reached) is the run's error.
package compare
