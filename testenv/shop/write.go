package shop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// Load describes concurrent writers.
type Load struct {
	ConnString string
	Units      int // as given to Create
	Writers    int
	Seed       uint64
	Pause      time.Duration // of each writer after each transaction
	Truncate   bool          // also truncate the inbox now and then
	Rough      bool          // also prepare transactions, and write special ones; the server must allow one prepared per writer
	Empty      *atomic.Bool  // with Rough, tables are emptied while it is true; nil: always
}

// Write changes the shop until ctx ends and returns the number of committed transactions. Writers outlive restarts of the
// server; any error that is not one of concurrency or of the connection ends them all.
func Write(ctx context.Context, load Load) (int64, error) {
	var committed atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for n := range load.Writers {
		w := &writer{Load: load, n: n, rand: rand.New(rand.NewPCG(load.Seed, uint64(n))), committed: &committed} //nolint:gosec // reproducible load, not secrecy
		g.Go(func() error { return w.run(ctx) })
	}
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return committed.Load(), err
}

type writer struct {
	Load
	n         int
	rand      *rand.Rand
	committed *atomic.Int64
}

func (w *writer) run(ctx context.Context) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for ctx.Err() == nil {
		if conn == nil || conn.IsClosed() {
			var err error
			if conn, err = pgx.Connect(ctx, w.ConnString); err != nil {
				conn = nil
				wait(ctx, 200*time.Millisecond) // the server is being restarted
				continue
			}
			if w.Rough {
				if err := w.settle(ctx, conn); err != nil && !expected(err) && ctx.Err() == nil {
					return fmt.Errorf("writer %d: %w", w.n, err)
				}
			}
		}
		if err := w.transaction(ctx, conn); err != nil && !expected(err) && ctx.Err() == nil {
			return fmt.Errorf("writer %d: %w", w.n, err)
		}
		wait(ctx, w.Pause)
	}
	if w.Rough {
		return w.leaveNothing(ctx)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// expected tells errors that concurrent writers and dying servers bring about by themselves.
func expected(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true // the connection
	}
	switch pg.Code[:2] {
	case "40", "57", "08", "53", "23", "XX": // conflict, shutdown, connection, resources, a key taken by another writer, crash
		return true
	}
	return false
}

// step is one change; args are drawn anew for every execution.
type step struct {
	weight int
	sql    []string
}

