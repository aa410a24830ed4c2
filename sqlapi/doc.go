// Package sqlapi is the daemon's control language: CREATE SYNC TASK, START SYNC TASK, COMPARE and the other statements that PostgreSQL
// does not have.
//
//	query string ──Split──▶ plain SQL ─────────────────▶ catalog, as it is
//	                        control statement ──Parse──▶ Statement ──Engine──▶ catalog, supervisor, comparison
//	                        anything else ─────────────▶ 0A000
//
// The lexer follows src/backend/parser/scan.l of PostgreSQL, so that a string is divided exactly where the server would divide it. What
// the statements have in common (command tag, privilege, synopsis) is data: the forms in help.go, which are also the answer to SHOW
// SYNC HELP and the HINT of a syntax error. Errors carry everything an ErrorResponse has; SQLSTATE, DETAIL and HINT are assigned here
// and nowhere else.
//
// Split, Parse and Print are pure functions: they own no state, start no goroutines and never panic, whatever their input. Invariants:
// Parse(Print(s)) equals s; a secret of a statement appears in no error and in nothing printed with Redact; an expression in a WHERE
// clause cannot end the statement it is put into.
package sqlapi
