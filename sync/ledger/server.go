package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Server is which server a database is on: the cluster, and the timeline that tells the life of one copy of it from that of another
// which was promoted. What a server does not tell is empty or 0.
type Server struct {
	SystemID string
	Timeline int32
}

// String is for messages.
func (s Server) String() string {
	return fmt.Sprintf("system identifier %s, timeline %d", s.SystemID, s.Timeline)
}

// serverPrefix begins the key under objects that says which server the position was written on; its system identifier, a space and its
// timeline follow. It comes along wherever the database is copied to, and so tells that it was.
const serverPrefix = "ON SERVER "

// identitySQL works since 10, and the other, which has the former names of the functions, on 9.6; the name of a WAL file begins with the
// timeline that is written to.
const (
	identitySQL     = `SELECT system_identifier::text, pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) FROM pg_catalog.pg_control_system()`
	identityXLogSQL = `SELECT system_identifier::text, pg_catalog.pg_xlogfile_name(pg_catalog.pg_current_xlog_location()) FROM pg_catalog.pg_control_system()`
)

const undefinedFunction = "42883"

// Identify returns the server that a connection leads to. One that does not tell, because it is too old, hides it from the role, or is
// only similar to PostgreSQL, gives the zero Server.
func Identify(ctx context.Context, q Querier) (Server, error) {
	var s Server
	var file string
	err := q.QueryRow(ctx, identitySQL).Scan(&s.SystemID, &file)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == undefinedFunction {
		err = q.QueryRow(ctx, identityXLogSQL).Scan(&s.SystemID, &file)
	}
	if errors.As(err, &refused) {
		return Server{}, nil
	}
	if err == nil && len(file) < 8 {
		err = fmt.Errorf("unknown name of a WAL file: %q", file)
	}
	if err != nil {
		return Server{}, fmt.Errorf("identify the destination: %w", err)
	}
	timeline, err := strconv.ParseUint(file[:8], 16, 31)
	if err != nil {
		return Server{}, fmt.Errorf("identify the destination: %w", err)
	}
	s.Timeline = int32(timeline)
	return s, nil
}

// LastServer returns the server that a task's position was last known to be written on, the zero Server if that was never recorded.
func LastServer(ctx context.Context, q Querier, task string) (Server, error) {
	var key string
	err := q.QueryRow(ctx, `SELECT key FROM pgsyncd.objects WHERE task = $1::uuid AND key LIKE '`+serverPrefix+`%'`, task).Scan(&key)
	if errors.Is(err, pgx.ErrNoRows) {
		return Server{}, nil
	}
	if err != nil {
		return Server{}, fmt.Errorf("read the server of task %s: %w", task, err)
	}
	system, text, _ := strings.Cut(strings.TrimPrefix(key, serverPrefix), " ")
	timeline, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return Server{}, fmt.Errorf("read the server of task %s: %w", task, err)
	}
	return Server{SystemID: system, Timeline: int32(timeline)}, nil
}

// MoveTo records the server, if the fence is still the caller's.
func MoveTo(ctx context.Context, conn *pgx.Conn, task string, fence int64, s Server) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := Check(ctx, tx, task, fence); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM pgsyncd.objects WHERE task = $1::uuid AND key LIKE '`+serverPrefix+`%'`, task); err != nil {
			return err
		}
		return MarkObject(ctx, tx, task, fmt.Sprintf("%s%s %d", serverPrefix, s.SystemID, s.Timeline))
	})
	if err != nil {
		return fmt.Errorf("record the server of task %s: %w", task, err)
	}
	return nil
}
