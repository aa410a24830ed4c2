// Command demo shows pgsyncd at work: it makes two PostgreSQL clusters and a shop under load, synchronizes one to the other
// through psql, disturbs the synchronization, and proves by reading both sides itself that they are equal.
//
// Environment: SIZE is the amount of data (default 32MB, e.g. 1GB); KEEP=1 leaves everything running until interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"pgsyncd/testenv"
	"pgsyncd/testenv/shop"

	"github.com/jackc/pgx/v5"
)

func main() {
	testenv.Main("demo", func(ctx context.Context) error { return run(ctx, os.Stdout) })
}

// demo is one demonstration.
type demo struct {
	*testenv.Trio
	out     io.Writer
	started time.Time
}

func run(ctx context.Context, out io.Writer) (err error) {
	units, err := unitsOf(os.Getenv("SIZE"))
	if err != nil {
		return err
	}
	d := &demo{out: out, started: time.Now()}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.setUp(ctx, units); err != nil {
		return err
	}
	if err := d.synchronize(ctx, units); err != nil {
		return err
	}
	if err := d.prove(ctx); err != nil {
		return err
	}
	if os.Getenv("KEEP") == "" {
		return nil
	}
	d.say("everything keeps running; interrupt to end it. Connect with:")
	_, _ = fmt.Fprintf(out, "    psql '%s'\n    psql '%s'   # source\n    psql '%s'   # destination\n",
		d.Daemon.SocketString(), d.Source.ConnString("shop"), d.Destination.ConnString("shop"))
	<-ctx.Done()
	return nil
}

// unitsOf turns a size into units of data.
func unitsOf(size string) (int, error) {
	if size == "" {
		return 1, nil
	}
	number, factor := strings.ToUpper(size), int64(1)
	for suffix, f := range map[string]int64{"GB": 1 << 30, "MB": 1 << 20} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, factor = rest, f
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("SIZE=%s: want a number and MB or GB, as in 300MB", size)
	}
	return int(max(n*factor/shop.UnitBytes, 1)), nil
}

func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, "\n%s %s\n", strings.Repeat("─", 3), fmt.Sprintf(format, args...))
}

// sql types statements into psql and shows what it prints.
func (d *demo) sql(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		_, _ = fmt.Fprintf(d.out, "\npgsyncd=> %s\n", s)
		stdout, stderr, err := d.Daemon.RunPSQL(ctx, d.Daemon.SocketString(), s)
		_, _ = fmt.Fprint(d.out, strings.TrimRight(stdout, "\n"), "\n", stderr)
		if err != nil {
			return fmt.Errorf("psql: %w\n%s", err, stderr)
		}
	}
	return nil
}

func (d *demo) setUp(ctx context.Context, units int) (err error) {
	d.say("two PostgreSQL clusters and the daemon")
	server := testenv.Config{Settings: map[string]string{"shared_buffers": "256MB", "max_wal_size": "4GB"}}
	if d.Trio, err = testenv.NewTrio(ctx, server, server); err != nil {
		return err
	}
	d.say("a shop of about %d MB in the source", units*shop.UnitBytes>>20)
	return shop.CreateDatabase(ctx, d.Source, units)
}

// synchronize takes the task through its life while writers go on.
func (d *demo) synchronize(ctx context.Context, units int) error {
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	type outcome struct {
		transactions int64
		err          error
	}
	written := make(chan outcome, 1)
	go func() {
		n, err := shop.Write(writing, shop.Load{
			ConnString: d.Source.ConnString("shop"), Units: units, Writers: 4, Seed: 1,
			Pause: 5 * time.Millisecond, Truncate: true,
		})
		written <- outcome{n, err}
	}()
	d.say("four writers change the shop from here on")
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.disturb(ctx); err != nil {
		return err
	}
	d.say("the application is switched over: writers end")
	stopWriting()
	w := <-written
	if w.err != nil {
		return w.err
	}
	d.say("%d transactions were written meanwhile", w.transactions)
	if err := d.sql(ctx, `WAIT FOR SYNC TASK shop CAUGHT UP TIMEOUT '5 minutes';`); err != nil {
		return err
	}
	for _, depth := range []string{"ROWS", "VALUES"} {
		if err := d.compare(ctx, depth); err != nil {
			return err
		}
	}
	return d.sql(ctx,
		`STOP SYNC TASK shop;`,
		`WAIT FOR SYNC TASK shop TO REACH 'completed' TIMEOUT '5 minutes';`,
		`SELECT time::time(0), level, event, message FROM sync_log WHERE task = 'shop' ORDER BY time;`)
}

