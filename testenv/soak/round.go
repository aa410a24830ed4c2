package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"pgsyncd/testenv"
	"pgsyncd/testenv/shop"

	"github.com/jackc/pgx/v5"
)

const (
	copyFaults   = 5                // of a round, from the start of the copy on
	streamFaults = 14               // of a round, once changes stream
	patience     = 10 * time.Minute // for a task to reach what it is to reach
	margin       = 10000            // by which a stop sets sequences further
)

// options of tasks take turns.
var options = []string{
	"decoder = pgoutput, apply_workers = 1", "decoder = test_decoding, apply_workers = 1",
	"decoder = pgoutput, apply_workers = 3", "decoder = test_decoding, apply_workers = 3",
}

// round synchronizes the source to a new database under load and faults, and compares.
type round struct {
	*soak
	n        int
	options  string
	task, db string

	// begun is true once the task's slot is there to stay. PostgreSQL loses sight of a table's new file when the table was emptied
	// while a slot was being made and is written to by a transaction that began before the slot was ready and commits after: it then
	// refuses to decode that transaction ("could not map filenode … to relation OID"), whoever asks. So nothing is emptied before.
	begun atomic.Bool
}

func newRound(s *soak, n int) *round {
	return &round{soak: s, n: n, options: options[(n-1)%len(options)], task: fmt.Sprintf("soak_%d", n), db: fmt.Sprintf("shop_%d", n)}
}

func (r *round) say(format string, args ...any) {
	r.soak.say("round %d: %s", r.n, fmt.Sprintf(format, args...))
}

func (r *round) run(ctx context.Context) error {
	if err := r.trim(ctx); err != nil {
		return err
	}
	if err := testenv.Execute(ctx, r.destination.ConnString("postgres"), "CREATE DATABASE "+r.db); err != nil {
		return err
	}
	r.say("begins with %s", r.options)
	stopWriting := r.write(ctx)
	err := r.synchronize(ctx)
	if err = errors.Join(err, stopWriting()); err != nil {
		return err
	}
	began := time.Now()
	if err := r.control(ctx, fmt.Sprintf("WAIT FOR SYNC TASK %s CAUGHT UP TIMEOUT '%d seconds'", r.task, int(patience.Seconds()))); err != nil {
		return err
	}
	r.say("caught up after %.1fs, the daemon's memory was at most %d MiB", time.Since(began).Seconds(), r.peakMemory()>>20)
	if err := r.equal(ctx); err != nil {
		return err
	}
	return r.end(ctx)
}

// write starts the writers and returns what ends them.
func (r *round) write(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	written := make(chan error, 1)
	go func() {
		n, err := shop.Write(ctx, shop.Load{
			ConnString: r.source.ConnString("shop"), Units: 1, Writers: r.writers,
			Seed: r.seed + uint64(r.n), Pause: time.Duration(r.writers) * 2 * time.Millisecond, Rough: true, Empty: &r.begun,
		})
		r.say("%d transactions written", n)
		written <- err
	}()
	return func() error {
		cancel()
		return <-written
	}
}

// synchronize copies and streams under faults; the task streams when it returns.
func (r *round) synchronize(ctx context.Context) error {
	if err := r.control(ctx, fmt.Sprintf("CREATE SYNC TASK %s FROM '%s' TO '%s' START NOW CONFIRM ALL WITH (split_table_above = '4 MB', %s)",
		r.task, r.source.through("shop"), r.destination.through(r.db), r.options)); err != nil {
		return err
	}
	if err := r.admitted(ctx); err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(ctx)
	go r.watchBeginning(watching)
	err := r.faulty(ctx, copyFaults, 2500*time.Millisecond)
	stopWatching()
	if err != nil {
		return err
	}
	if err := r.reach(ctx, "incremental synchronization"); err != nil {
		return err
	}
	r.begun.Store(true)
	r.say("streams")
	stopReading := r.read(ctx)
	err = r.faulty(ctx, streamFaults/2, 3*time.Second)
	if err == nil {
		err = r.trim(ctx)
	}
	if err == nil {
		err = r.faulty(ctx, streamFaults-streamFaults/2, 3*time.Second)
	}
	return errors.Join(err, stopReading())
}

