// Package fullcopy brings the structure and the rows of a source database to a destination, so that a stream of changes can
// be put on top without losing or doubling a row.
//
// # Why no row is lost or doubled
//
// A logical slot starts at a position L and exports the snapshot S that belongs to it: S shows exactly the transactions whose
// commit record starts before L, the stream brings those whose commit record starts at or after L. Every row version is
// therefore in one of the two and in one only. For that to hold in practice:
//
//   - The publication is committed before the slot is created. What a table's changes are published under is decided per
//     change, by the catalogs of that moment; tables that came later are not part of the task (anchor.late).
//   - S follows the WAL, where a commit is visible a moment before other sessions take its transaction for committed. Nothing
//     is read under S before the last such transaction has left the list of running ones (job.settle).
//   - A table that was truncated or rewritten between L and its first lock has a new file whose rows S does not show, and the
//     stream carries no inserts for a rewrite. An anchor session locks every table, then compares file node, columns and
//     place among partitions under S with the present; tables that differ are left to a further round with a new snapshot.
//   - A loader looks at the file node once more when it has copied a table: its own lock keeps it from then on, should the
//     anchor's session have died before.
//   - What the servers say they sent and stored is compared for every COPY.
//
// Whoever wants a stronger lock on a table waits for the anchor, and whoever comes after him waits for him, our own sessions
// included; no server would see a deadlock in that. So pg_dump, which locks too, has ended before the anchor locks, and a
// table that a loader cannot lock soon is left to a further round, before which the anchor lets go.
//
// A table is copied in a round if nobody empties or rewrites it between the snapshot and the lock. Most of that time is pg_dump's, and
// where somebody does so every few seconds there would be no end to the rounds. From the third on pg_dump comes before the
// snapshot, and again under it only if the two inventories differ in structure.
//
// Rows arrive in units: a destination table with all source tables that feed it, of partition trees the whole. Units are named
// after the destination's table; everything else speaks of the source's names, and only the inventory (schema.Table.Target and
// its like) knows how the two belong together. The ledger in the destination records each unit, and each source table that feeds
// it, with the position L of the snapshot it was copied under, in the transaction that completes it. After a crash finished units
// stay and the others are copied anew under a fresh snapshot at L' > L. For those the stream, which still starts at L, must skip
// the changes whose commit record starts before L'; a unit is never taken apart, because a row that moves between leaves
// copied at different positions would be judged by two measures. Until the stream has passed the highest of these positions
// (Result.HighestLSN) the units do not show one common state, and what compares tables with each other, such as a foreign key,
// could rightly refuse them; so in that case Run ends before such objects and is called again later (Result.Unsettled).
//
// Where the rows of a unit can meet others under a unique constraint, because they are added to those of another task or come
// from several tables, that constraint is made before the rows, these come in one transaction, table by table in the order
// of their names, and by way of a temporary table out of which INSERT … ON CONFLICT DO NOTHING takes what does not collide.
//
// Rows of an interrupted copy are removed by TRUNCATE, and only from a table that was found empty, under a lock, in the
// transaction that recorded the task's claim on it, and that no other task has a claim on. Where rows are added to those of
// others nothing is ever removed: such a unit is one single transaction.
//
// A connection may die after COMMIT was sent and commit later. Every transaction ends by checking the task's fence, which
// each run raises before it reads the ledger; Raise waits for the checks of others. So what an earlier run did is either
// there to be read, or will fail.
//
// # State
//
// All lasting state is in the ledger (finished units, created objects, claims, how far the large objects are) and on the source
// (publication, slot). A slot that only exports a snapshot is temporary, or, before PostgreSQL 10, named after the task's and
// dropped.
//
// # Goroutines
//
// Run's own does everything that is done one after the other, over one session to each side. Below it, in one group,
// Workers loaders with a pair of sessions each, one builder per unit that waits for one of IndexWorkers sessions, one that
// copies the large objects, one that reminds the destination of its log, and within a relay the reader of the destination's answers. All have ended when Run returns.
// As long as loaders work, all threads of the process have the scheduling policy SCHED_BATCH (standBack).
//
// # Failure
//
// The first fault of a connection or server ends the run; it can be repeated. Rows or objects that the destination refuses do
// not keep others from being tried, unless those need them; they are listed at the end (*TablesError, *ObjectsError), and the
// next run tries only these and what has been waiting for them. When ctx ends, commands under way are cancelled, sessions closed,
// and the cause of ctx is returned.
package fullcopy
