// Package sync runs synchronization tasks. A supervisor compares what the catalog says an operator wants of each task
// with what the task's runner is doing, and starts, redirects or ends runners until the two agree.
//
//	                catalog (desired and observed state of every task)
//	                    ▲ Fire, SaveStatus          │ Tasks
//	                    │                           ▼
//	┌───────────────────┴──────────────────────────────────────────────┐
//	│ Supervisor     duty(task) ──► one runner per task that has one   │
//	└──────────────────────────────────┬───────────────────────────────┘
//	                                   ▼
//	  wait ── until start_at             run: [clear away] ─► precheck ─► fullcopy ─► incremental
//	  pause ─ note that all is quiet     stop: incremental up to the present ─► clean up
//	                                     force stop: clean up what can be reached, list the rest
//
// State: nothing here is durable. What a task has achieved is in its destination (package ledger), what it is asked to do
// and what it was last seen doing is in the catalog. A daemon that is killed forgets nothing that matters: on the next
// start the supervisor derives the same duties again.
//
// Invariants:
//
//   - at most one runner per task exists, and a runner has exactly one duty; another duty means that the runner's context
//     is cancelled with the new duty as cause, that it is awaited, and that a new runner starts;
//   - what an operator alters while a task runs (options, connection strings, name) is used from the next attempt or phase
//     on; a stream, which may run for years, is ended and begun anew for what it depends on; a flow limit counts at once, because the one
//     limiter that all workers of a full phase share reads it for every piece it lets pass;
//   - percentages never go back, and reach 100 at the end only, whatever is repeated after a fault;
//   - a task that is reset is first relieved of what it had on the source, and of its position in the destination; that is
//     repeated until its new beginning is noted;
//   - the names of objects a runner makes on the source are in the catalog before the objects exist, so that a crash
//     leaves nothing that cannot be found again;
//   - what a slot retains on the source is looked at as long as the task may have one, whether it has a runner or not: WAL piles up
//     most while a task is paused, has failed or cannot reach its destination;
//   - every change of a task's state goes through catalog.Fire, which refuses what the transition table does not hold.
//
// Goroutines: Supervisor.Run, one per runner, one per task with a slot that watches the source's WAL, and one that writes
// the live figures and metrics; all end before Run returns.
//
// A panic in a goroutine of a task is the task's failure (package group).
//
// Failures: a stage returns an error, endpoint.Classify tells what kind. Network faults are retried for ever with a
// growing pause, permanent ones fail the task at once, all others fail it after retry_limit attempts without progress
// between them; to do again what was done before is none. While it waits to try again the task is in state "fault rectification".
package sync
