package shop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// special transactions are rare in practice, and replications have stumbled over each kind. The weights are out of specialOf.
const specialOf = 20000

var specials = []struct {
	weight int
	sql    []string
}{
	{8, []string{`TRUNCATE shop.stock_north`}},
	{5, []string{`TRUNCATE "Back Office"."Inbox"`}},
	{4, []string{`TRUNCATE shop.stock`, `INSERT INTO shop.stock SELECT n % 5 + 1, 'SKU-' || n, n, NULL, 'counted anew' FROM generate_series(1, 1000) n`}},
	{10, []string{ // emptied and filled, with changes before and after
		`UPDATE "Back Office"."Inbox" SET payload = payload || '!' WHERE id < {small}`,
		`TRUNCATE "Back Office"."Inbox", audit.readings RESTART IDENTITY`,
		`INSERT INTO "Back Office"."Inbox" SELECT n, '{unique}' FROM generate_series(1, 200) n`,
		`INSERT INTO audit.readings (value) SELECT n / 7.0 FROM generate_series(1, 500) n`,
		`DELETE FROM audit.readings WHERE n % 3 = 0`,
	}},
	{20, []string{ // larger than what the server keeps in memory while it decodes, with parts that never happened
		`INSERT INTO audit.log_archive (message) SELECT repeat('{unique}', 8) FROM generate_series(1, 6000)`,
		`SAVEPOINT a`,
		`INSERT INTO audit.log_archive (message) SELECT repeat('gone', 40) FROM generate_series(1, 6000)`,
		`UPDATE shop.documents SET body = 'gone' WHERE sku LIKE 'SKU-{small}%'`,
		`ROLLBACK TO a`,
		`SAVEPOINT b`,
		`UPDATE pgbench_accounts SET filler = 'large {unique}' WHERE aid BETWEEN {account} AND {account} + 3000`,
		`SAVEPOINT c`,
		`DELETE FROM audit.log_archive WHERE message LIKE '{unique}%' AND id % 2 = 0`,
		`ROLLBACK TO c`,
		`RELEASE b`,
		`DELETE FROM audit.log_archive WHERE message LIKE '{unique}%' AND id % 3 = 0`,
		`UPDATE audit.log_archive SET id = -id WHERE message LIKE '{unique}%' AND id % 5 = 0`,
	}},
	{10, []string{ // equal rows come and go in numbers
		`INSERT INTO audit.events SELECT '2026-05-05', 'twin', 'same', NULL FROM generate_series(1, 2000)`,
		`DELETE FROM audit.events WHERE ctid IN (SELECT ctid FROM audit.events WHERE actor = 'twin' LIMIT 1500 FOR UPDATE SKIP LOCKED)`,
		`UPDATE audit.events SET actor = 'triplet' WHERE ctid IN (SELECT ctid FROM audit.events WHERE actor = 'twin' LIMIT 200 FOR UPDATE SKIP LOCKED)`,
	}},
}

// special returns the statements of a special transaction now and then, else nil.
func (w *writer) special() []string {
	n := w.rand.IntN(specialOf)
	for _, s := range specials {
		if n -= s.weight; n >= 0 {
			continue
		}
		if w.Empty != nil && !w.Empty.Load() && slices.ContainsFunc(s.sql, func(sql string) bool { return strings.HasPrefix(sql, "TRUNCATE") }) {
			return nil
		}
		return s.sql
	}
	return nil
}

// gid names the writer's prepared transaction. It has one at a time.
func (w *writer) gid() string { return fmt.Sprintf("shop_%d", w.n) }

// prepare ends the open transaction in two phases, with time to crash between them.
func (w *writer) prepare(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `PREPARE TRANSACTION '`+w.gid()+`'`, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	wait(ctx, time.Duration(w.rand.Int64N(int64(400*time.Millisecond))))
	return w.decide(ctx, tx.Conn())
}

// decide ends the prepared transaction.
func (w *writer) decide(ctx context.Context, conn *pgx.Conn) error {
	verb := "COMMIT"
	if w.rand.IntN(4) == 0 {
		verb = "ROLLBACK"
	}
	_, err := conn.Exec(ctx, verb+` PREPARED '`+w.gid()+`'`, pgx.QueryExecModeSimpleProtocol)
	return err
}

// settle ends a prepared transaction that an earlier session left behind.
func (w *writer) settle(ctx context.Context, conn *pgx.Conn) error {
	var left bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = $1 AND database = current_database())`, w.gid()).Scan(&left)
	if err != nil || !left {
		return err
	}
	return w.decide(ctx, conn)
}

// leaveNothing settles after the last transaction, whose fate a crash may have left open.
func (w *writer) leaveNothing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	for {
		err := func() error {
			conn, err := pgx.Connect(ctx, w.ConnString)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close(ctx) }()
			return w.settle(ctx, conn)
		}()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// trims bound the tables that writers only add to; what Create made stays. Each is a transaction with many rows.
var trims = []string{
	`DELETE FROM public.pgbench_history WHERE mtime < (SELECT mtime FROM public.pgbench_history ORDER BY mtime DESC OFFSET 10000 LIMIT 1)`,
	`DELETE FROM audit.events WHERE ctid IN (SELECT ctid FROM audit.events ORDER BY at DESC OFFSET 4000 FOR UPDATE SKIP LOCKED)`,
	`DELETE FROM audit.log_archive WHERE id < 0 OR id > 2000 AND id < (SELECT max(id) - 5000 FROM audit.log_archive)`,
	`DELETE FROM shop.orders WHERE id > 20000 AND id < (SELECT max(id) - 5000 FROM shop.orders)`,
	`DELETE FROM crm.customers c WHERE id > 10000 AND id < (SELECT max(id) - 2000 FROM crm.customers) AND NOT EXISTS (SELECT FROM shop.orders o WHERE o.customer = c.id)`,
}

// Trim deletes what writers have added to the shop beyond some thousand rows of each table. A table whose rows are in use by
// writers is left to the next call.
func Trim(ctx context.Context, conn *pgx.Conn) (deleted int64, err error) {
	for _, sql := range trims {
		tag, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		if err != nil && (!expected(err) || conn.IsClosed()) {
			return deleted, fmt.Errorf("trim shop: %w in %s", err, sql)
		}
		deleted += tag.RowsAffected()
	}
	return deleted, nil
}
