package compare

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// within executes f in a transaction that sees one moment: the one that the connection is in, or one of its own.
func within(ctx context.Context, conn *pgx.Conn, f func() error) error {
	if conn.PgConn().TxStatus() != 'I' {
		return guarded(ctx, conn, f)
	}
	return bracket(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "COMMIT", "ROLLBACK", f)
}

// guarded executes f such that its failure leaves a transaction that the connection is in as it was.
func guarded(ctx context.Context, conn *pgx.Conn, f func() error) error {
	if conn.PgConn().TxStatus() == 'I' {
		return f()
	}
	return bracket(ctx, conn, "SAVEPOINT reading", "RELEASE reading", "ROLLBACK TO reading; RELEASE reading", f)
}

func bracket(ctx context.Context, conn *pgx.Conn, begin, end, undo string, f func() error) error {
	if _, err := conn.PgConn().Exec(ctx, begin).ReadAll(); err != nil {
		return err
	}
	err := f()
	if err != nil {
		end = undo
	}
	_, endErr := conn.PgConn().Exec(ctx, end).ReadAll()
	if err == nil {
		err = endErr
	}
	return err
}
