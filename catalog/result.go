package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// PutResult stores the rows of a control statement, which the session then reads with sync.statement_result(token). It
// replaces rows that the token had. The token is the only protection: it must be unguessable.
func (c *Catalog) PutResult(ctx context.Context, token string, rows [][]*string) error {
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM pgsyncd.result WHERE token = $1", token); err != nil {
			return err
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"pgsyncd", "result"}, []string{"token", "ordinal", "cells"},
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
				cells := make([]*string, len(rows[i]))
				for j, cell := range rows[i] {
					if cell != nil {
						text := plain(*cell)
						cells[j] = &text
					}
				}
				return []any{token, int32(i + 1), cells}, nil
			}))
		return err
	})
	if err != nil {
		return fmt.Errorf("store result: %w", err)
	}
	return nil
}

// DropResults removes results that nobody will read any more.
func (c *Catalog) DropResults(ctx context.Context, tokens ...string) error {
	if _, err := c.pool.Exec(ctx, "DELETE FROM pgsyncd.result WHERE token = ANY ($1)", tokens); err != nil {
		return fmt.Errorf("drop results: %w", err)
	}
	return nil
}
