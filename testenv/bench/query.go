package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"pgsyncd/testenv"

	"golang.org/x/sync/errgroup"
)

// Time of a query through the daemon as a multiple of the time without it.
const queryBar, queryStretch = 1.3, 1.1

// question is what clients ask again and again.
type question struct {
	name, protocol string
	clients        int
	sql            string
	live           bool // while a task streams 100 transactions a second, so that there are always new figures
}

var questions = []question{
	{"one", "simple", 1, "SELECT 1;", false},
	{"prepared", "prepared", 1, "SELECT 1;", false},
	{"status", "prepared", 1, "SELECT * FROM sync.sync_status;", false},
	{"eight", "prepared", 8, "SELECT * FROM sync.sync_tasks;", false},
	{"live", "prepared", 8, "SELECT * FROM sync.sync_status;", true},
	{"rows", "simple", 1, "SELECT i, md5(i::text), now() FROM generate_series(1, 100000) AS i;", false},
}

// ways are where questions are asked.
const throughDaemon, direct = "daemon", "direct"

// benchQuery measures queries through the daemon against the same in its catalog directly. The catalog is in a database of a server of
// the bench's own, since the daemon's private one lets nobody else in.
func benchQuery(ctx context.Context, o options) (err error) {
	var names []string
	for _, q := range questions {
		names = append(names, q.name)
	}
	wanted, err := o.wanted(names...)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := execute(ctx, l.Source, "postgres", "CREATE DATABASE catalog"); err != nil {
		return err
	}
	catalog := l.Source.SocketString("catalog")
	d, err := testenv.NewDaemon(ctx, testenv.DaemonConfig{Args: []string{"--catalog", catalog}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Destroy()) }()
	own := &lab{Trio: &testenv.Trio{Daemon: d}}
	for i := range 10 {
		if err := own.control(ctx, fmt.Sprintf("CREATE SYNC TASK task_%d FROM '%s' TO '%s'", i, catalog, l.Destination.SocketString("postgres"))); err != nil {
			return err
		}
	}
	if wanted("live") {
		if err := own.stream(ctx, l); err != nil {
			return err
		}
	}
	describeMachine(ctx, l)
	seconds := int(math.Ceil(5 * o.scale))
	say("queries of pgbench, each for %d s, over Unix sockets; %d rounds; per second", seconds, o.rounds)
	say("%-10s %8s %9s %5s %10s %10s %7s", "query", "clients", "protocol", "round", direct, throughDaemon, "ratio")
	ratios, added := map[string][]float64{}, map[string][]float64{}
	for round := range o.rounds {
		for _, q := range questions {
			if !wanted(q.name) {
				continue
			}
			speed := map[string]float64{}
			for i := range 2 {
				way := []string{direct, throughDaemon}[(i+round)%2]
				target := catalog
				if way == throughDaemon {
					target = d.SocketString()
				}
				if speed[way], err = l.ask(ctx, target, q, seconds); err != nil {
					return fmt.Errorf("%s, %s: %w", q.name, way, err)
				}
			}
			ratio := speed[direct] / speed[throughDaemon]
			ratios[q.name] = append(ratios[q.name], ratio)
			added[q.name] = append(added[q.name], float64(q.clients)*1e6*(1/speed[throughDaemon]-1/speed[direct]))
			say("%-10s %8d %9s %5d %10.0f %10.0f %7.2f", q.name, q.clients, q.protocol, round+1, speed[direct], speed[throughDaemon], ratio)
		}
	}
	say("")
	say("time through the daemon as a multiple of that without it, median of the rounds' ratios")
	missed := 0
	for _, q := range questions {
		if len(ratios[q.name]) > 0 {
			missed += judge(q.name, median(ratios[q.name]), queryBar, queryStretch, fmt.Sprintf("%+.0f µs; %s", median(added[q.name]), q.sql))
		}
	}
	if missed > 0 {
		say("%d bars missed", missed)
	}
	return nil
}

// stream has the daemon synchronize a table of the lab's source.
func (l *lab) stream(ctx context.Context, servers *lab) error {
	for _, c := range []*testenv.Cluster{servers.Source, servers.Destination} {
		if err := execute(ctx, c, "postgres", "CREATE DATABASE live"); err != nil {
			return err
		}
	}
	if err := execute(ctx, servers.Source, "live", "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v integer)"); err != nil {
		return err
	}
	return errors.Join(
		l.control(ctx, fmt.Sprintf("CREATE SYNC TASK live FROM '%s' TO '%s' START NOW CONFIRM ALL",
			servers.Source.SocketString("live"), servers.Destination.SocketString("live"))),
		l.control(ctx, "WAIT FOR SYNC TASK live CAUGHT UP TIMEOUT '60 s'"))
}

// writing has 100 transactions a second written to what stream synchronizes, until stop is called.
func (l *lab) writing(ctx context.Context) (stop func(), err error) {
	file := filepath.Join(l.dir, "write")
	if err := os.WriteFile(file, []byte("INSERT INTO t (v) VALUES (1);\n"), 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error {
		_, err := l.output(ctx, "pgbench", "-n", "-R", "100", "-T", "3600", "-f", file, l.Source.SocketString("live"))
		return err
	})
	return func() {
		cancel()
		_ = g.Wait() // it was killed
	}, nil
}

var transactionsPerSecond = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// ask runs a question with pgbench and returns how many were answered in a second.
func (l *lab) ask(ctx context.Context, target string, q question, seconds int) (float64, error) {
	file := filepath.Join(l.dir, "question")
	if err := os.WriteFile(file, []byte(q.sql+"\n"), 0o600); err != nil {
		return 0, err
	}
	if q.live {
		stop, err := l.writing(ctx)
		if err != nil {
			return 0, err
		}
		defer stop()
	}
	out, err := l.output(ctx, "pgbench", "-n", "-M", q.protocol, "-c", strconv.Itoa(q.clients), "-j", "2", "-T", strconv.Itoa(seconds), "-f", file, target)
	if err != nil {
		return 0, err
	}
	m := transactionsPerSecond.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench does not tell its speed:\n%s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
