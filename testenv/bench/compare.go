package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// Names of the ways to compare that bars refer to.
const (
	streaming = "stream"
	textHash  = "hashtext"
)

// compareBars are what a comparison of values by pgsyncd may take at most, as a share of what others take in the same round.
var compareBars = []bar{{streaming, 0.6, 0.4}, {textHash, 0.7, 0.5}}

// comparison is one way to prove that the tables of both sides are equal. How a table is described on one side is enough but for ours.
type comparison struct {
	name, what string
	describe   func(ctx context.Context, conn *pgx.Conn, table string) (string, error) // nil: by the daemon
}

var comparisons = []comparison{
	{"count", "count(*)", described("SELECT count(*)::text FROM %s t")},
	{textHash, "sum(hashtextextended(t::text, 0))", described("SELECT sum(hashtextextended(t::text, 0))::text FROM %s t")},
	{"md5", "sum of 64 bits of md5(t::text)", described("SELECT sum(('x' || substr(md5(t::text), 1, 16))::bit(64)::bigint)::text FROM %s t")},
	{streaming, "COPY in binary form to one program that adds up a hash of every row", streamed},
	{ours, "COMPARE SYNC TASK … VALUES until finished, all options at their defaults", nil},
}

// benchCompare measures comparisons of two equal databases. Each way reads both sides at once, one table after the other.
func benchCompare(ctx context.Context, o options) (err error) {
	var names []string
	for _, c := range comparisons {
		names = append(names, c.name)
	}
	wanted, err := o.wanted(names...)
	if err != nil {
		return err
	}
	field := slices.DeleteFunc(slices.Clone(comparisons), func(c comparison) bool { return !wanted(c.name) })
	l, err := newLab(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := createData(ctx, l.Source, database, o.scale); err != nil {
		return err
	}
	if err := l.clear(ctx, database); err != nil {
		return err
	}
	if err := l.synchronize(ctx, database); err != nil {
		return err
	}
	if err := execute(ctx, l.Destination, database, "VACUUM (FREEZE, ANALYZE)"); err != nil {
		return err
	}
	heap, err := heapBytes(ctx, l.Source, database)
	if err != nil {
		return err
	}
	describeMachine(ctx, l)
	say("%.0f rows, %.2f GB of tables on each side; %d rounds; seconds", o.scale*(accounts+orders), float64(heap)/1e9, o.rounds)
	for _, c := range field { // everything into the buffers, as far as it fits
		if _, err := l.prove(ctx, c); err != nil {
			return err
		}
	}
	costs, err := takeTurns(field, o.rounds, func(c comparison) string { return c.name }, func(c comparison) (cost, error) {
		if err := l.checkpoint(ctx); err != nil {
			return cost{}, err
		}
		return l.prove(ctx, c)
	})
	if err != nil {
		return err
	}
	say("")
	for _, c := range field {
		var walls []float64
		for _, x := range costs[c.name] {
			walls = append(walls, x.wall)
		}
		say("%-15s median %6.2f s   %s", c.name, median(walls), c.what)
	}
	if missed := reportShares(compareBars, costs); missed > 0 {
		say("%d bars missed", missed)
	}
	return nil
}

// prove compares the tables of both sides in one way.
func (l *lab) prove(ctx context.Context, c comparison) (spent cost, err error) {
	if c.describe == nil {
		return l.spend(l.Daemon.PID(), func() error { return l.compareValues(ctx) })
	}
	var own float64 // without what it takes to measure
	spent, err = l.spend(0, func() error {
		own = -cpuOfSelf()
		defer func() { own += cpuOfSelf() }()
		return l.compareTables(ctx, c.describe)
	})
	spent.tool = own
	return spent, err
}

// compareValues has the daemon do it.
func (l *lab) compareValues(ctx context.Context) error {
	return testenv.Session(ctx, l.Daemon.SocketString(), func(conn *pgx.Conn) error {
		var run int64
		if err := conn.QueryRow(ctx, "COMPARE SYNC TASK bench VALUES", pgx.QueryExecModeSimpleProtocol).Scan(&run); err != nil {
			return err
		}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			var state string
			var equal int
			if err := conn.QueryRow(ctx, `SELECT state, (SELECT count(*) FROM sync_compare_tables t WHERE t.run_id = r.run_id AND result = 'equal')
				FROM sync_compares r WHERE run_id = $1`, run).Scan(&state, &equal); err != nil {
				return err
			}
			if state != "queued" && state != "running" {
				if state != "finished" || equal != 2 {
					return fmt.Errorf("the run is %s, %d tables are equal", state, equal)
				}
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
}

// compareTables describes each table on both sides at once.
func (l *lab) compareTables(ctx context.Context, describe func(context.Context, *pgx.Conn, string) (string, error)) error {
	return testenv.Session(ctx, l.Source.SocketString(database), func(source *pgx.Conn) error {
		return testenv.Session(ctx, l.Destination.SocketString(database), func(destination *pgx.Conn) error {
			for _, table := range []string{"accounts", "orders"} {
				var texts [2]string
				g, ctx := errgroup.WithContext(ctx)
				for i, conn := range []*pgx.Conn{source, destination} {
					g.Go(func() (err error) {
						texts[i], err = describe(ctx, conn, table)
						return err
					})
				}
				if err := g.Wait(); err != nil {
					return err
				}
				if texts[0] != texts[1] {
					return fmt.Errorf("%s differs: %s, %s", table, texts[0], texts[1])
				}
			}
			return nil
		})
	})
}

func described(sql string) func(context.Context, *pgx.Conn, string) (string, error) {
	return func(ctx context.Context, conn *pgx.Conn, table string) (text string, err error) {
		err = conn.QueryRow(ctx, fmt.Sprintf(sql, table)).Scan(&text)
		return text, err
	}
}

var seed = maphash.MakeSeed()

// rowHashes adds up hashes of what is written to it: the rows of a binary COPY, whose first piece has its header.
type rowHashes struct {
	sum  uint64
	rows int64
	past bool // the header
}

// Write takes what pgconn writes: rows whole, as PostgreSQL sends them.
func (h *rowHashes) Write(p []byte) (int, error) {
	row := p
	if !h.past {
		const signature, flags = 11, 4
		header := signature + flags + 4
		row, h.past = row[header+int(binary.BigEndian.Uint32(row[signature+flags:])):], true
	}
	if len(row) > 0 {
		h.sum += maphash.Bytes(seed, row)
		h.rows++
	}
	return len(p), nil
}

func streamed(ctx context.Context, conn *pgx.Conn, table string) (string, error) {
	h := &rowHashes{}
	if _, err := conn.PgConn().CopyTo(ctx, h, "COPY "+table+" TO STDOUT (FORMAT binary)"); err != nil {
		return "", err
	}
	return strconv.FormatInt(h.rows, 10) + " " + strconv.FormatUint(h.sum, 10), nil
}
