// Package compare proves that the two sides of a task hold the same rows, or says where they do not.
//
// # State
//
// Runs, their results per table and schedules are rows of the catalog; a run moves from queued to running to an end. Nothing
// else is remembered, so a run that a crash interrupts is queued again at the next start and begins anew. A run never
// changes either side.
//
// # What is compared
//
// ROWS counts. VALUES adds up, on each side by itself, a 64-bit hash of every row's image: a sum needs no order, so collations
// play no role, and unlike XOR it counts duplicates. The image is the row's binary form, which tells 1.0 from 1.00 and -0
// from 0 and knows no session setting. What depends on the database, which is every type that is not a built-in one, enters
// it as text. Both servers must give the same hash for a probe, else md5 takes its place.
//
// Tables and columns are paired by the names they have in the destination; of the source only the rows and columns that are selected
// are read. A tree of partitions is one table, read through its root, because the sides may be partitioned differently; only where
// its leaves are selected differently are they read one by one. A table that others inherit from is read without them. Several
// tables that are one in the destination are compared as one: their figures add up. Of them VALUES takes the columns that all have.
//
// # Why a difference is real
//
// A running task never stands still, and the two sides are read at different moments. Figures of VALUES that are equal prove
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
// If the counters moved, both sides are read again; a table that keeps moving is undecided, never different. So is every
// difference while the task does not stream. Counts may be equal by chance while rows come and go; a remark says so.
//
// Servers before 12 write floating point numbers as text in another way than later ones. Between such a pair a difference in a
// table with values that enter the image as text is undecided.
//
// # Goroutines
//
// Service.Run, two per run in progress (the run, and one that looks whether it was cancelled), and within a run one per
// connection, which is two for a moment while both sides are read. All end with Run.
//
// # Failure
//
// What befalls one table is that table's result; what befalls a run (an endpoint gone, a limit reached) is the run's error.
package compare
