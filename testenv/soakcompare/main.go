// Command soakcompare has a daemon compare two servers again and again while many clients write to the source, and proves two
// things: databases that are equal compare equal, whatever is under way, each table of each comparison; and differences that are planted are
// found, and nothing else. Now and then the daemon is killed in the midst of a comparison, which then has to go on where it was.
//
// Environment: RUNS is the number of comparisons (default 200); WRITERS the number of concurrent writers (default 64); SEED makes the
// choices of an earlier run again, as far as concurrency allows.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"pgsyncd/testenv"
	"pgsyncd/testenv/shop"
)

func main() { testenv.Main("soak-compare", run) }

// number reads a positive number from the environment.
func number(name string, standard uint64) (uint64, error) {
	text := os.Getenv(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s: %q is no positive number", name, text)
	}
	return n, nil
}

// soak is one run of the program.
type soak struct {
	*testenv.Trio
	runs, writers int
	seed          uint64
	rand          *rand.Rand
	started       time.Time
	killed        int
	apart         int // comparisons that could not read both sides at one position
}

func (s *soak) say(format string, args ...any) {
	_, _ = fmt.Printf("%7.1fs  %s\n", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...)) //nolint:forbidigo // the program's output
}

func run(ctx context.Context) (err error) {
	s := &soak{started: time.Now()}
	for name, to := range map[string]*int{"RUNS": &s.runs, "WRITERS": &s.writers} {
		n, err := number(name, map[string]uint64{"RUNS": 200, "WRITERS": 64}[name])
		if err != nil {
			return err
		}
		*to = int(n)
	}
	if s.seed, err = number("SEED", uint64(time.Now().UnixNano())); err != nil {
		return err
	}
	s.rand = rand.New(rand.NewPCG(s.seed, 0)) //nolint:gosec // reproducible, not secret
	s.say("RUNS=%d WRITERS=%d SEED=%d", s.runs, s.writers, s.seed)
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	writing, stop := context.WithCancel(ctx)
	written := make(chan error, 1)
	go func() {
		n, err := shop.Write(writing, shop.Load{
			ConnString: s.Source.ConnString("shop"), Units: 1, Writers: s.writers, Seed: s.seed,
			Pause: time.Duration(s.writers) * 5 * time.Millisecond, Truncate: true,
		})
		s.say("%d transactions written", n)
		written <- err
	}()
	err = s.compareAll(ctx)
	if err == nil {
		err = s.plant(ctx)
	}
	stop()
	return errors.Join(err, <-written)
}

func (s *soak) setUp(ctx context.Context) (err error) {
	config := map[string]string{
		"shared_buffers": "128MB", "max_wal_size": "1GB", "max_connections": strconv.Itoa(s.writers + 60), "logical_decoding_work_mem": "64kB",
	}
	server := testenv.Config{Settings: config}
	if s.Trio, err = testenv.NewTrio(ctx, server, server); err != nil {
		return err
	}
	if err := shop.CreateDatabase(ctx, s.Source, 1); err != nil {
		return err
	}
	if err := testenv.Execute(ctx, s.Destination.ConnString("postgres"), "CREATE DATABASE shop"); err != nil {
		return err
	}
	for _, sql := range []string{
		fmt.Sprintf("CREATE SYNC TASK shop FROM '%s' TO '%s' START NOW CONFIRM ALL", s.Source.ConnString("shop"), s.Destination.ConnString("shop")),
		"WAIT FOR SYNC TASK shop TO REACH 'incremental synchronization' TIMEOUT '5 min'",
	} {
		if err := testenv.Execute(ctx, s.Daemon.SocketString(), sql); err != nil {
			return err
		}
	}
	return nil
}
