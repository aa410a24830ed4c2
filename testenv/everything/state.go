package everything

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed state.sql
var stateSQL string

//go:embed accounts.sql
var accountsSQL string

// ReadState is what of a database pg_dump --schema-only does not show: table access methods, which indexes are valid, which
// materialized views are populated, values of sequences, large objects. The keys name the objects.
func ReadState(ctx context.Context, conn *pgx.Conn) (Dump, error) { return query(ctx, conn, stateSQL) }

// ReadAccounts is what pg_dumpall would say of the roles of this package: attributes, passwords, settings, memberships.
func ReadAccounts(ctx context.Context, conn *pgx.Conn) (Dump, error) {
	return query(ctx, conn, accountsSQL)
}

// query reads pairs of a key and a text.
func query(ctx context.Context, conn *pgx.Conn, sql string) (Dump, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	d := Dump{}
	var key, text string
	_, err = pgx.ForEachRow(rows, []any{&key, &text}, func() error {
		d[key] = text
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return d, nil
}
