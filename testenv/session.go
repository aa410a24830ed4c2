package testenv

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Session calls f with a connection of its own.
func Session(ctx context.Context, connString string, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return f(conn)
}

// Execute executes statements in a session of their own.
func Execute(ctx context.Context, connString, sql string) error {
	return Session(ctx, connString, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}