// watchBeginning waits for the task's row in the destination, after which the slot is not made again.
func (r *round) watchBeginning(ctx context.Context) {
	for ctx.Err() == nil && !r.begun.Load() {
		_ = testenv.Session(ctx, r.destination.SocketString(r.db), func(c *pgx.Conn) error {
			var row bool
			err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pgsyncd.progress)").Scan(&row)
			if err == nil && row {
				r.begun.Store(true)
			}
			return err
		})
		_ = testenv.Sleep(ctx, 300*time.Millisecond)
	}
}

// trim deletes what writers have added in rounds before, in few large transactions.
func (r *round) trim(ctx context.Context) error {
	return testenv.Session(ctx, r.source.ConnString("shop"), func(c *pgx.Conn) error {
		deleted, err := shop.Trim(ctx, c)
		if err != nil {
			return err
		}
		var size string
		err = c.QueryRow(ctx, "SELECT pg_size_pretty(pg_database_size(current_database()))").Scan(&size)
		r.say("%d rows trimmed, the source has %s", deleted, size)
		return err
	})
}

// read looks at the destination again and again. Every transaction of the source adds the same amount to an account, a teller
// and a branch: whoever sees different sums sees part of a transaction.
func (r *round) read(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		looks := 0
		for ctx.Err() == nil {
			// What cannot be read now, because the server is away, is read later.
			err := testenv.Session(ctx, r.destination.SocketString(r.db), func(c *pgx.Conn) error { return r.look(ctx, c, &looks) })
			if errors.Is(err, errSplit) {
				r.say("%v", err)
				done <- err
				return
			}
			_ = testenv.Sleep(ctx, 200*time.Millisecond)
		}
		r.say("%d looks at the sums", looks)
		done <- nil
	}()
	return func() error {
		cancel()
		return <-done
	}
}

var errSplit = errors.New("the destination showed part of a transaction")

