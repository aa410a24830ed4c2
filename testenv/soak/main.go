// Command soak kills the daemon, the source and the destination at random, during copies and while changes stream, and
// proves after every round that both sides are equal row for row.
//
// Environment: DURATION is how long to go on (default 10m); SEED makes the choices of an earlier soak again, as far as
// concurrency allows; WRITERS is the number of concurrent writers (default 8).
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pgsyncd/testenv"
	"pgsyncd/testenv/shop"

	"github.com/jackc/pgx/v5"
)

const (
	copyKills   = 6                // of a round, from the start of the copy on
	streamKills = 14               // of a round, once changes stream
	patience    = 10 * time.Minute // for a task to reach what it is to reach
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

// soak is one run. Its random choices all come from one source, seeded once.
type soak struct {
	rand                *rand.Rand
	seed                uint64
	writers             int
	source, destination *testenv.Cluster
	toSource, toTarget  *testenv.Proxy
	daemon              *testenv.Daemon
	kills               map[string]int
	started             time.Time
}

func run(ctx context.Context) (err error) {
	duration, seed, writers := 10*time.Minute, uint64(time.Now().UnixNano()), 8 // the time is positive
	if text := os.Getenv("DURATION"); text != "" {
		if duration, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("DURATION: %w", err)
		}
	}
	if text := os.Getenv("SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("SEED: %w", err)
		}
	}
	if text := os.Getenv("WRITERS"); text != "" {
		if writers, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("WRITERS: %w", err)
		}
	}
	s := &soak{rand: rand.New(rand.NewPCG(seed, 0)), seed: seed, writers: writers, kills: map[string]int{}, started: time.Now()} //nolint:gosec // reproducible, not secret
	s.say("SEED=%d DURATION=%s WRITERS=%d", seed, duration, writers)
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	for round := 1; round == 1 || time.Since(s.started) < duration; round++ {
		if err := s.round(ctx, round); err != nil {
			return errors.Join(fmt.Errorf("round %d, SEED=%d: %w", round, seed, err), s.explain(ctx))
		}
	}
	s.say("equal after every round; kills: %v", s.kills)
	return nil
}

func (s *soak) say(format string, args ...any) {
	_, _ = fmt.Printf("%7.1fs  %s\n", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...)) //nolint:forbidigo // the program's output
}

func (s *soak) setUp(ctx context.Context) (err error) {
	settings := map[string]string{"shared_buffers": "128MB", "max_wal_size": "2GB", "checkpoint_timeout": "30s"}
	if s.source, err = testenv.New(ctx, testenv.Config{Settings: settings}); err != nil {
		return err
	}
	if s.destination, err = testenv.New(ctx, testenv.Config{Settings: settings}); err != nil {
		return err
	}
	if s.toSource, err = testenv.NewProxy(ctx, s.source.Addr()); err != nil {
		return err
	}
	if s.toTarget, err = testenv.NewProxy(ctx, s.destination.Addr()); err != nil {
		return err
	}
	if s.daemon, err = testenv.NewDaemon(ctx, testenv.DaemonConfig{}); err != nil {
		return err
	}
	if err := execute(ctx, s.source.ConnString("postgres"), "CREATE DATABASE shop"); err != nil {
		return err
	}
	return withConn(ctx, s.source.ConnString("shop"), func(c *pgx.Conn) error { return shop.Create(ctx, c, 1) })
}

func withConn(ctx context.Context, connString string, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return f(conn)
}

func execute(ctx context.Context, connString, sql string) error {
	return withConn(ctx, connString, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// through is a connection string that goes through a proxy.
func through(c *testenv.Cluster, p *testenv.Proxy, db string) string {
	host, port := p.Addr()
	direct := c.ConnString(db)
	_, rest, _ := strings.Cut(direct, " dbname=")
	return fmt.Sprintf("host=%s port=%d dbname=%s", host, port, rest)
}

// round synchronizes the source to a new database under load and kills, and compares.
func (s *soak) round(ctx context.Context, round int) error {
	db, task := fmt.Sprintf("shop_%d", round), fmt.Sprintf("soak_%d", round)
	if err := execute(ctx, s.destination.ConnString("postgres"), "CREATE DATABASE "+db); err != nil {
		return err
	}
	writing, stopWriting := context.WithCancel(ctx)
	defer stopWriting()
	written := make(chan error, 1)
	go func() {
		n, err := shop.Write(writing, shop.Load{
			ConnString: s.source.ConnString("shop"), Units: 1, Writers: s.writers,
			Seed: s.seed + uint64(round), Pause: 2 * time.Millisecond, Truncate: true,
		}) // rounds are few
		s.say("round %d: %d transactions written", round, n)
		written <- err
	}()
	if err := s.control(ctx, fmt.Sprintf("CREATE SYNC TASK %s FROM '%s' TO '%s' START NOW CONFIRM ALL WITH (split_table_above = '4 MB')",
		task, through(s.source, s.toSource, "shop"), through(s.destination, s.toTarget, db))); err != nil {
		return err
	}
	if err := s.admitted(ctx, task); err != nil {
		return err
	}
	if err := s.killings(ctx, copyKills, 2500*time.Millisecond); err != nil {
		return err
	}
	if err := s.reach(ctx, task, "incremental synchronization"); err != nil {
		return err
	}
	s.say("round %d: streaming", round)
	if err := s.killings(ctx, streamKills, 4*time.Second); err != nil {
		return err
	}
	stopWriting()
	if err := <-written; err != nil {
		return err
	}
	if err := s.control(ctx, fmt.Sprintf("WAIT FOR SYNC TASK %s CAUGHT UP TIMEOUT '%d seconds'", task, int(patience.Seconds()))); err != nil {
		return err
	}
	if err := s.equal(ctx, db); err != nil {
		return err
	}
	s.say("round %d: equal; kills so far: %v", round, s.kills)
	if err := s.control(ctx, "STOP SYNC TASK "+task); err != nil {
		return err
	}
	if err := s.reach(ctx, task, "completed"); err != nil {
		return err
	}
	if err := s.control(ctx, "DROP SYNC TASK "+task); err != nil {
		return err
	}
	return execute(ctx, s.destination.ConnString("postgres"), "DROP DATABASE "+db)
}

func (s *soak) control(ctx context.Context, sql string) error {
	if err := execute(ctx, s.daemon.SocketString(), sql); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(strings.Fields(sql)[:3], " "), err)
	}
	return nil
}