// compare runs a comparison and waits for its end.
func (d *demo) compare(ctx context.Context, depth string) error {
	if err := d.sql(ctx, fmt.Sprintf("COMPARE SYNC TASK shop %s;", depth)); err != nil {
		return err
	}
	for {
		const open = `SELECT count(*) FROM sync_compares WHERE state IN ('queued', 'running')`
		stdout, stderr, err := d.Daemon.RunPSQL(ctx, d.Daemon.SocketString(), open, "-A", "-t")
		if err != nil {
			return fmt.Errorf("psql: %w\n%s", err, stderr)
		}
		if strings.TrimSpace(stdout) == "0" {
			break
		}
		if err := testenv.Sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return d.sql(ctx, `SELECT c.run_id, type, state, source_table, source_rows, destination_rows, result, remarks
  FROM sync_compares c LEFT JOIN sync_compare_tables USING (run_id)
  WHERE run_id = (SELECT max(run_id) FROM sync_compares) ORDER BY source_table;`)
}

func (d *demo) start(ctx context.Context) error {
	if err := d.sql(ctx, `\d sync_progress`,
		fmt.Sprintf("CREATE SYNC TASK shop\n  FROM '%s'\n  TO '%s'\n  WITH (create_database)\n  COMMENT 'the demonstration';",
			d.Source.ConnString("shop"), d.Destination.ConnString("shop")),
		`PRECHECK SYNC TASK shop;`,
		`START SYNC TASK shop CONFIRM ALL;`); err != nil {
		return err
	}
	return d.sql(ctx,
		`SELECT task, phase, bar, rate, eta FROM sync_progress;`,
		`WAIT FOR SYNC TASK shop TO REACH 'incremental synchronization' TIMEOUT '30 minutes';`,
		`SELECT task, phase, bar, rate, eta FROM sync_progress;`,
		`WAIT FOR SYNC TASK shop CAUGHT UP TIMEOUT '5 minutes';`,
		`SELECT task, state, delay_ms, lag_bytes, rows_applied, transactions_applied FROM sync_status;`)
}

func (d *demo) disturb(ctx context.Context) error {
	if err := d.sql(ctx,
		`PAUSE SYNC TASK shop;`,
		`WAIT FOR SYNC TASK shop TO REACH 'paused' TIMEOUT '1 minute';`,
		`SELECT task, state, since FROM sync_status;`,
		`RESUME SYNC TASK shop;`,
		`WAIT FOR SYNC TASK shop TO REACH 'incremental synchronization' TIMEOUT '5 minutes';`); err != nil {
		return err
	}
	d.say("kill -9 of the daemon, under load")
	if err := d.Daemon.Kill9(); err != nil {
		return err
	}
	if err := d.Daemon.Start(ctx); err != nil {
		return err
	}
	return d.sql(ctx,
		`SELECT task, state FROM sync_status;`,
		`WAIT FOR SYNC TASK shop TO REACH 'incremental synchronization' TIMEOUT '5 minutes';`,
		`SELECT source_schema, source_table, state, rows_copied, inserts, updates, deletes FROM sync_tables ORDER BY 1, 2;`)
}

// prove compares every table row for row with means of its own.
func (d *demo) prove(ctx context.Context) error {
	d.say("reading both sides, ordered, row for row")
	a, err := pgx.Connect(ctx, d.Source.ConnString("shop"))
	if err != nil {
		return err
	}
	defer func() { _ = a.Close(context.WithoutCancel(ctx)) }()
	b, err := pgx.Connect(ctx, d.Destination.ConnString("shop"))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close(context.WithoutCancel(ctx)) }()
	differences, err := testenv.Diff(ctx, a, b, nil)
	if err != nil {
		return err
	}
	// At the stop every sequence was moved ahead by the default margin.
	sequences, err := testenv.DiffSequences(ctx, a, b, 10000)
	if err != nil {
		return err
	}
	if differences = append(differences, sequences...); len(differences) > 0 {
		return fmt.Errorf("the two sides differ:\n%s", strings.Join(differences, "\n"))
	}
	d.say("every table and sequence is as it should be (%s in all)", time.Since(d.started).Round(time.Second))
	return nil
}
