// Package compare proves that the two sides of a task hold the same rows, or says where they do not.
//
// State: runs, their results per table and schedules are rows of the catalog; a run is a row that moves from queued to
// running to an end. Nothing else is remembered, so a run that a crash interrupts is queued again at the next start and
// begins anew.
//
// Two depths exist. ROWS counts. VALUES adds up, on each side by itself, a 64-bit hash of every row's binary image: a sum
// needs no order, so collations play no role, and it counts duplicates. Columns whose binary image depends on the database
// (everything that is not a built-in type) enter the image as text. Both servers must give the same hash for a probe, else
// md5 takes its place.
//
// A running task never stands still, and the two sides are read at different moments. Equal results are equal; unequal ones
// are believed only when it is certain that no change to the table was under way: the stream's counters of that table are
// read before the first side is read and again once the stream has passed the source's position after the last side was
// read. If they moved, both sides are read again; a table that keeps moving is reported as undecided, never as different.
//
// Goroutines: Service.Run, one per run in progress, and within a run one per table being compared; all end with Run.
//
// Failures: what befalls one table is that table's result; what befalls a run (endpoints gone, limit reached) is the run's
// error. A run never changes either side.
package compare