func (s *soak) reach(ctx context.Context, task, state string) error {
	return s.control(ctx, fmt.Sprintf("WAIT FOR SYNC TASK %s TO REACH '%s' TIMEOUT '%d seconds'", task, state, int(patience.Seconds())))
}

// admitted waits until the prechecks are through: a server that is away then is a reason not to start.
func (s *soak) admitted(ctx context.Context, task string) error {
	return withConn(ctx, s.daemon.SocketString(), func(c *pgx.Conn) error {
		for {
			var state string
			if err := c.QueryRow(ctx, "SELECT state FROM sync_tasks WHERE task = $1", task).Scan(&state); err != nil {
				return err
			}
			switch state {
			case "starting":
			case "start failed":
				return errors.New("the task did not start")
			default:
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}

func (s *soak) equal(ctx context.Context, db string) error {
	return withConn(ctx, s.source.ConnString("shop"), func(a *pgx.Conn) error {
		return withConn(ctx, s.destination.ConnString(db), func(b *pgx.Conn) error {
			differences, err := testenv.Diff(ctx, a, b, nil)
			if err == nil && len(differences) > 0 {
				err = fmt.Errorf("the two sides differ:\n%s", strings.Join(differences, "\n"))
			}
			return err
		})
	})
}

// killings kills n times, with random pauses of up to longest between.
func (s *soak) killings(ctx context.Context, n int, longest time.Duration) error {
	for range n {
		timer := time.NewTimer(time.Duration(s.rand.Int64N(int64(longest))))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if err := s.kill(ctx); err != nil {
			return err
		}
	}
	return nil
}

// kill ends one of the parties, or the connections between two, in one of several ways, and brings it back.
func (s *soak) kill(ctx context.Context) error {
	clusters := map[string]*testenv.Cluster{"source": s.source, "destination": s.destination}
	proxies := map[string]*testenv.Proxy{"source": s.toSource, "destination": s.toTarget}
	side := []string{"source", "destination"}[s.rand.IntN(2)]
	switch n := s.rand.IntN(10); {
	case n < 4:
		s.kills["daemon"]++
		if err := s.daemon.Kill9(); err != nil {
			return err
		}
		return s.daemon.Start(ctx)
	case n < 6:
		s.kills[side+" stopped"]++
		return clusters[side].Restart(ctx, "immediate")
	case n < 8:
		s.kills[side+" killed"]++
		if err := clusters[side].Kill(); err != nil {
			return err
		}
		return clusters[side].StartAgain(ctx)
	case n < 9:
		s.kills[side+" cut"]++
		proxies[side].Cut()
	default:
		s.kills[side+" reset"]++
		proxies[side].Reset()
	}
	return nil
}

// explain shows what the daemon itself says about a failure.
func (s *soak) explain(ctx context.Context) error {
	const questions = `\x on
SELECT task, state, phase, lag_bytes, error, error_detail, error_hint FROM sync_status;
SELECT time, level, event, message, detail FROM sync_log ORDER BY time DESC LIMIT 30;
SELECT * FROM sync_conflicts LIMIT 5;`
	stdout, stderr, err := s.daemon.RunPSQL(ctx, s.daemon.SocketString(), questions)
	s.say("%s%s", stdout, stderr)
	return err
}

func (s *soak) close() error {
	var errs []error
	if s.daemon != nil {
		errs = append(errs, s.daemon.Destroy())
	}
	for _, p := range []*testenv.Proxy{s.toSource, s.toTarget} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	for _, c := range []*testenv.Cluster{s.destination, s.source} {
		if c != nil {
			errs = append(errs, c.Destroy())
		}
	}
	return errors.Join(errs...)
}
