package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

// turnPatience bounds what one peer takes for one backlog.
const turnPatience = time.Hour

// stage is a lab whose source has one database, which all peers follow.
type stage struct {
	*lab
	scale float64
	mark  int64 // the last row of table marks
}

// turn is what the backlogs of one workload took, by peer and round.
type turn map[string][]cost

// applySettings keep work that one turn leaves behind out of the next, and let a native subscription that was just stopped go on
// at once instead of up to five seconds later.
var applySettings = map[string]string{"autovacuum": "off", "wal_retrieve_retry_interval": "100ms"}

// benchApply measures how fast backlogs of changes are applied, how late changes arrive, and the daemon's memory.
func benchApply(ctx context.Context, o options) (err error) {
	names := []string{"delay", "memory"}
	for _, w := range workloads {
		names = append(names, w.name)
	}
	wanted, err := o.wanted(names...)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, applySettings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s := &stage{lab: l, scale: o.scale}
	if err := s.setUp(ctx); err != nil {
		return err
	}
	describeMachine(ctx, l)
	say("SCALE=%g, %d rounds", o.scale, o.rounds)
	say("")
	say("backlogs applied")
	say("%-10s %-8s %5s %8s %10s %9s %11s %12s", "workload", "by", "round", "seconds", "per second", "CPU tool", "CPU source", "CPU destin.")
	turns := map[string]turn{}
	for round := range o.rounds {
		for _, w := range workloads {
			if !wanted(w.name) {
				continue
			}
			if turns[w.name] == nil {
				turns[w.name] = turn{}
			}
			if err := s.round(ctx, w, round, turns[w.name]); err != nil {
				return fmt.Errorf("%s, round %d: %w", w.name, round+1, err)
			}
		}
	}
	missed := reportSpeeds(turns, o.scale)
	if wanted("delay") {
		more, err := s.benchDelay(ctx, o.rounds)
		if err != nil {
			return fmt.Errorf("delay: %w", err)
		}
		missed += more
	}
	if wanted("memory") {
		more, err := s.benchGiantMemory(ctx)
		if err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		missed += more
	}
	if missed > 0 {
		say("%d bars missed", missed)
	}
	return nil
}

// setUp fills the source and has all peers follow it, then pauses them.
func (s *stage) setUp(ctx context.Context) error {
	if err := s.createBacklogTables(ctx); err != nil {
		return err
	}
	for _, p := range peers {
		if err := execute(ctx, s.Destination, "postgres", "CREATE DATABASE "+p.name); err != nil {
			return err
		}
		if err := p.create(ctx, s.lab); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := execute(ctx, s.Destination, p.name, "VACUUM (ANALYZE)"); err != nil {
			return err
		}
	}
	if err := execute(ctx, s.Source, database, "VACUUM (ANALYZE)"); err != nil {
		return err
	}
	return s.pauseAll(ctx)
}

func (s *stage) pauseAll(ctx context.Context) error {
	for _, p := range peers {
		if err := p.command(ctx, s.lab, p.pause...); err != nil {
			return err
		}
	}
	return await(ctx, s.Source, database, "SELECT NOT bool_or(active) FROM pg_replication_slots WHERE database = current_database()")
}

// round writes a backlog and has the peers apply it, one after the other, each round in another order.
func (s *stage) round(ctx context.Context, w workload, round int, t turn) error {
	if err := s.settle(ctx, w); err != nil {
		return err
	}
	if err := w.write(ctx, s); err != nil {
		return err
	}
	if err := s.writeMark(ctx); err != nil {
		return err
	}
	for i := range peers {
		p := peers[(i+round)%len(peers)]
		spent, err := s.take(ctx, p, w)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		t[p.name] = append(t[p.name], spent)
		say("%-10s %-8s %5d %8.2f %10.0f %9.2f %11.2f %12.2f", w.name, p.name, round+1, spent.wall,
			float64(w.units(s.scale))/spent.wall, spent.tool, spent.source, spent.destination)
	}
	return nil
}

// settle brings all peers to where the source is, and pauses them there: what they have confirmed, and what their slots would read
// again, is the same.
func (s *stage) settle(ctx context.Context, w workload) error {
	ctx, cancel := context.WithTimeoutCause(ctx, turnPatience, fmt.Errorf("not settled after %s", turnPatience))
	defer cancel()
	vacuum := "VACUUM (ANALYZE) " + strings.Join(append([]string{"marks"}, w.tables...), ", ")
	statements := []string{vacuum, "CHECKPOINT"} // a slot restarts at a record that comes with a checkpoint
	if w.prepare != nil {
		statements = append([]string{w.prepare(s.scale)}, statements...)
	}
	for _, sql := range statements {
		if err := execute(ctx, s.Source, database, sql); err != nil {
			return err
		}
	}
	var position string
	err := testenv.Session(ctx, s.Source.SocketString(database), func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT pg_current_wal_lsn()::text").Scan(&position)
	})
	if err != nil {
		return err
	}
	if err := s.writeMark(ctx); err != nil {
		return err
	}
	for _, p := range peers {
		if _, err := p.follow(ctx, s.lab, s.mark); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := execute(ctx, s.Destination, p.name, vacuum); err != nil {
			return err
		}
	}
	err = await(ctx, s.Source, database, fmt.Sprintf(
		"SELECT bool_and(confirmed_flush_lsn >= '%s') FROM pg_replication_slots WHERE database = current_database()", position))
	if err != nil {
		return err
	}
	return s.pauseAll(ctx)
}

func (s *stage) writeMark(ctx context.Context) error {
	s.mark++
	return execute(ctx, s.Source, database, fmt.Sprintf("INSERT INTO marks VALUES (%d)", s.mark))
}

// take has a peer apply what there is, proves both sides equal, and pauses it.
func (s *stage) take(ctx context.Context, p peer, w workload) (spent cost, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnPatience, fmt.Errorf("not done after %s", turnPatience))
	defer cancel()
	if err := s.checkpoint(ctx); err != nil {
		return spent, err
	}
	tool := 0
	if p.pid != nil {
		tool = p.pid(s.lab)
	}
	var elapsed time.Duration
	spent, err = s.spend(tool, func() (err error) {
		elapsed, err = p.follow(ctx, s.lab, s.mark)
		return err
	})
	if err != nil {
		return spent, err
	}
	if err := s.compare(ctx, p, w.tables); err != nil {
		return spent, err
	}
	spent.wall = elapsed.Seconds()
	return spent, p.command(ctx, s.lab, p.pause...)
}

// compare fails unless the tables have the same rows on both sides.
func (s *stage) compare(ctx context.Context, p peer, tables []string) error {
	tables = append([]string{"marks"}, tables...)
	var sides [2][]string
	for i, connString := range []string{s.Source.SocketString(database), s.Destination.SocketString(p.name)} {
		err := testenv.Session(ctx, connString, func(c *pgx.Conn) (err error) {
			sides[i], err = sums(ctx, c, tables)
			return err
		})
		if err != nil {
			return err
		}
	}
	if !slices.Equal(sides[0], sides[1]) {
		return fmt.Errorf("the result differs\n--- source\n%s\n--- destination\n%s", strings.Join(sides[0], "\n"), strings.Join(sides[1], "\n"))
	}
	return nil
}
