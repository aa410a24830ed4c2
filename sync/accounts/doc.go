// Package accounts carries roles from one server to another: their attributes, settings, comments and passwords before a
// task's structure is built, so that owners and grants can name them, and their memberships when the task completes.
//
// What a destination has already is left as it is: a role of the same name keeps its attributes, its password and its
// settings. SUPERUSER, REPLICATION and BYPASSRLS are never given, system roles never made, and no membership has a superuser on
// either end. Everything that is left out or was refused is said of its role, in a sentence of Account.Remarks.
//
// A role comes into being in one transaction with its settings, its comment and the caller's record of it, so that an
// interrupted run leaves whole roles and the next one goes on behind them. A destination's user who is no superuser is made a
// member of the roles it creates, because only a member may give objects to an owner; Memberships takes that back.
//
// Passwords are carried as the source stores them, and only where pg_authid may be read there. A stored password is a secret: it
// is never part of an error, a remark or a value that can be printed, and it reaches the destination as the parameter of a
// query, not in the text of a statement. So pg_stat_activity does not show it, nor does the server's log of statements and of
// errors, as long as the log does not hold parameters too: where the user may, logging of statements is switched off for that
// transaction, else log_statement = all, or log_min_duration_statement where the query is slow, writes it there. Extensions
// that record nested statements (pg_stat_statements with track = all, pgaudit) may still see it if the user cannot stop them.
//
// Describe tells what of roles should be the same on both sides, for comparisons.
//
// The package keeps no state, starts no goroutine and uses the sessions it is given, which must have the settings of package
// endpoint. Its errors are about sessions that broke; what the destination refuses is a remark.
package accounts