// look reads the sums until an error occurs.
func (r *round) look(ctx context.Context, c *pgx.Conn, looks *int) error {
	for {
		var accounts, tellers, branches int64
		err := c.QueryRow(ctx, `SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
			(SELECT sum(bbalance) FROM pgbench_branches)`).Scan(&accounts, &tellers, &branches)
		if err != nil {
			return err
		}
		if accounts != tellers || accounts != branches {
			return fmt.Errorf("%w: sums of accounts %d, tellers %d, branches %d", errSplit, accounts, tellers, branches)
		}
		*looks++
		if err := testenv.Sleep(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

// end stops the task, after which sequences have to be further by the margin, and removes what the round has made.
func (r *round) end(ctx context.Context) error {
	if err := r.control(ctx, "STOP SYNC TASK "+r.task); err != nil {
		return err
	}
	if err := r.reach(ctx, "completed"); err != nil {
		return err
	}
	err := r.bothSides(ctx, func(a, b *pgx.Conn) error {
		differences, err := testenv.DiffSequences(ctx, a, b, margin)
		return errors.Join(err, differ("sequences", differences))
	})
	if err != nil {
		return err
	}
	err = testenv.Session(ctx, r.source.ConnString("shop"), func(c *pgx.Conn) error {
		var slots int
		err := c.QueryRow(ctx, "SELECT count(*) FROM pg_replication_slots").Scan(&slots)
		if slots > 0 {
			err = fmt.Errorf("%d slots are left", slots)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := r.control(ctx, "DROP SYNC TASK "+r.task); err != nil {
		return err
	}
	return testenv.Execute(ctx, r.destination.ConnString("postgres"), "DROP DATABASE "+r.db)
}

// control runs a statement on the daemon, whose catalog may have been killed a moment ago: it waits for a session.
func (r *round) control(ctx context.Context, sql string) error {
	err := r.onDaemon(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(strings.Fields(sql)[:3], " "), err)
	}
	return nil
}

// onDaemon calls f with a session of the daemon, and again with another one if that was lost.
func (r *round) onDaemon(ctx context.Context, f func(*pgx.Conn) error) error {
	deadline := time.Now().Add(time.Minute)
	for {
		lost := true
		err := testenv.Session(ctx, r.Daemon.SocketString(), func(c *pgx.Conn) error {
			err := f(c)
			lost = c.IsClosed()
			return err
		})
		if err == nil || !lost || time.Now().After(deadline) {
			return err
		}
		if err := testenv.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

func (r *round) reach(ctx context.Context, state string) error {
	return r.control(ctx, fmt.Sprintf("WAIT FOR SYNC TASK %s TO REACH '%s' TIMEOUT '%d seconds'", r.task, state, int(patience.Seconds())))
}

// admitted waits until the prechecks are through: a server that is away then is a reason not to start.
func (r *round) admitted(ctx context.Context) error {
	return r.onDaemon(ctx, func(c *pgx.Conn) error {
		for {
			var state string
			if err := c.QueryRow(ctx, "SELECT state FROM sync_tasks WHERE task = $1", r.task).Scan(&state); err != nil {
				return err
			}
			switch state {
			case "starting":
			case "start failed":
				return errors.New("the task did not start")
			default:
				return nil
			}
			if err := testenv.Sleep(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
	})
}

// equal compares all tables.
func (r *round) equal(ctx context.Context) error {
	return r.bothSides(ctx, func(a, b *pgx.Conn) error {
		differences, err := testenv.Diff(ctx, a, b, nil)
		if err = errors.Join(err, differ("rows", differences)); err != nil {
			return err
		}
		r.say("equal")
		return nil
	})
}

func differ(what string, differences []string) error {
	if len(differences) == 0 {
		return nil
	}
	return fmt.Errorf("%s differ (a is the source, b the destination):\n%s", what, strings.Join(differences, "\n"))
}

func (r *round) bothSides(ctx context.Context, f func(source, destination *pgx.Conn) error) error {
	return testenv.Session(ctx, r.source.ConnString("shop"), func(a *pgx.Conn) error {
		return testenv.Session(ctx, r.destination.ConnString(r.db), func(b *pgx.Conn) error { return f(a, b) })
	})
}

// peakMemory is the most that the running daemon has had in memory, in bytes; 0 where that cannot be read.
func (r *round) peakMemory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Daemon.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kB int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kB); n == 1 {
			return kB << 10
		}
	}
	return 0
}

// explain shows what the daemon and the servers say about a failure.
func (r *round) explain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, q := range []struct{ where, sql string }{
		{r.Daemon.SocketString(), `SELECT * FROM sync_status`},
		{r.Daemon.SocketString(), `SELECT time, level, event, message, detail FROM (SELECT * FROM sync_log ORDER BY time DESC LIMIT 60) l ORDER BY time`},
		{r.Daemon.SocketString(), `SELECT * FROM sync_conflicts ORDER BY time LIMIT 20`},
		{r.source.SocketString("shop"), `SELECT slot_name, plugin, active, catalog_xmin, restart_lsn, confirmed_flush_lsn, wal_status, pg_current_wal_lsn(), pg_current_wal_flush_lsn() FROM pg_replication_slots`},
		{r.source.SocketString("shop"), `SELECT pid, application_name, state, wait_event_type, wait_event, xact_start, left(query, 200) AS query FROM pg_stat_activity WHERE application_name LIKE 'pgsyncd%'`},
		{r.source.SocketString("shop"), `SELECT gid, prepared FROM pg_prepared_xacts`},
		{r.destination.SocketString(r.db), `SELECT * FROM pgsyncd.progress; SELECT * FROM pgsyncd.copied ORDER BY lsn`},
		{r.destination.SocketString(r.db), `SELECT pid, application_name, state, wait_event_type, wait_event, xact_start, left(query, 200) AS query FROM pg_stat_activity WHERE application_name LIKE 'pgsyncd%'`},
	} {
		stdout, stderr, err := r.Daemon.RunPSQL(ctx, q.where, "\\x on\n\\pset null ∅\n"+q.sql+";")
		r.soak.say("%s\n%s%s", q.sql, stdout, stderr)
		if err != nil {
			r.soak.say("%v", err)
		}
	}
	r.soak.say("faults: %v", r.struck)
	log, err := os.ReadFile(r.Daemon.LogFile())
	r.soak.say("end of the daemon's log:\n%s", log[max(0, len(log)-16<<10):])
	return err
}
