// Package catalog keeps the durable state of the daemon in a PostgreSQL database: tasks with their credentials, live
// figures, metrics of every minute, history, comparisons, users. What users may see are the views of schema sync; the tables
// behind them are in schema pgsyncd.
//
// # The server
//
// By default the database is a private cluster below the data directory, made by initdb and run as a child of the daemon:
//
//	DataDir/pgsyncd.lock            held by flock for as long as the catalog is open
//	DataDir/secret.key              encrypts credentials
//	DataDir/catalog/data            the cluster
//	DataDir/catalog/run             its socket, the only way in (a temporary directory where the path is too long)
//	DataDir/catalog/postgresql.log  its log
//
// With Config.ConnInfo it is any PostgreSQL from 13 on, which several daemons may share if they share the key.
//
// # State of a task
//
// What the operator asked (Desired) and what is (State) are stored apart. Fire moves both, along Transitions:
//
//	creating ──▶ configuration ◀──▶ pending start
//	   │               │ start            │ start, due
//	   ▼               └────────┬─────────┘
//	creation failed             ▼          resume, reset
//	   │ expired            starting ◀─────────────────────┬─────────────┐
//	   ▼                    │   │  │ failed                │             │
//	completed               │   │  └──▶ start failed ──────┤             │
//	                        │   ▼                          │             │
//	              ┌─────────┼─ full synchronization ──▶ full             │
//	              │         │   │      ▲             synchronization     │
//	              │         ▼   ▼      │             failed              │
//	              │   incremental ◀──┐ │                                 │
//	              │   synchronization│ │          incremental            │
//	              │     │    ▲   │   │ │     ┌──▶ synchronization ───────┤
//	              │     │    │   └───┼─┼─────┤    failed                 │
//	              │     ▼    │       │ │     │                           │
//	              │   modifying task │ │     │    modifying task         │
//	              │     │    └───────┼─┼─────┼──▶ failed ────────────────┤
//	              │     ▼ fault      │ │     │                           │
//	              │   fault rectification ───┘                           │
//	              │                                                      │
//	              │   (starting, full, incremental, fault) ──▶ paused ───┘
//	              │
//	              │   (running, paused, failed) ──stop, force stop──▶ task stopping ──▶ stopping task failed
//	              │                                                     │ drained            ▲        │ stop
//	              │ full done                                           ▼                    │        ▼
//	              └───────────────────────────────────────────────▶ completing ──────────────┘  task stopping
//	                                                                    │
//	                                                                    ▼
//	                                                                completed ──drop──▶ (erased)
//
// The drawing leaves out some arrows; the table does not, and a test walks every state with every event.
//
// # Invariants
//
//   - A transition is one UPDATE conditional on the state it starts from, in one transaction with its line of sync_log and
//     the notification on sync_events. Who finds the task moved looks again and decides anew.
//   - Connection strings and certificates are stored encrypted (AES-256-GCM, bound to task and column) and print redacted.
//   - Sessions of clients log in as roles that can read the views of schema sync and do nothing else.
//   - While Catalog is open, nobody else has the data directory; a server found running there has lost its daemon.
//
// # Goroutines
//
// A private cluster has two: one supervises the server and restarts it, one is bound to the thread that started the
// server, because the kernel ends the server when that thread ends. Both end in Close. The pool has its own, which Close
// ends as well.
//
// # Failure
//
// If the daemon is killed, the kernel tells the server to shut down; the next Open waits for that or ends the server. If
// the server is killed, it is restarted, and sessions see broken connections meanwhile; if it does not come back, Err
// delivers the cause once. An unfinished initdb is thrown away by the next Open.
package catalog
