package fullcopy

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/group"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// fewBytes is the size up to which a unit's indexes are made in one transaction: commits take longer than the work then.
const fewBytes = 1 << 20

// builder makes indexes, constraints and statistics of units as soon as their rows are in.
type builder struct {
	*objects
	group    *group.Group
	sessions *sessions

	indexes, constraints map[schema.Name][]schema.Entry // by table
	works                map[uint32]schema.IndexWork

	copying atomic.Bool // rows of some units are still to come
	done    atomic.Int64
	total   int
}

func newBuilder(o *objects, plan *schema.Plan, works map[uint32]schema.IndexWork, g *group.Group) *builder {
	b := &builder{objects: o, group: g, sessions: newSessions(o.cfg.IndexWorkers), works: works}
	byTable := func(entries []schema.Entry) map[schema.Name][]schema.Entry {
		m := map[schema.Name][]schema.Entry{}
		for _, e := range o.wanted(entries) {
			m[e.Table] = append(m[e.Table], e)
			b.total++
		}
		return m
	}
	b.indexes, b.constraints = byTable(plan.Indexes), byTable(plan.Constraints)
	b.copying.Store(true)
	return b
}

// close ends the sessions; no unit may be under work.
func (b *builder) close(ctx context.Context) { b.sessions.close(ctx) }

// start finishes a unit in the background, in the group.
func (b *builder) start(ctx context.Context, u *unit) {
	b.group.Go(func() error { return b.finish(ctx, u) })
}

// finish gathers statistics and builds the unit's indexes in parallel, those behind constraints included, then its constraints.
// Statistics come last where they are also gathered of an index.
func (b *builder) finish(ctx context.Context, u *unit) error {
	b.tables.indexing(u)
	if done, err := b.finishAtOnce(ctx, u); done || err != nil {
		return err
	}
	constraints := map[schema.Name][]schema.Entry{}
	var jobs []indexJob
	for _, f := range u.feeds {
		name := f.source.Name
		// Entries are known by their tables in the source, whatever table the rows went to.
		own := slices.Clone(b.constraints[name])
		constraints[name] = own
		for i := range own {
			if b.preparable(&own[i]) {
				jobs = append(jobs, indexJob{b.works[own[i].OID].Weight, func(ctx context.Context, conn *pgx.Conn) error { return b.prepare(ctx, conn, &own[i]) }})
			}
		}
		for _, e := range b.indexes[name] {
			jobs = append(jobs, indexJob{b.works[e.OID].Weight, func(ctx context.Context, conn *pgx.Conn) error { return b.build(ctx, conn, e) }})
		}
	}
	slices.SortStableFunc(jobs, func(a, b indexJob) int { return cmp.Compare(b.weight, a.weight) })
	g, building := group.WithContext(ctx)
	enqueue := func() {
		for _, job := range jobs {
			place := b.sessions.ask(job.weight)
			g.Go(func() error {
				return b.with(building, place, func(conn *pgx.Conn) error { return job.run(building, conn) })
			})
		}
	}
	expressions := b.expressions(u)
	if expressions {
		enqueue()
	} else if err := b.gather(ctx, u, enqueue); err != nil {
		return err
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g, building = group.WithContext(ctx)
	for _, entries := range constraints {
		// One after the other, because adding a constraint locks its table against all others.
		g.Go(func() error {
			return b.with(building, b.sessions.ask(urgent), func(conn *pgx.Conn) error { return b.build(building, conn, entries...) })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if expressions {
		if err := b.gather(ctx, u, func() {}); err != nil {
			return err
		}
	}
	b.tables.finished(u)
	return nil
}

// gather gathers statistics, then calls then before it gives its session back: what that asks for takes part in who gets the session
// next, where else lighter work that has waited would come first and leave the heaviest to the end.
func (b *builder) gather(ctx context.Context, u *unit, then func()) error {
	return b.with(ctx, b.sessions.ask(urgent), func(conn *pgx.Conn) error {
		err := b.analyze(ctx, conn, u)
		if err == nil {
			then()
		}
		return err
	})
}

// indexJob is the building of one index.
type indexJob struct {
	weight int64
	run    func(context.Context, *pgx.Conn) error
}

// urgent is the weight of short work that other work waits for.
const urgent = math.MaxInt64

func (b *builder) expressions(u *unit) bool {
	for _, f := range u.feeds {
		if slices.ContainsFunc(b.indexes[f.source.Name], func(e schema.Entry) bool { return b.works[e.OID].Expression }) {
			return true
		}
	}
	return false
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
	err = b.with(ctx, b.sessions.ask(urgent), func(conn *pgx.Conn) (err error) {
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

// preparable tells whether a constraint's index can be made on its own and is not there yet. One that is there is used.
func (b *builder) preparable(e *schema.Entry) bool {
	switch {
	case e.UsingIndex == "" || b.obstacle(*e) != "" || b.marks.has(e.Key()) || b.marks.has(existedPrefix+e.Key()):
		return false
	case b.marks.has(indexPrefix + e.Key()):
		e.Definition = e.UsingIndex
		return false
	}
	// Where objects may exist, the constraint may be there, and its index with it.
	return b.cfg.ExistingObjects != ExistingUse && b.cfg.ExistingObjects != ExistingAppend
}

// prepare makes a constraint's index on its own, so that it can be built along with the table's other indexes, and has the
// constraint use it. Where that is refused the constraint will have to make its index itself, and say what is wrong.
func (b *builder) prepare(ctx context.Context, conn *pgx.Conn, e *schema.Entry) error {
	err := b.employ(ctx, conn)
	if err == nil {
		err = b.once(ctx, conn, indexPrefix+e.Key(), e.IndexDefinition)
	}
	switch {
	case err == nil:
		e.Definition = e.UsingIndex
	case !concernsTable(err):
		return fmt.Errorf("create the index of %s %s: %w", e.Desc, progressOf(*e).Name, err)
	}
	return nil
}

func (b *builder) build(ctx context.Context, conn *pgx.Conn, entries ...schema.Entry) error {
	if err := b.employ(ctx, conn); err != nil {
		return err
	}
	for _, e := range entries {
		if err := b.create(ctx, conn, e); err != nil {
			return err
		}
		b.progress(1)
	}
	return nil
}

// employ lets a session use the server's parallel workers only where processors would be idle otherwise. Between them and their
// leader all that is sorted goes through files, which costs a fifth more than a sort in one process's memory.
func (b *builder) employ(ctx context.Context, conn *pgx.Conn) error {
	sql := "RESET max_parallel_maintenance_workers"
	switch {
	case b.destinationVersion < 110000:
		return nil
	case b.copying.Load() || b.sessions.wanted() >= max(b.cfg.IndexWorkers, 2):
		sql = "SET max_parallel_maintenance_workers = 0"
	}
	if _, err := conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
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

// with lends a session to f when its turn comes. A session that failed is replaced when it is needed again.
func (b *builder) with(ctx context.Context, place *request, f func(*pgx.Conn) error) error {
	conn, err := b.sessions.wait(ctx, place)
	if err != nil {
		return err
	}
	defer func() { b.sessions.give(conn) }()
	if conn == nil {
		if conn, err = b.connectDestination(ctx); err != nil {
			return err
		}
	}
	err = f(conn)
	if conn.IsClosed() {
		endpoint.CloseConn(ctx, conn)
		conn = nil
	}
	return err
}
