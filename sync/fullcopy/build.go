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
	group    *errgroup.Group
	sessions chan *pgx.Conn // one element per session allowed; nil where it is not open yet

	indexes, constraints map[schema.Name][]schema.Entry // by table

	done  atomic.Int64
	total int
}

func newBuilder(o *objects, plan *schema.Plan, group *errgroup.Group) *builder {
	b := &builder{objects: o, group: group, sessions: make(chan *pgx.Conn, o.cfg.IndexWorkers)}
	byTable := func(entries []schema.Entry) map[schema.Name][]schema.Entry {
		m := map[schema.Name][]schema.Entry{}
		for _, e := range o.wanted(entries) {
			m[e.Table] = append(m[e.Table], e)
			b.total++
		}
		return m
	}
	b.indexes, b.constraints = byTable(plan.Indexes), byTable(plan.Constraints)
	for range o.cfg.IndexWorkers {
		b.sessions <- nil
	}
	return b
}

// close ends the sessions; no unit may be under work.
func (b *builder) close(ctx context.Context) {
	for range cap(b.sessions) {
		closeConn(ctx, <-b.sessions)
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
	for _, entries := range []map[schema.Name][]schema.Entry{b.indexes, b.constraints} {
		g, ctx := errgroup.WithContext(ctx)
		for _, f := range u.feeds {
			// Indexes are made under the names of the source, whatever table the rows went to.
			for _, e := range entries[f.source.Name] {
				g.Go(func() error { return b.build(ctx, e) })
			}
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

func (b *builder) build(ctx context.Context, e schema.Entry) error {
	return b.with(ctx, func(conn *pgx.Conn) error {
		err := b.create(ctx, conn, e)
		b.cfg.Report.Phase(PhaseIndexes, int(b.done.Add(1)), b.total)
		return err
	})
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
		closeConn(ctx, conn)
		conn = nil
	}
	return err
}
