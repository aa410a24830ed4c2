package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	tickEvery   = 10 * time.Millisecond
	warmUpTicks = 100 // not counted
	lookEvery   = 100 * time.Microsecond
)

// Bars of the delay, as multiples of native replication's.
const (
	medianDelayBar, medianDelayStretch = 1.2, 1.0
	longDelayBar, longDelayStretch     = 2.0, 1.3
)

// delay is in milliseconds until a row appears in the destination: from when the source wrote it, and from when its COMMIT returned.
type delay struct{ p50, p99, committed50, committed99 float64 }

// benchDelay measures the delay of 100 transactions a second into an idle stream, of all peers in turn.
func (s *stage) benchDelay(ctx context.Context, rounds int) (missed int, err error) {
	n := int(max(5, 20*s.scale) * float64(time.Second/tickEvery))
	say("")
	say("delay of %d transactions, 100 a second, ms", n)
	say("%-8s %5s %8s %8s %20s %8s", "by", "round", "p50", "p99", "from COMMIT's end: p50", "p99")
	ticks := workload{tables: []string{"ticks"}, prepare: func(float64) string { return "TRUNCATE ticks" }}
	all := map[string][]delay{}
	for round := range rounds {
		if err := s.settle(ctx, ticks); err != nil {
			return missed, err
		}
		for i := range peers {
			p := peers[(i+round)%len(peers)]
			d, err := s.delayOf(ctx, p, int64(i)*int64(n+warmUpTicks), n)
			if err == nil {
				err = s.compare(ctx, p, ticks.tables)
			}
			if err == nil {
				err = p.command(ctx, s.lab, p.pause...)
			}
			if err != nil {
				return missed, fmt.Errorf("%s: %w", p.name, err)
			}
			all[p.name] = append(all[p.name], d)
			say("%-8s %5d %8.2f %8.2f %22.2f %8.2f", p.name, round+1, d.p50, d.p99, d.committed50, d.committed99)
		}
	}
	say("pgsyncd's delay as a multiple of native's, median of the rounds' ratios")
	for _, b := range []struct {
		name           string
		of             func(delay) float64
		limit, stretch float64
	}{
		{"delay p50", func(d delay) float64 { return d.p50 }, medianDelayBar, medianDelayStretch},
		{"delay p99", func(d delay) float64 { return d.p99 }, longDelayBar, longDelayStretch},
	} {
		var ratios []float64
		for i, d := range all[ours] {
			ratios = append(ratios, b.of(d)/b.of(all[native][i]))
		}
		missed += judge(b.name, median(ratios), b.limit, b.stretch, fmt.Sprintf("%.2f", ratios))
	}
	return missed, nil
}

// delayOf has one peer follow, and writes ticks with identifiers above the given one.
func (s *stage) delayOf(ctx context.Context, p peer, above int64, n int) (d delay, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnPatience, fmt.Errorf("not done after %s", turnPatience))
	defer cancel()
	if err := s.writeMark(ctx); err != nil {
		return d, err
	}
	if err := s.checkpoint(ctx); err != nil {
		return d, err
	}
	if _, err := p.follow(ctx, s.lab, s.mark); err != nil {
		return d, err
	}
	n += warmUpTicks
	committed, seen := make([]time.Time, n), make([]time.Time, n)
	g, both := errgroup.WithContext(ctx)
	g.Go(func() error {
		return testenv.Session(both, s.Source.SocketString(database), tickInto(both, committed, above))
	})
	g.Go(func() error {
		return testenv.Session(both, s.Destination.SocketString(p.name), look(both, seen, above))
	})
	if err := g.Wait(); err != nil {
		return d, err
	}
	written, err := s.written(ctx, above)
	if err == nil && len(written) != n {
		err = fmt.Errorf("%d ticks of %d are there", len(written), n)
	}
	if err != nil {
		return d, err
	}
	var since, sinceCommit []float64
	for i := warmUpTicks; i < n; i++ {
		since = append(since, float64(seen[i].UnixMicro()-written[i].UnixMicro())/1000) // clocks of two processes, but of one machine
		sinceCommit = append(sinceCommit, float64(seen[i].Sub(committed[i]).Microseconds())/1000)
	}
	slices.Sort(since)
	slices.Sort(sinceCommit)
	half, most := len(since)/2, len(since)*99/100
	return delay{since[half], since[most], sinceCommit[half], sinceCommit[most]}, nil
}

// written reads when the source wrote the ticks.
func (s *stage) written(ctx context.Context, above int64) (at []time.Time, err error) {
	err = testenv.Session(ctx, s.Source.SocketString(database), func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT at FROM ticks WHERE id > $1 ORDER BY id", above)
		if err != nil {
			return err
		}
		at, err = pgx.CollectRows(rows, pgx.RowTo[time.Time])
		return err
	})
	return at, err
}

// tickInto commits a row every so often and notes when it was told so.
func tickInto(ctx context.Context, committed []time.Time, above int64) func(*pgx.Conn) error {
	return func(c *pgx.Conn) error {
		tick := time.NewTicker(tickEvery)
		defer tick.Stop()
		for i := range committed {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
			}
			if _, err := c.Exec(ctx, "INSERT INTO ticks VALUES ($1)", above+int64(i)+1); err != nil {
				return err
			}
			committed[i] = time.Now()
		}
		return nil
	}
}

// look notes when each of the rows was first seen. They appear in the order of their commits.
func look(ctx context.Context, seen []time.Time, above int64) func(*pgx.Conn) error {
	return func(c *pgx.Conn) error {
		// Timers of the runtime may be late by a millisecond, which is what is measured.
		pause := unix.NsecToTimespec(lookEvery.Nanoseconds())
		for next := 0; next < len(seen); {
			var last int64
			if err := c.QueryRow(ctx, "SELECT coalesce(max(id), 0) FROM ticks").Scan(&last); err != nil {
				return err
			}
			for now := time.Now(); next < len(seen) && int64(next) < last-above; next++ {
				seen[next] = now
			}
			_ = unix.Nanosleep(&pause, nil) // an interrupted sleep is long enough
		}
		return nil
	}
}
