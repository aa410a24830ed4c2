// Package endpoint is one PostgreSQL database that a task reads from or writes
// to: how its connection string is understood, how a session to it is opened
// and what a failure to do so means.
//
// Connection strings are written by users and used by a privileged process.
// Therefore nothing ambient is ever consulted: no PG* environment variable, no
// ~/.pgpass, no ~/.postgresql, no system-wide service file. Files that a
// connection string names (passfile, service file, certificates) must lie below
// one directory, symbolic links resolved; Unix sockets need a permission of
// their own. Every keyword is known, and either obeyed or refused.
//
// An Endpoint is immutable after Parse and safe for concurrent use. Printing it
// with any verb, logging it or encoding it as JSON shows host, port, database,
// user and sslmode, never a secret; errors of this package keep to that too.
//
// Every session has the same settings on both sides, so that the text of a value
// written by one server means the same value to the other, whatever ALTER
// DATABASE or ALTER ROLE … SET say (pins.go lists them).
//
// The package starts no goroutine. Failures to connect are *ConnectError;
// Diagnose names their cause for a person, Classify decides whether trying again
// can help.
package endpoint
