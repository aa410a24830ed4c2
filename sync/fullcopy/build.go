package fullcopy

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// fewBytes is the size up to which a unit's indexes are made in one transaction: commits take longer than the work then.
const fewBytes = 1 << 20

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

// finish builds the unit's indexes in parallel, those behind constraints included, then its constraints; then it gathers
// statistics.
func (b *builder) finish(ctx context.Context, u *unit) error {
	b.tables.indexing(u)
	if done, err := b.finishAtOnce(ctx, u); done || err != nil {
		return err
	}
	constraints := map[schema.Name][]schema.Entry{}
	g, building := errgroup.WithContext(ctx)
	for _, f := range u.feeds {
		name := f.source.Name
		// Entries are known by their tables in the source, whatever table the rows went to.
		own := slices.Clone(b.constraints[name])
		constraints[name] = own
		for i := range own {
			g.Go(func() error { return b.prepare(building, &own[i]) })
		}
		for _, e := range b.indexes[name] {
			g.Go(func() error {
				return b.with(building, func(conn *pgx.Conn) error { return b.build(building, conn, e) })
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g, building = errgroup.WithContext(ctx)
	for _, entries := range constraints {
		// One after the other, because adding a constraint locks its table against all others.
		g.Go(func() error {
			return b.with(building, func(conn *pgx.Conn) error { return b.build(building, conn, entries...) })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := b.with(ctx, func(conn *pgx.Conn) error { return b.analyze(ctx, conn, u) }); err != nil {
		return err
	}
	b.tables.finished(u)
	return nil
}

// finishAtOnce does all that for a unit of few rows in one transaction, if nothing of it is refused.
func (b *builder) finishAtOnce(ctx context.Context, u *unit) (done bool, err error) {
	var bytes int64
	var entries []schema.Entry
	for _, f := range u.feeds {
		bytes += f.source.Bytes
		entries = slices.Concat(entries, b.indexes[f.source.Name], b.constraints[f.source.Name])
	}
	if bytes > fewBytes || len(entries) > batch {
		return false, nil
	}
	err = b.with(ctx, func(conn *pgx.Conn) (err error) {
		done, err = b.createTogether(ctx, conn, entries, statistics(u))
		return err
	})
	if !done || err != nil {
		return false, err
	}
	b.progress(len(entries))
	b.tables.finished(u)
	return true, nil
}

// indexPrefix marks the index of a constraint that is made before the constraint.
const indexPrefix = "INDEX OF "

// prepare makes a constraint's index on its own, so that it can be built along with the table's other indexes, and has the
// constraint use it. Where that is refused the constraint will have to make its index itself, and say what is wrong.
func (b *builder) prepare(ctx context.Context, e *schema.Entry) error {
	key := indexPrefix + e.Key()
	switch {
	case e.UsingIndex == "" || b.obstacle(*e) != "" || b.marks.has(e.Key()) || b.marks.has(existedPrefix+e.Key()):
		return nil
	case b.marks.has(key):
		e.Definition = e.UsingIndex
		return nil
	case b.cfg.ExistingObjects == ExistingUse || b.cfg.ExistingObjects == ExistingAppend:
		return nil // the constraint may be there, and its index with it
	}
	return b.with(ctx, func(conn *pgx.Conn) error {
		err := b.once(ctx, conn, key, e.IndexDefinition)
		switch {
		case err == nil:
			e.Definition = e.UsingIndex
		case !concernsTable(err):
			return fmt.Errorf("create the index of %s %s: %w", e.Desc, progressOf(*e).Name, err)
		}
		return nil
	})
}

func (b *builder) build(ctx context.Context, conn *pgx.Conn, entries ...schema.Entry) error {
	for _, e := range entries {
		if err := b.create(ctx, conn, e); err != nil {
			return err
		}
		b.progress(1)
	}
	return nil
}

func (b *builder) progress(n int) {
	b.cfg.Report.Phase(PhaseIndexes, int(b.done.Add(int64(n))), b.total)
}

// statistics gathers those of a unit's table. The mark says to other tasks that this one is done with the table.
func statistics(u *unit) step { return step{statisticsKey(u.name), "ANALYZE " + u.name.String()} }

// analyze gathers statistics. There are values that a server stores but cannot analyze; rows do not depend on it.
func (b *builder) analyze(ctx context.Context, conn *pgx.Conn, u *unit) error {
	s := statistics(u)
	if b.marks.has(s.key) {
		return nil
	}
	err := b.once(ctx, conn, s.key, s.sql)
	if err != nil && concernsTable(err) {
		b.log.Warn("the destination cannot gather statistics", "table", u.name.String(), "error", err)
		return b.once(ctx, conn, s.key, "")
	}
	return err
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
