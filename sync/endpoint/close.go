package endpoint

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// closeTimeout bounds the end of one session.
const closeTimeout = 3 * time.Second

// Close ends a session whose work is done or lost, also when ctx has ended, and waits for the goroutine that closes one whose context
// had ended, but not long for a peer that does not answer. nil has nothing to be closed.
func Close(ctx context.Context, conn *pgconn.PgConn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // it is given up either way: what it did was committed, or will be repeated
	select {
	case <-conn.CleanupDone():
	case <-ctx.Done():
		_ = conn.Conn().Close()
	}
}

// CloseConn is Close for sessions of pgx.
func CloseConn(ctx context.Context, conn *pgx.Conn) {
	if conn != nil {
		Close(ctx, conn.PgConn())
	}
}
