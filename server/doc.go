// Package server is the PostgreSQL wire protocol towards the clients of the daemon. It knows no task: control statements go to a
// [Control], everything else is PostgreSQL's own work.
//
//	client ──frames──▶ receive ──plain SQL──────────────▶ backend (PostgreSQL, the catalog)
//	                     │                                   │
//	                     ├─control statement─▶ Control       │
//	                     ▼                                   ▼
//	client ◀──own frames, notices──────┴───────relay◀────frames
//
// # Relay
//
// Each session owns one connection to the catalog database. Frames are passed on raw in both directions; portals, row limits,
// binary formats, COPY TO STDOUT, LISTEN, notices and the failed-transaction state are therefore PostgreSQL's. A control statement
// never reaches the backend. In the extended protocol a stand-in is parsed, bound, described and executed in its place, so that the
// backend keeps the state of the conversation:
//
//   - Parse: the statement is checked, and UNLISTEN of a name nobody listens to is parsed under the client's name. A statement that
//     returns rows is represented by the query that yields them, so that Describe is right before anything has run.
//   - Execute: what was sent before is drained, a Describe of ours makes sure that the portal is still there, the statement
//     runs, and the stand-in is executed, its command tag replaced.
//   - Failure: the backend is sent something that cannot be parsed, and its error is replaced by ours. Skipping to the next Sync and
//     the aborted transaction then come from the backend.
//
// A simple query string is divided. Runs of plain SQL are sent as separate queries and the positions in their errors moved; all
// ReadyForQuery but the last are held back. As every run has its own implicit transaction, a string that contains control statements
// is not one transaction.
//
// Before a query is forwarded the live figures are brought into the catalog ([Backend].Refresh). How old they may be is decided there; a
// refresh that cannot be had never keeps a query back for longer than a moment, nor fails it.
//
// # State
//
// replies is the picture of the backend connection: the queue of what it still has to answer, the transaction state, and which
// statements and portals stand for control statements. Everything about it is in replies.go, without I/O. Invariants: a reply is
// queued before its message is sent; a session is settled when the queue is empty and the client has been sent all of it; frames of
// our own, notices apart, are written only then.
//
// # Goroutines
//
// Run owns all of them: one per listener, one that checks time limits, and per session one that receives from the client and one
// that relays from the backend. While a control statement runs or replies are waited for, a further one reads ahead to notice that
// the client leaves. Memory per session is bounded: a frame of the client (16 MiB), a buffer towards it, and 16 MiB of prepared control
// statements. A client that does not read makes its backend wait.
//
// # Failure
//
// A session ends alone: by its client, by the loss of its backend (57P01), by a limit, or by a panic, which is logged. When Run's
// context ends, statements are canceled and clients told 57P01.
package server
