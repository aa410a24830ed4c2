package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Account is what became of one chosen role.
type Account struct {
	Role         string
	Synchronized bool   // the role was created by the task
	Remarks      string // what was not carried and why, sentences; empty when everything was
}

// Options are a task's choices, and how it remembers what it did.
type Options struct {
	Accounts schema.Accounts
	// Created tells whether this task created the role in an earlier run; nil: it created none.
	Created func(role string) bool
	// Record makes that durable, in the transaction that creates the role; nil: nothing is recorded.
	Record func(ctx context.Context, tx pgx.Tx, role string) error
}

func (o Options) created(role string) bool { return o.Created != nil && o.Created(role) }

// Merge adds the remarks of more to the accounts of the same role, and the accounts that list lacks.
func Merge(list, more []Account) []Account {
	merged := slices.Clone(list)
	for _, a := range more {
		i := slices.IndexFunc(merged, func(m Account) bool { return m.Role == a.Role })
		if i < 0 {
			merged = append(merged, a)
			continue
		}
		merged[i].Synchronized = merged[i].Synchronized || a.Synchronized
		merged[i].Remarks = strings.TrimSpace(merged[i].Remarks + " " + a.Remarks)
	}
	return merged
}

// remark adds a sentence.
func (a *Account) remark(format string, args ...any) {
	a.Remarks = strings.TrimSpace(a.Remarks + " " + fmt.Sprintf(format, args...))
}

// server is the destination and who the task is there.
type server struct {
	conn                            *pgx.Conn
	version                         int
	user                            string
	superuser, createRole, createDB bool
	database                        string
	roles                           map[string]bool // every role; true for superusers
}

func open(ctx context.Context, conn *pgx.Conn) (*server, error) {
	s := &server{conn: conn, roles: map[string]bool{}}
	err := conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int, rolname::text, rolsuper, rolcreaterole, rolcreatedb,
		pg_catalog.current_database()::text FROM pg_catalog.pg_roles WHERE rolname = current_user`).
		Scan(&s.version, &s.user, &s.superuser, &s.createRole, &s.createDB, &s.database)
	if err != nil {
		return nil, fmt.Errorf("read the destination's user: %w", err)
	}
	rows, err := conn.Query(ctx, "SELECT rolname::text, rolsuper FROM pg_catalog.pg_roles")
	if err != nil {
		return nil, fmt.Errorf("read the destination's roles: %w", err)
	}
	var name string
	var super bool
	_, err = pgx.ForEachRow(rows, []any{&name, &super}, func() error {
		s.roles[name] = super
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the destination's roles: %w", err)
	}
	return s, nil
}

func (s *server) has(role string) bool {
	_, ok := s.roles[role]
	return ok
}

// refusal returns what the server said about a statement it did not execute, and nil when err is about anything else, such as
// a session that broke. The words never hold the statement.
func refusal(err error) *pgconn.PgError {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || endpoint.Classify(err) == endpoint.FaultNetwork {
		return nil
	}
	return pgErr
}

// try executes statements in a transaction within tx. It returns the refusal of the server, after which tx can still be used.
func try(ctx context.Context, tx pgx.Tx, statements ...string) (refused *pgconn.PgError, err error) {
	err = pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error {
		for _, sql := range statements {
			if _, err := sub.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if refused = refusal(err); refused != nil {
		return refused, nil
	}
	return nil, err
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }
