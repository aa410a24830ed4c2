package incremental

import (
	"context"
	"errors"
	"slices"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/group"

	"github.com/jackc/pglogrepl"
)

// overlapPart is the part of BatchBytes from which on a batch may be overlapped with others.
const overlapPart = 8

// aheadBatches times BatchBytes are all that jobs hold together, however many sessions there may be.
const aheadBatches = 8

// What a job meets because others are under way, or somebody else is at work in the destination: SQLSTATEs lock_not_available and
// deadlock_detected. The next attempt has the tables to itself, as far as this task is concerned.
const (
	lockPatience     = "1s"
	lockNotAvailable = "55P03"
	deadlockDetected = "40P01"
)

// crew applies batches on several connections at once. Each batch is one transaction of the destination, and they commit in the
// order of the source: a job applies ahead what no job before it touches, waits until those have committed, and does the rest.
// A job that meets a surprise takes all that come after it with it, and their batches are applied again one by one.
type crew struct {
	a        *applier
	limit    int        // sessions; fewer than 2: no batch becomes a job
	sessions []*session // each is connected when there is a batch for it and none of the others is free
	free     []*session
	jobs     []*job // under way, in the order of the source
	bytes    int    // of their batches
}

// job is a batch that a session of the crew applies.
type job struct {
	b      *batch
	on     *session
	tables map[uint32]*fold // what it touches, by OID in the destination; nil: it is not known by which keys
	from   pglogrepl.LSN    // the ledger's position when its turn comes
	before *job             // its turn comes when that one is done; nil: it has come
	done   chan struct{}
	err    error // once done is closed
}

// Why a job's batch has to be applied again.
var (
	errSurprised = errors.New("the batch needs another way")
	errAbandoned = errors.New("a batch before has not been committed")
)

// idle reports whether no job is under way.
func (c *crew) idle() bool { return len(c.jobs) == 0 }

// reach is the position that the ledger will have when all jobs are done, and the one before which nothing will be left to apply.
func (c *crew) reach() (held, seen pglogrepl.LSN) {
	if n := len(c.jobs); n > 0 {
		return c.jobs[n-1].b.end, c.jobs[n-1].b.end
	}
	return c.a.dst.position.LSN, c.a.seen
}

// start makes a job of a batch, if it may be overlapped with others and is large enough for that to pay.
func (c *crew) start(ctx context.Context, b *batch) bool {
	if c.limit < 2 || c.a.open || b.end == 0 || b.bytes < c.a.cfg.BatchBytes/overlapPart || !b.overlaps() || !c.open(ctx) {
		return false
	}
	j := &job{b: b, on: c.free[0], tables: map[uint32]*fold{}, done: make(chan struct{})}
	j.from, _ = c.reach()
	if n := len(c.jobs); n > 0 {
		j.before = c.jobs[n-1]
	}
	j.divide(c.jobs)
	c.free, c.jobs, c.bytes = c.free[1:], append(c.jobs, j), c.bytes+b.bytes
	go func() {
		defer close(j.done)
		j.err = group.Contain(func() error { return c.perform(ctx, j) })
	}()
	return true
}

// overlaps reports whether nothing in a batch concerns whole tables or depends on statements being the source's.
func (b *batch) overlaps() bool {
	steps := b.plan()
	return len(steps) == 1 && !slices.ContainsFunc(steps[0].rows, func(i int) bool {
		return b.changes[i].kind == kindTruncate || b.changes[i].target.ordered
	})
}

// room reports whether there may be another job.
func (c *crew) room() bool {
	return c.bytes < aheadBatches*c.a.cfg.BatchBytes && (len(c.free) > 0 || len(c.sessions) < c.limit)
}

// open makes sure that a session is free, and connects one if need be. Where that is not possible, the crew is as large as it is.
func (c *crew) open(ctx context.Context) bool {
	if len(c.free) > 0 {
		return true
	}
	s, err := c.connect(ctx)
	if err != nil {
		c.limit = len(c.sessions)
		c.a.cfg.Logger.Info("changes are applied by fewer connections", "connections", max(c.limit, 1), "cause", err)
		return false
	}
	c.sessions, c.free = append(c.sessions, s), append(c.free, s)
	return true
}

func (c *crew) connect(ctx context.Context) (*session, error) {
	s, err := openSession(ctx, c.a.cfg)
	if err != nil {
		return nil, err
	}
	s.position.Fence = c.a.dst.position.Fence
	if c.a.src.verbatim {
		err = endpoint.Verbatim(ctx, s.pg)
	}
	if err == nil {
		err = s.frame(ctx)
	}
	if err == nil {
		_, err = s.conn.Exec(ctx, `SET lock_timeout = '`+lockPatience+`'`)
	}
	if err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

// divide marks what has to wait until the jobs before are done: changes of rows that they change too, and all changes of a table
// where that cannot be told.
func (j *job) divide(before []*job) {
	s := j.b.plan()[0]
	for _, i := range s.rows {
		j.tables[j.b.changes[i].target.oid] = nil
	}
	for _, f := range s.folds {
		j.tables[f.t.oid] = f
		f.late = false
		for i := range f.nets {
			f.nets[i].late = false
		}
		for _, b := range before {
			other, touched := b.tables[f.t.oid]
			switch {
			case !touched:
			case other == nil || other.t != f.t || !f.t.distinct():
				f.late = true
			default:
				f.meet(other)
			}
		}
	}
}

// distinct reports whether two rows are different whenever the texts of their addressing values are, or no row is addressed at all.
func (t *target) distinct() bool {
	for _, c := range t.key {
		if from := t.relation.columns[c].typeOID; from != t.columns[c].typeOID || !oneText[from] {
			return false
		}
	}
	return !t.whole
}

// oneText are types of which equal values have one and the same text, in databases' default collations.
var oneText = map[uint32]bool{
	oidInt2: true, oidInt4: true, oidInt8: true, oidOID: true, oidText: true, oidVarchar: true, oidBool: true, oidBytea: true,
	oidUUID: true, oidDate: true, oidTime: true, oidTimeTZ: true,
}

// meet marks the rows that another fold has too.
func (f *fold) meet(other *fold) {
	if len(f.by) == 0 || f.onlyNew() && other.onlyNew() {
		return
	}
	f.index()
	other.index()
	for i := range f.nets {
		n := &f.nets[i]
		n.late = n.late || other.holds(n)
	}
}

// perform applies a job's batch.
func (c *crew) perform(ctx context.Context, j *job) error {
	err := c.ahead(ctx, j)
	if j.before != nil {
		select {
		case <-j.before.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if j.before.err != nil && err == nil {
			err = errAbandoned
		}
		j.before = nil
	}
	if err == nil {
		err = c.inTurn(ctx, j)
	}
	if err == nil {
		return c.commit(ctx, j)
	}
	err = c.cause(j, err)
	if errors.Is(err, errSurprised) || errors.Is(err, errAbandoned) {
		p := j.on.start(ctx)
		p.run(j.on.rollback, nil, anyRows, originFrame)
		if err := p.wait(); err != nil {
			return c.a.frameError(err)
		}
	}
	return err
}

func (c *crew) commit(ctx context.Context, j *job) error {
	begun := time.Now()
	if err := j.on.end(ctx, j.b.end); err != nil {
		return err
	}
	c.a.cfg.Meter.apply(begun)
	var done tally
	done.count(j.b.changes)
	c.a.committed(begun, j.b.end, j.b, done)
	return j.on.forget(ctx)
}

// ahead begins the transaction and applies what no job before touches.
func (c *crew) ahead(ctx context.Context, j *job) error {
	defer c.a.cfg.Meter.apply(time.Now())
	p := j.on.start(ctx)
	p.run(j.on.begin, nil, anyRows, originFrame)
	sent := true
	for _, f := range j.b.plan()[0].folds {
		if sent = sent && p.sendFold(ctx, f, func(n *netChange) bool { return !f.late && !n.late }); !sent {
			break
		}
	}
	return answered(p, sent)
}

// inTurn applies the rest, when everything before has been committed, and moves the position.
func (c *crew) inTurn(ctx context.Context, j *job) error {
	defer c.a.cfg.Meter.apply(time.Now())
	p := j.on.start(ctx)
	sent := true
	s := j.b.plan()[0]
	for _, f := range s.folds {
		if sent = sent && p.sendFold(ctx, f, func(n *netChange) bool { return f.late || n.late }); !sent {
			break
		}
	}
	for _, i := range s.rows {
		if err := c.a.sendRow(p, &j.b.changes[i], i, quick); err != nil {
			return errors.Join(err, p.wait())
		}
	}
	p.run(j.on.advance, j.on.fence(j.from, j.b.end), 1, originFence)
	if err := answered(p, sent); err != nil {
		return err
	}
	return c.a.checkModifiers(ctx, j.b)
}

// answered waits for a pipeline; what could not be sent calls for another way.
func answered(p *pipeline, sent bool) error {
	if err := p.wait(); err != nil || sent {
		return err
	}
	return errSurprised
}

// cause says what a failure means for the job.
func (c *crew) cause(j *job, err error) error {
	var f *failure
	switch {
	case !errors.As(err, &f):
		return err
	case f.origin < 0:
		return c.a.frameError(err)
	case f.surprising() || endpoint.SQLState(f.err) == lockNotAvailable || endpoint.SQLState(f.err) == deadlockDetected:
		c.a.cfg.Logger.Debug("batch is applied again, alone", "table", j.b.changes[f.origin].describe(), "cause", f.Error())
		return errSurprised
	}
	return c.a.changeError(&j.b.changes[f.origin], f)
}

// wait returns events for another job, if there is room for it; nil when the first job is done.
func (c *crew) wait(ctx context.Context) ([]event, error) {
	q := c.a.src.queue
	for {
		var plenty <-chan struct{}
		if c.room() {
			if events := q.plentiful(); len(events) > 0 {
				return events, nil
			}
			plenty = q.plenty
		}
		select {
		case <-plenty:
		case <-c.jobs[0].done:
			return nil, c.settle(ctx)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// finish waits until all jobs are done.
func (c *crew) finish(ctx context.Context) error {
	for !c.idle() {
		<-c.jobs[0].done
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle takes note of the first job's end. If that was no success, its batch and those of all jobs after it are applied again.
func (c *crew) settle(ctx context.Context) error {
	if c.jobs[0].err == nil {
		c.free, c.bytes, c.jobs = append(c.free, c.jobs[0].on), c.bytes-c.jobs[0].b.bytes, c.jobs[1:]
		return nil
	}
	jobs := c.jobs
	for _, j := range jobs {
		<-j.done
		if !errors.Is(j.err, errSurprised) && !errors.Is(j.err, errAbandoned) {
			return j.err
		}
	}
	c.jobs, c.bytes, c.free = nil, 0, slices.Clone(c.sessions)
	for _, j := range jobs {
		if err := c.a.apply(ctx, j.b); err != nil {
			return err
		}
	}
	return nil
}

// close awaits the jobs, whose context has ended, and closes the sessions.
func (c *crew) close(ctx context.Context) {
	for _, j := range c.jobs {
		<-j.done
	}
	for _, s := range c.sessions {
		s.close(ctx)
	}
}
