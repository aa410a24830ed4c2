// Package testenv runs real PostgreSQL clusters for tests, the demo and the soak run, and puts faults between them.
//
// # What it owns
//
// A process has one base directory below the temporary directory. Every cluster, daemon and binary made here lives in it
// (or in the directory its Config names), and one watchdog process guards all of them: it holds the read end of a pipe
// whose write end only this process has. When the process ends, however it ends, the watchdog reads end of file, kills
// every process whose working directory lies below a guarded directory, and removes the directory. Cleanup therefore
// needs no TestMain, and kill -9 or a test time-out leaves nothing behind.
//
// # Invariants
//
//   - A cluster keeps its port from New to Destroy, across stops and kills.
//   - Every cluster has a system identifier of its own, also when its files were copied from a template.
//   - Nothing here imports the rest of the module: Diff judges the product without using its code.
//   - A missing server binary is an error, never a skipped test.
//
// # Goroutines
//
// Clusters have none: servers are started through pg_ctl and found again by their working directory. A Proxy has one per
// listener and four per connection, all of which Close awaits. Diff has two per table while it runs. A Daemon has one, which
// ends with the daemon's process.
//
// # Failure
//
// Functions that take a testing.TB fail the test; the others return errors that carry the tail of the server's log.
// When the process is root, servers run as the user postgres, or nobody where there is none.
package testenv
