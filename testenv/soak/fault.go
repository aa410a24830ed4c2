package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pgsyncd/testenv"

	"golang.org/x/sys/unix"
)

// fault is something that happens to one of the parties.
type fault struct {
	name   string
	weight int
	party  string        // two faults at once strike different ones
	hold   time.Duration // it lasts up to so long
	strike func(context.Context) error
	mend   func(context.Context) error // nil when it is over at once
}

// faults lists what can happen.
func (s *soak) faults() []fault {
	d := s.Daemon
	list := []fault{
		{"daemon killed", 8, "daemon", 2 * time.Second, func(context.Context) error { return d.Kill9() }, d.Start},
		{"daemon terminated", 3, "daemon", time.Second, func(context.Context) error { return d.Terminate() }, d.Start},
		{
			"daemon frozen", 2, "daemon", 8 * time.Second,
			func(context.Context) error { return unix.Kill(d.PID(), unix.SIGSTOP) },
			func(context.Context) error { return unix.Kill(d.PID(), unix.SIGCONT) },
		},
		{"catalog killed", 1, "daemon", 0, func(context.Context) error { return s.killCatalog() }, nil},
	}
	for _, p := range []*party{s.source, s.destination} {
		list = append(list, s.serverFaults(p)...)
		list = append(list, s.linkFaults(p)...)
	}
	return list
}

func (s *soak) serverFaults(p *party) []fault {
	return []fault{
		{p.name + " stopped immediately", 4, p.name, 3 * time.Second, func(context.Context) error { return p.Stop("immediate") }, p.StartAgain},
		{p.name + " killed", 3, p.name, 3 * time.Second, func(context.Context) error { return p.Kill() }, p.StartAgain},
		{
			p.name + " stopped", 2, p.name, time.Second,
			func(context.Context) error {
				// A source waits for what its stream has not confirmed, which may be more than one has patience for.
				if err := p.Stop("fast"); err != nil {
					s.say("%v", err)
					return p.Stop("immediate")
				}
				return nil
			}, p.StartAgain,
		},
		{
			p.name + " frozen", 2, p.name, 8 * time.Second,
			func(context.Context) error { p.Pause(); return nil },
			func(context.Context) error { p.Continue(); return nil },
		},
		{p.name + " sessions ended", 2, p.name, 0, func(ctx context.Context) error {
			return s.onServer(ctx, p, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgsyncd%'`)
		}, nil},
		{p.name + " checkpoint", 3, p.name, 0, func(ctx context.Context) error { return s.onServer(ctx, p, `CHECKPOINT`) }, nil},
		{p.name + " WAL switch", 1, p.name, 0, func(ctx context.Context) error { return s.onServer(ctx, p, `SELECT pg_switch_wal()`) }, nil},
	}
}

func (s *soak) linkFaults(p *party) []fault {
	stall := func(d testenv.Direction) fault {
		return fault{
			fmt.Sprintf("link to %s stalled %s", p.name, d), 1, p.name, 12 * time.Second,
			func(context.Context) error { p.proxy.Stall(d); return nil },
			func(context.Context) error { p.proxy.Resume(); return nil },
		}
	}
	return []fault{
		{"link to " + p.name + " cut", 3, p.name, 0, func(context.Context) error { p.proxy.Cut(); return nil }, nil},
		{"link to " + p.name + " reset", 2, p.name, 0, func(context.Context) error { p.proxy.Reset(); return nil }, nil},
		stall(testenv.ToTarget), stall(testenv.ToClient), stall(testenv.Both),
		{
			"link to " + p.name + " refused", 1, p.name, 4 * time.Second,
			func(context.Context) error { err := p.proxy.Refuse(true); p.proxy.Cut(); return err },
			func(context.Context) error { return p.proxy.Refuse(false) },
		},
		{
			"link to " + p.name + " slow", 1, p.name, 6 * time.Second,
			func(context.Context) error {
				p.proxy.Delay(100 * time.Millisecond)
				p.proxy.Throttle(300 << 10)
				return nil
			},
			func(context.Context) error {
				p.proxy.Delay(0)
				p.proxy.Throttle(0)
				return nil
			},
		},
	}
}

func (s *soak) onServer(ctx context.Context, p *party, sql string) error {
	return testenv.Execute(ctx, p.SocketString("postgres"), sql)
}

// killCatalog kills the PostgreSQL that the daemon keeps its own state in. A daemon that is being started may have none.
func (s *soak) killCatalog() error {
	files, err := filepath.Glob(filepath.Join(s.Daemon.DataDir(), "catalog", "*", "postmaster.pid"))
	if err != nil || len(files) != 1 {
		return err
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return err
	}
	return unix.Kill(pid, unix.SIGKILL)
}

// choose draws a fault that does not strike the given party.
func (s *soak) choose(list []fault, not string) fault {
	total := 0
	for _, f := range list {
		if f.party != not {
			total += f.weight
		}
	}
	n := s.rand.IntN(total)
	for _, f := range list {
		if f.party == not {
			continue
		}
		if n -= f.weight; n < 0 {
			return f
		}
	}
	panic("weights do not add up")
}

// fault makes something happen, now and then two things at once, and mends it after a while.
func (s *soak) fault(ctx context.Context) error {
	list := s.faults()
	chosen := []fault{s.choose(list, "")}
	if s.rand.IntN(4) == 0 {
		chosen = append(chosen, s.choose(list, chosen[0].party))
	}
	var names []string
	var hold time.Duration
	for _, f := range chosen {
		names = append(names, f.name)
		s.struck[f.name]++
		hold = max(hold, time.Duration(s.rand.Int64N(int64(f.hold)+1)))
	}
	s.say("  %s for %.1fs", strings.Join(names, ", "), hold.Seconds())
	var errs []error
	for _, f := range chosen {
		if err := f.strike(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, testenv.Sleep(ctx, hold))
	}
	for i := len(chosen) - 1; i >= 0; i-- {
		f := chosen[i]
		if f.mend == nil {
			continue
		}
		if err := f.mend(context.WithoutCancel(ctx)); err != nil {
			errs = append(errs, fmt.Errorf("mend %s: %w", f.name, err))
		}
	}
	return errors.Join(errs...)
}

// faulty makes n faults, with random pauses of up to longest between.
func (s *soak) faulty(ctx context.Context, n int, longest time.Duration) error {
	for range n {
		if err := testenv.Sleep(ctx, time.Duration(s.rand.Int64N(int64(longest)))); err != nil {
			return err
		}
		if err := s.fault(ctx); err != nil {
			return err
		}
	}
	return nil
}
