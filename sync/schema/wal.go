package schema

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
)

// WALEnd is the end of the WAL that exists on the server, written out or not: every commit that has returned to its client
// ends at or before it. It fails on a standby.
func WALEnd(ctx context.Context, q Querier) (pglogrepl.LSN, error) {
	version, err := ServerVersion(ctx, q)
	if err != nil {
		return 0, err
	}
	function := "pg_current_wal_insert_lsn"
	if version < 100000 {
		function = "pg_current_xlog_insert_location"
	}
	var text string
	if err := q.QueryRow(ctx, "SELECT pg_catalog."+function+"()::text").Scan(&text); err != nil {
		return 0, fmt.Errorf("read end of WAL: %w", err)
	}
	return pglogrepl.ParseLSN(text)
}
