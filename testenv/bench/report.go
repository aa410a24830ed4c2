package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// bar is the largest ratio to a peer that is good enough, and one that would be excellent.
type bar struct {
	peer           string
	limit, stretch float64
}

func describeMachine(ctx context.Context, l *lab) {
	model := "unknown processor"
	content, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(content)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			model = strings.Trim(name, " \t:\n")
			break
		}
	}
	version := "PostgreSQL"
	_ = testenv.Session(ctx, l.Source.SocketString("postgres"), func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT split_part(version(), ' on ', 1)").Scan(&version)
	})
	load, _ := os.ReadFile("/proc/loadavg")
	say("%d cores, %s; %s; load before: %s", runtime.NumCPU(), model, version, strings.TrimSpace(string(load)))
}

// reportCosts prints medians and bars, and returns how many of these are missed.
func reportCosts(field []contender, costs map[string][]cost, heap int64) (missed int) {
	say("")
	say("medians")
	for _, c := range field {
		of := func(part func(cost) float64) float64 {
			var all []float64
			for _, x := range costs[c.name] {
				all = append(all, part(x))
			}
			return median(all)
		}
		say("%-15s %5s %8.2f %10.2f %10.2f %12.2f   %s", c.name, "",
			of(func(x cost) float64 { return x.wall }), of(func(x cost) float64 { return x.tool }),
			of(func(x cost) float64 { return x.source }), of(func(x cost) float64 { return x.destination }), explanations[c.name])
	}
	if len(costs[ours]) == 0 {
		return 0
	}
	missed += reportShares(copyBars, costs)
	var perGB []float64
	for _, x := range costs[ours] {
		perGB = append(perGB, x.tool/(float64(heap)/1e9))
	}
	return missed + judge("CPU s per GB", median(perGB), cpuBar, cpuStretch, "daemon, its catalog's server and pg_dump")
}

// reportShares prints what pgsyncd's time is as a share of others', and returns how many bars are missed.
func reportShares(bars []bar, costs map[string][]cost) (missed int) {
	if len(costs[ours]) == 0 {
		return 0
	}
	say("")
	say("pgsyncd's time as a share of others', median of the rounds' ratios")
	for _, b := range bars {
		var ratios []float64
		for i, peer := range costs[b.peer] {
			ratios = append(ratios, costs[ours][i].wall/peer.wall)
		}
		if len(ratios) > 0 {
			missed += judge("× "+b.peer, median(ratios), b.limit, b.stretch, fmt.Sprintf("%.2f", ratios))
		}
	}
	return missed
}

// judge prints a figure beside its bar and returns 1 if that is missed. More is better where stretch is above limit, else less.
func judge(what string, figure, limit, stretch float64, remark string) int {
	reaches := func(aim float64) bool { return figure <= aim }
	if stretch > limit {
		reaches = func(aim float64) bool { return figure >= aim }
	}
	verdict, missed := "met", 0
	switch {
	case reaches(stretch):
		verdict = "met, stretch too"
	case !reaches(limit):
		verdict, missed = "MISSED", 1
	}
	say("%-18s %6.2f   bar %.2f, stretch %.2f: %-17s %s", what, figure, limit, stretch, verdict, remark)
	return missed
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// benchMemory prints the daemon's peak memory for the data, twice the data, and a row of 500 MB.
func benchMemory(ctx context.Context, l *lab, scale float64) (missed int, err error) {
	say("")
	say("peak memory of the daemon, started anew for each")
	steps := []struct {
		name, db string
		prepare  func() error
	}{
		{"this data", database, func() error { return nil }},
		{"twice the data", database, func() error { return addData(ctx, l.Source, database, scale, 2*scale) }},
		{"one row of 500 MB", "row", func() error { return createWideRow(ctx, l.Source, "row") }},
	}
	for _, s := range steps {
		if err := s.prepare(); err != nil {
			return missed, err
		}
		peak, err := l.memory(ctx, s.db)
		if err != nil {
			return missed, fmt.Errorf("%s: %w", s.name, err)
		}
		missed += judge(s.name+", MiB", float64(peak)/(1<<20), memoryBar>>20, memoryBar>>21, "")
	}
	return missed, nil
}

// memory copies a database with a new daemon and returns that daemon's peak.
func (l *lab) memory(ctx context.Context, db string) (int64, error) {
	if err := l.Daemon.Restart(ctx); err != nil {
		return 0, err
	}
	if err := l.clear(ctx, db); err != nil {
		return 0, err
	}
	if err := l.synchronize(ctx, db); err != nil {
		return 0, err
	}
	peak, err := peakMemory(l.Daemon.PID())
	if err != nil {
		return 0, err
	}
	want, err := fingerprint(ctx, l.Source, db)
	if err != nil {
		return 0, err
	}
	got, err := fingerprint(ctx, l.Destination, db)
	if err == nil && got != want {
		err = fmt.Errorf("the result differs\n--- source\n%s\n--- destination\n%s", want, got)
	}
	if err != nil {
		return 0, err
	}
	return peak, dropTask(ctx, l)
}

// createWideRow makes a table of one row that takes half of what PostgreSQL can hold in a message.
func createWideRow(ctx context.Context, c *testenv.Cluster, db string) error {
	if err := execute(ctx, c, "postgres", "CREATE DATABASE "+db); err != nil {
		return err
	}
	return execute(ctx, c, db, `CREATE TABLE wide (id integer PRIMARY KEY, body bytea);
		ALTER TABLE wide ALTER body SET STORAGE EXTERNAL;
		INSERT INTO wide SELECT 1, convert_to(repeat('0123456789', 50000000), 'SQL_ASCII')`)
}
