package fullcopy

import (
	"context"
	"sync/atomic"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// builder makes indexes, constraints and statistics of units as soon as their rows are in.
type builder struct {
	*objects
	plan     *schema.Plan
	group    *errgroup.Group
	sessions chan *pgx.Conn // one element per session allowed; nil where it is not open yet

	done  atomic.Int64
	total int
}

func newBuilder(o *objects, plan *schema.Plan, group *errgroup.Group) *builder {
	b := &builder{objects: o, plan: plan, group: group, sessions: make(chan *pgx.Conn, o.cfg.IndexWorkers)}
	b.total = len(o.wanted(plan.Indexes)) + len(o.wanted(plan.Constraints))
	for range o.cfg.IndexWorkers {
		b.sessions <- nil
	}
	return b
}

// close ends the sessions; no unit may be under work.
func (b *builder) close() {
	for range cap(b.sessions) {
		closeConn(<-b.sessions)
	}
}

// start finishes a unit in the background, in the group.
func (b *builder) start(ctx context.Context, u *unit) {
	b.group.Go(func() error { return b.finish(ctx, u) })
}

// finish builds the unit's indexes in parallel, then its constraints, because adding one locks its table against all others;
// then it gathers statistics.
func (b *builder) finish(ctx context.Context, u *unit) error {
	b.tables.indexing(u)
	for _, entries := range [][]schema.Entry{b.plan.Indexes, b.plan.Constraints} {
		g, ctx := errgroup.WithContext(ctx)
		for _, e := range b.wanted(entries) {
			if !u.owns(e.Table) {
				continue
			}
			g.Go(func() error {
				return b.with(ctx, func(conn *pgx.Conn) error {
					err := b.create(ctx, conn, e)
					b.cfg.Report.Phase(PhaseIndexes, int(b.done.Add(1)), b.total)
					return err
				})
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	err := b.with(ctx, func(conn *pgx.Conn) error {
		key := "STATISTICS OF " + u.name.String()
		if b.marks.has(key) {
			return nil
		}
		return b.once(ctx, conn, key, "ANALYZE "+u.name.String())
	})
	if err != nil {
		return err
	}
	b.tables.finished(u)
	return nil
}

// with lends a session to f. A session that failed is replaced when it is needed again.
func (b *builder) with(ctx context.Context, f func(*pgx.Conn) error) (err error) {
	var conn *pgx.Conn
	select {
	case conn = <-b.sessions:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { b.sessions <- conn }()
	if conn == nil {
		fresh, err := b.connectDestination(ctx)
		if err != nil {
			return err
		}
		conn = fresh
	}
	err = f(conn)
	if conn.IsClosed() {
		closeConn(conn)
		conn = nil
	}
	return err
}

// owns tells whether a table is the unit's or one of its partitions; indexes are made under the names of the source.
func (u *unit) owns(table schema.Name) bool {
	for _, f := range u.feeds {
		if f.source.Name == table {
			return true
		}
	}
	return false
}