var steps = []step{
	{8, []string{ // TPC-B
		`UPDATE pgbench_accounts SET abalance = abalance + {delta} WHERE aid = {account}`,
		`UPDATE pgbench_tellers SET tbalance = tbalance + {delta} WHERE tid = {teller}`,
		`UPDATE pgbench_branches SET bbalance = bbalance + {delta} WHERE bid = {branch}`,
		`INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ({teller}, {branch}, {account}, {delta}, clock_timestamp())`,
	}},
	{6, []string{ // an order
		`WITH o AS (INSERT INTO shop.orders (placed_at, customer) SELECT clock_timestamp(), id FROM crm.customers ORDER BY id DESC OFFSET {small} LIMIT 1 RETURNING id, placed_at)
		 INSERT INTO shop.items (order_id, placed_at, line, sku, amount, price)
		 SELECT o.id, o.placed_at, l, p.sku, l, p.price FROM o, generate_series(1, 3) l, LATERAL (SELECT sku, price FROM shop.products OFFSET {small} LIMIT 1) p`,
		`INSERT INTO audit.events VALUES (date_trunc('minute', now()), 'writer', 'order', '{"by": {n}}')`,
	}},
	{3, []string{`INSERT INTO crm.customers (email, name, phones) VALUES ('w{n}-{unique}@example.org', 'Writer {n} \ ''quoted''', '{"a","b c",NULL}')`}},
	{4, []string{`UPDATE crm.customers SET settings = settings || '{"v": {delta}}', home = ROW('x', NULL, 'y"z', 'FR')::crm.address WHERE id = {customer}`}},
	{3, []string{`UPDATE shop.documents SET reads = reads + 1 WHERE sku = 'SKU-{document}'`, `UPDATE shop.documents SET picture = '\x00ff{hex}' WHERE sku = 'SKU-{document}'`}},
	{2, []string{`UPDATE shop.documents SET body = repeat(md5('{unique}'), 2000) WHERE sku = 'SKU-{document}'`}},
	{2, []string{`UPDATE shop.orders SET state = 'returned', placed_at = placed_at + interval '400 days' WHERE id = {order} AND NOT EXISTS (SELECT FROM shop.items i WHERE i.order_id = {order}) AND NOT EXISTS (SELECT FROM shop.invoices i WHERE i.order_id = {order})`}},
	{2, []string{`DELETE FROM shop.orders WHERE id = {order}`}},
	{2, []string{`UPDATE audit.log SET id = -id WHERE id = {small} OR id = -{small}`}},
	{2, []string{`INSERT INTO audit.events SELECT '2026-05-05', 'twin', 'same', NULL FROM generate_series(1, 3)`}},
	{2, []string{`DELETE FROM audit.events WHERE ctid = (SELECT ctid FROM audit.events WHERE actor = 'twin' LIMIT 1 FOR UPDATE SKIP LOCKED)`}},
	{2, []string{`UPDATE audit.events SET what = 'changed {small}' WHERE ctid = (SELECT ctid FROM audit.events WHERE actor = 'twin' LIMIT 1 FOR UPDATE SKIP LOCKED)`}},
	{1, []string{`UPDATE "Back Office"."Staff Members" SET "Überstunden" = "Überstunden" + interval '1 hour', seat = point({small}, 1e-300) WHERE badge = {small}::bit(16)`}},
	{2, []string{`INSERT INTO "Back Office"."Inbox" VALUES ({inbox}, '{unique}') ON CONFLICT (id) DO UPDATE SET payload = excluded.payload`}},
	{2, []string{`UPDATE shop.products SET sku = sku || 'x' WHERE sku = 'SKU-{small}'`, `UPDATE shop.products SET sku = 'SKU-{small}' WHERE sku = 'SKU-{small}x'`}},
	{1, []string{`SAVEPOINT a`, `INSERT INTO audit.log_archive (message) SELECT 'rolled back' FROM generate_series(1, 50)`, `ROLLBACK TO a`, `INSERT INTO audit.log_archive (message) VALUES ('kept {unique}')`}},
	{1, []string{`UPDATE pgbench_accounts SET filler = 'wide {unique}' WHERE aid BETWEEN {account} AND {account} + 300`}},
	{1, []string{`SELECT nextval('shop.countdown'), nextval('shop.invoice_number')`}},
	{3, []string{`UPDATE shop.stock SET warehouse = {warehouse}, note = repeat('moved ', {small}) WHERE sku = 'SKU-{document}' AND warehouse <> {warehouse}`}},
	{3, []string{`INSERT INTO shop.stock VALUES ({warehouse}, 'SKU-{document}', {small}, clock_timestamp(), NULL) ON CONFLICT (warehouse, sku) DO UPDATE SET amount = stock.amount + 1`}},
	{1, []string{`DELETE FROM shop.stock WHERE sku = 'SKU-{document}'`}},
	{2, []string{`INSERT INTO audit.readings (value) SELECT {delta} / l::float8 FROM generate_series(1, 5) l`, `DELETE FROM audit.readings WHERE n < (SELECT max(n) - 1000 FROM audit.readings)`}},
}

// transaction commits one to three random steps.
func (w *writer) transaction(ctx context.Context, conn *pgx.Conn) error {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if w.Truncate && w.rand.IntN(400) == 0 {
		if _, err := tx.Exec(ctx, `TRUNCATE "Back Office"."Inbox"`, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	if w.Rough {
		if sql := w.special(); sql != nil {
			if err := w.execute(ctx, tx, sql); err != nil {
				return err
			}
		}
	}
	for range 1 + w.rand.IntN(3) {
		if err := w.execute(ctx, tx, w.step().sql); err != nil {
			return err
		}
	}
	if w.Rough && w.rand.IntN(30) == 0 {
		err = w.prepare(ctx, tx)
	} else {
		err = tx.Commit(ctx)
	}
	if err == nil {
		w.committed.Add(1)
	}
	return err
}

// execute runs the statements of one step, with the same values in all of them.
func (w *writer) execute(ctx context.Context, tx pgx.Tx, statements []string) error {
	fill := w.values()
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, fill.Replace(sql), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%w in %s", err, sql)
		}
	}
	return nil
}

func (w *writer) step() step {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := w.rand.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			return s
		}
	}
	panic("weights do not add up")
}
