package sync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// undecodable reports whether the source could not put a change into one message, and sets server, unless that is nil, to what it said.
// The error names neither table nor row.
func undecodable(err error, server **pgconn.PgError) bool {
	var refused *incremental.ChangeError // by the destination
	var said *pgconn.PgError
	if errors.As(err, &refused) || !errors.As(err, &said) || !strings.HasPrefix(said.Message, "invalid memory alloc request size") {
		return false
	}
	if server != nil {
		*server = said
	}
	return true
}

const (
	largestShown   = 3
	largestTimeout = 10 * time.Second
)

// largest names the tables of the task that have most out-of-line data, of which one has the value that is too large, as far as the source
// can be asked.
func (r *runner) largest(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, largestTimeout)
	defer cancel()
	conn, err := r.source.Connect(ctx, r.application("source"))
	if err != nil {
		r.log.Info("large tables not looked for", "error", err)
		return ""
	}
	defer endpoint.CloseConn(ctx, conn)
	rows, err := conn.Query(ctx, `SELECT n.nspname, c.relname, pg_catalog.pg_relation_size(c.reltoastrelid) AS bytes
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND c.reltoastrelid <> 0 AND c.oid >= 16384 AND pg_catalog.pg_relation_size(c.reltoastrelid) > 0 ORDER BY bytes DESC`)
	if err != nil {
		r.log.Info("large tables not looked for", "error", err)
		return ""
	}
	known := r.figures.known()
	var found []string
	var name schema.Name
	var bytes int64
	if _, err := pgx.ForEachRow(rows, []any{&name.Schema, &name.Name, &bytes}, func() error {
		if known[name] && len(found) < largestShown {
			found = append(found, fmt.Sprintf("%s (%s)", readable(name.String()), size(bytes)))
		}
		return nil
	}); err != nil || len(found) == 0 {
		return ""
	}
	return "Most out-of-line data of the task's tables: " + strings.Join(found, ", ")
}
