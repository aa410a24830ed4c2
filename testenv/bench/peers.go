package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// peer follows the source into a database of the destination that has the peer's name. Between the steps of a benchmark all
// peers are paused.
type peer struct {
	name    string
	control func(l *lab) string // connection string of where it is told what to do
	log     func(l *lab) string // file
	pid     func(l *lab) int    // of the tool; nil: the destination's server is the tool
	create  func(ctx context.Context, l *lab) error
	resume  string
	pause   []string
	failure string // query: a row of text says why it will not go on
}

// Native replication comes as PostgreSQL has it by default, with synchronous_commit off in the subscriber. All options of pgsyncd's task are
// at their defaults.
var peers = []peer{
	{
		name:    native,
		control: func(l *lab) string { return l.Destination.SocketString(native) },
		log:     func(l *lab) string { return l.Destination.LogFile() },
		create:  createSubscription,
		resume:  "ALTER SUBSCRIPTION bench ENABLE",
		pause:   []string{"ALTER SUBSCRIPTION bench DISABLE"},
		failure: "SELECT apply_error_count || ' errors' FROM pg_stat_subscription_stats WHERE apply_error_count > 0",
	},
	{
		name:    ours,
		control: func(l *lab) string { return l.Daemon.SocketString() },
		log:     func(l *lab) string { return l.Daemon.LogFile() },
		pid:     func(l *lab) int { return l.Daemon.PID() },
		create:  createTask,
		resume:  "RESUME SYNC TASK bench",
		pause:   []string{"PAUSE SYNC TASK bench", "WAIT FOR SYNC TASK bench TO REACH 'paused' TIMEOUT '5 min'"},
		failure: "SELECT state || ': ' || coalesce(error, '') FROM sync_status WHERE task = 'bench' AND (state LIKE '%failed' OR state = 'fault rectification')",
	},
}

func createSubscription(ctx context.Context, l *lab) error {
	if err := l.structure(ctx, "", native); err != nil {
		return err
	}
	// The destination's server connects as the user it runs as, who is the source's superuser by name.
	sql := fmt.Sprintf("CREATE SUBSCRIPTION bench CONNECTION '%s' PUBLICATION bench", l.Source.SocketString(database))
	if err := execute(ctx, l.Destination, native, sql); err != nil {
		return err
	}
	return await(ctx, l.Destination, native, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
}

func createTask(ctx context.Context, l *lab) error {
	if err := l.control(ctx, fmt.Sprintf("CREATE SYNC TASK bench FROM '%s' TO '%s' START NOW CONFIRM ALL",
		l.Source.SocketString(database), l.Destination.SocketString(ours))); err != nil {
		return err
	}
	err := l.control(ctx, "WAIT FOR SYNC TASK bench CAUGHT UP TIMEOUT '1 hour'")
	if err == nil {
		return nil
	}
	return errors.Join(err, testenv.Session(ctx, l.Daemon.SocketString(), func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT item || ': ' || found FROM sync_prechecks WHERE task = 'bench' AND result = 'failed'")
		if err != nil {
			return err
		}
		failed, err := pgx.CollectRows(rows, pgx.RowTo[string])
		return errors.Join(err, errors.New(strings.Join(failed, "\n")))
	}))
}

// command runs statements where the peer takes them.
func (p peer) command(ctx context.Context, l *lab, statements ...string) error {
	return testenv.Session(ctx, p.control(l), func(c *pgx.Conn) error {
		for _, sql := range statements {
			if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
}

// watchEvery is how exactly the end of a backlog is seen.
const watchEvery = 2 * time.Millisecond

// follow resumes the peer and returns the time until the destination shows a mark.
func (p peer) follow(ctx context.Context, l *lab, mark int64) (elapsed time.Duration, err error) {
	err = testenv.Session(ctx, p.control(l), func(control *pgx.Conn) error {
		return testenv.Session(ctx, l.Destination.SocketString(p.name), func(destination *pgx.Conn) error {
			begun := time.Now()
			if _, err := control.Exec(ctx, p.resume, pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("%s: %w", p.resume, err)
			}
			err := p.awaitMark(ctx, control, destination, mark)
			elapsed = time.Since(begun)
			return err
		})
	})
	if err != nil {
		content, _ := os.ReadFile(p.log(l))
		err = fmt.Errorf("%w\n%s", err, tail(string(content)))
	}
	return elapsed, err
}

func (p peer) awaitMark(ctx context.Context, control, destination *pgx.Conn, mark int64) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	asked := time.Now()
	for {
		var there bool
		if err := destination.QueryRow(ctx, "SELECT EXISTS (SELECT FROM marks WHERE id = $1)", mark).Scan(&there); err != nil || there {
			return err
		}
		if time.Since(asked) > time.Second {
			asked = time.Now()
			var why string
			err := control.QueryRow(ctx, p.failure, pgx.QueryExecModeSimpleProtocol).Scan(&why)
			if err == nil {
				return errors.New(why)
			}
			if !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
