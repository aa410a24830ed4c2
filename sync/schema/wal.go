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

// SettledSQL returns a query that tells whether no transaction is in progress any more which the imported snapshot of q shows. A slot's
// snapshot follows the WAL, where a commit appears before its transaction is marked committed and leaves the list of running ones;
// until then other sessions take its rows for those of an aborted transaction. q must not have read a table under the snapshot, and
// the query belongs into a session that has another one. version is server_version_num.
func SettledSQL(ctx context.Context, q Querier, version int) (string, error) {
	current, xip, visible, kind := "pg_current_snapshot", "pg_snapshot_xip", "pg_visible_in_snapshot", "pg_snapshot"
	if version < 130000 {
		current, xip, visible, kind = "txid_current_snapshot", "txid_snapshot_xip", "txid_visible_in_snapshot", "txid_snapshot"
	}
	var shown string
	if err := q.QueryRow(ctx, "SELECT pg_catalog."+current+"()::text").Scan(&shown); err != nil {
		return "", fmt.Errorf("read the imported snapshot: %w", err)
	}
	return fmt.Sprintf("SELECT NOT EXISTS (SELECT FROM pg_catalog.%s(pg_catalog.%s()) AS x (id) WHERE pg_catalog.%s(x.id, %s::pg_catalog.%s))",
		xip, current, visible, Literal(shown), kind), nil
}
