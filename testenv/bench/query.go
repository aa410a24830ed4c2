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
)

// Time of a query through the daemon as a multiple of the time without it.
const queryBar, queryStretch = 1.3, 1.1

// question is what clients ask again and again.
type question struct {
	name, protocol string
	clients        int
	sql            string
}

var questions = []question{
	{"one", "simple", 1, "SELECT 1;"},
	{"prepared", "prepared", 1, "SELECT 1;"},
	{"status", "prepared", 1, "SELECT * FROM sync.sync_status;"},
	{"eight", "prepared", 8, "SELECT * FROM sync.sync_tasks;"},
	{"rows", "simple", 1, "SELECT i, md5(i::text), now() FROM generate_series(1, 100000) AS i;"},
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

var transactionsPerSecond = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// ask runs a question with pgbench and returns how many were answered in a second.
func (l *lab) ask(ctx context.Context, target string, q question, seconds int) (float64, error) {
	file := filepath.Join(l.dir, "question")
	if err := os.WriteFile(file, []byte(q.sql+"\n"), 0o600); err != nil {
		return 0, err
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
