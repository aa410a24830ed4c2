package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
)

// copyBars are what a clone by pgsyncd may take at most, as a share of what others take in the same round.
var copyBars = []bar{
	{pgcopydb, 0.85, 0.70},
	{native, 0.90, 0.80},
	{psqlPipe, 0.75, 0.65},
}

// Bars of the daemon itself: CPU seconds for each GB of tables, better ones, and bytes of memory.
const (
	cpuBar, cpuStretch = 1.6, 1.0
	memoryBar          = 200 << 20
)

// benchCopy measures all contenders, then the daemon's memory.
func benchCopy(ctx context.Context, o options) (err error) {
	var names []string
	for _, c := range contenders {
		names = append(names, c.name)
	}
	wanted, err := o.wanted(names...)
	if err != nil {
		return err
	}
	field := slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool { return !wanted(c.name) })
	if _, err := exec.LookPath("pgcopydb"); err != nil && slices.ContainsFunc(field, func(c contender) bool { return c.name == pgcopydb }) {
		return errors.New("pgcopydb is missing: apt-get install pgcopydb, or leave it out with ONLY=psql,native,pgsyncd")
	}
	l, err := newLab(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := createData(ctx, l.Source, database, o.scale); err != nil {
		return err
	}
	if err := execute(ctx, l.Source, database, publication); err != nil {
		return err
	}
	want, err := fingerprint(ctx, l.Source, database)
	if err != nil {
		return err
	}
	heap, err := heapBytes(ctx, l.Source, database)
	if err != nil {
		return err
	}
	describeMachine(ctx, l)
	say("%.0f rows, %.2f GB of tables; %d rounds; seconds", o.scale*(accounts+orders), float64(heap)/1e9, o.rounds)
	costs, err := takeTurns(field, o.rounds, func(c contender) string { return c.name }, func(c contender) (cost, error) {
		return l.measure(ctx, c, want)
	})
	if err != nil {
		return err
	}
	missed := reportCosts(field, costs, heap)
	if len(costs[ours]) > 0 {
		more, err := benchMemory(ctx, l, o.scale)
		if err != nil {
			return err
		}
		missed += more
	}
	if missed > 0 {
		say("%d bars missed", missed)
	}
	return nil
}

// measure runs one contender on an empty destination and proves the result equal to the source.
func (l *lab) measure(ctx context.Context, c contender, want string) (spent cost, err error) {
	if err := l.clear(ctx, database); err != nil {
		return spent, err
	}
	l.tool = 0
	if spent, err = l.spend(l.Daemon.PID(), func() error { return c.run(ctx, l) }); err != nil {
		return spent, err
	}
	if c.name != ours {
		spent.tool = l.tool
	}
	got, err := fingerprint(ctx, l.Destination, database)
	if err == nil && got != want {
		err = fmt.Errorf("the result differs\n--- source\n%s\n--- destination\n%s", want, got)
	}
	if err == nil && c.after != nil {
		err = c.after(ctx, l)
	}
	return spent, err
}
