package ledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Schema is the schema of the destination database that holds the ledger.
const Schema = "pgsyncd"

// lockKey serialises creation and removal of the schema among all tasks of one database ("pgsyncd" in ASCII).
const lockKey int64 = 0x70677379_6e6364

//go:embed ledger.sql
var ddl string

// Ensure creates the ledger's tables where they are missing. It may be called at any time and by any number of tasks at
// once; where everything exists it needs no privilege to create.
func Ensure(ctx context.Context, conn *pgx.Conn) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return ensure(ctx, tx) })
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	return nil
}

// ensure holds the advisory lock until the end of tx, so the tables cannot be dropped under its caller either.
func ensure(ctx context.Context, tx pgx.Tx) error {
	if err := lock(ctx, tx); err != nil {
		return err
	}
	tables, err := existing(ctx, tx)
	if err != nil || tables == 3 {
		return err
	}
	_, err = tx.Exec(ctx, ddl, pgx.QueryExecModeSimpleProtocol)
	return err
}

// existing counts the ledger's tables. It reads the catalog as a table: name look-ups go through a cache that waiting for an
// advisory lock does not refresh.
func existing(ctx context.Context, tx pgx.Tx) (tables int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'pgsyncd' AND c.relkind = 'r' AND c.relname IN ('progress', 'copied', 'objects')`).Scan(&tables)
	return tables, err
}

func lock(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, lockKey)
	return err
}

// Erase removes everything the ledger knows of a task, and the ledger itself once no task is left in it. A database
// without a ledger is left alone.
func Erase(ctx context.Context, conn *pgx.Conn, task string) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		if tables, err := existing(ctx, tx); err != nil || tables < 3 {
			return err
		}
		for _, table := range []string{"progress", "copied", "objects"} {
			if _, err := tx.Exec(ctx, `DELETE FROM pgsyncd.`+table+` WHERE task = $1::uuid`, task); err != nil {
				return err
			}
		}
		return dropUnused(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("erase ledger of task %s: %w", task, err)
	}
	return nil
}

// dropUnused drops the tables when they are empty. Rows are only added by tasks that have a progress row, and that row is
// only added under the advisory lock the caller holds.
func dropUnused(ctx context.Context, tx pgx.Tx) error {
	var used bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pgsyncd.progress) OR EXISTS (SELECT FROM pgsyncd.copied)
		OR EXISTS (SELECT FROM pgsyncd.objects)`).Scan(&used)
	if err != nil || used {
		return err
	}
	if _, err := tx.Exec(ctx, `DROP TABLE pgsyncd.progress, pgsyncd.copied, pgsyncd.objects`); err != nil {
		return err
	}
	// The schema also holds helper objects where the same database is another task's source; then it stays.
	err = pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error {
		_, err := sub.Exec(ctx, `DROP SCHEMA pgsyncd`)
		return err
	})
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && (pg.Code == "2BP01" || pg.Code == "42501") {
		return nil
	}
	return err
}
