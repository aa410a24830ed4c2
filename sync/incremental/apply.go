package incremental

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgsyncd/sync/ledger"

	"github.com/jackc/pglogrepl"
)

// An idle stream moves the ledger's position only so often: each move is a transaction in the destination.
const (
	idleInterval = 10 * time.Second
	idleBytes    = 16 << 20
)

// The destination's tables are looked at again so often. What matters for correctness shows as a surprise at once; a trigger
// that was made ENABLE ALWAYS does not.
const rereadInterval = time.Minute

// applier takes events from the queue and makes them durable in the destination. Its state belongs to the goroutine of run; where
// the stream stands (seen, moved, and the position of dst) belongs to the crew's jobs while there are any.
type applier struct {
	stream *Stream
	cfg    Config
	dst    *session
	src    *source
	crew   *crew

	copied  map[string]pglogrepl.LSN
	targets map[*relation]*target
	read    time.Time // when targets was begun

	tx   *transaction // of the source, being assembled
	skip bool         // its changes are in the destination already
	open bool         // a transaction of the destination holds part of tx

	seen      pglogrepl.LSN // everything before is applied; the ledger may not say so yet
	moved     time.Time     // when the ledger's position moved
	early     early
	conflicts []Conflict // of the open transaction
	done      tally      // by the open transaction
}

func newApplier(s *Stream, dst *session, src *source, copied map[string]pglogrepl.LSN) *applier {
	a := &applier{stream: s, cfg: s.cfg, dst: dst, src: src, copied: copied, seen: dst.position.LSN, moved: time.Now()}
	a.crew = &crew{a: a, limit: s.cfg.Workers}
	a.reset()
	return a
}

// reset forgets everything that was read about the destination's tables. No job is under way.
func (a *applier) reset() {
	a.read = time.Now()
	a.targets = map[*relation]*target{}
	clear(a.dst.rows)
	for _, s := range a.crew.sessions {
		clear(s.rows)
	}
}

// run applies until ctx ends, a fault, or the position to stop at (errDrained).
func (a *applier) run(ctx context.Context) error {
	defer a.crew.close(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := a.early.prepare(ctx, a.dst); err != nil {
		return a.frameError(err)
	}
	a.publish(nil, tally{}) // a sign of life
	idle := time.NewTicker(time.Second)
	defer idle.Stop()
	for {
		events, err := a.next(ctx, idle.C)
		if err != nil {
			return err
		}
		b, err := a.assemble(ctx, events)
		if err != nil {
			return err
		}
		if a.crew.start(ctx, b) {
			continue
		}
		if err := a.crew.finish(ctx); err != nil {
			return err
		}
		if len(b.changes) > 0 || a.open {
			err = a.apply(ctx, b)
		} else {
			err = a.idle(ctx, b)
		}
		if err != nil {
			return err
		}
	}
}

// next waits for events. While jobs are under way, it takes no more of them than what makes another job, and more only when all
// are done: the later a batch begins, the more of its changes fold.
func (a *applier) next(ctx context.Context, idle <-chan time.Time) ([]event, error) {
	if !a.open && time.Since(a.read) >= rereadInterval {
		if err := a.crew.finish(ctx); err != nil {
			return nil, err
		}
		a.reset()
	}
	for !a.crew.idle() {
		events, err := a.crew.wait(ctx)
		if err != nil || len(events) > 0 {
			return events, err
		}
	}
	if err := a.drained(ctx); err != nil {
		return nil, err
	}
	a.src.queue.linger(ctx, a.cfg.Meter.Skew())
	return a.src.queue.take(ctx, idle)
}

// drained ends the stream once the position to stop at is reached; the ledger is brought up to it first, and then the destination's
// standbys are waited for, because the source is told to forget everything afterwards.
func (a *applier) drained(ctx context.Context) error {
	a.stream.progress.mu.Lock()
	stop := a.stream.progress.stop
	a.stream.progress.mu.Unlock()
	if stop == 0 || a.open || a.seen < stop {
		return nil
	}
	if a.dst.position.LSN < stop {
		if err := a.move(ctx, a.seen); err != nil {
			return err
		}
	}
	if a.stream.progress.read().Confirmed < stop {
		return nil
	}
	return errDrained
}

// idle moves positions when there was nothing to apply.
func (a *applier) idle(ctx context.Context, b *batch) error {
	if b.end > a.seen {
		a.seen = b.end
		a.publish(nil, tally{})
	}
	behind := a.seen - a.dst.position.LSN
	if behind > 0 && (b.reply || behind >= idleBytes || time.Since(a.moved) >= idleInterval) {
		return a.move(ctx, a.seen)
	}
	return nil
}

// move brings the ledger to a position before which there is nothing left to apply.
func (a *applier) move(ctx context.Context, to pglogrepl.LSN) error {
	p := a.dst.start(ctx)
	p.open()
	p.run(a.dst.advance, a.dst.fence(a.dst.position.LSN, to), 1, originFence)
	if err := p.wait(); err != nil {
		return a.frameError(err)
	}
	return a.commit(ctx, to, nil)
}

// apply performs a batch in one transaction of the destination: optimistically first, and if anything is not as expected,
// once more with care. The statements run in one pipeline. COMMIT is sent only when every result is in, or is part of it where the
// statements see to that themselves. No job is under way.
func (a *applier) apply(ctx context.Context, b *batch) error {
	defer a.cfg.Meter.apply(time.Now())
	resumed := a.open
	early := !resumed && a.early.takes(b)
	if early {
		if err := a.checkModifiers(ctx, b); err != nil {
			return err
		}
	}
	p := a.dst.start(ctx)
	switch {
	case resumed:
		p.run(a.dst.savepoint, nil, anyRows, originFrame)
	case early:
		a.early.begin(p, b)
	default:
		p.open()
	}
	a.open = !early
	var err error
	for _, s := range b.plan() {
		if err = a.send(ctx, p, b.changes, s); err != nil {
			break
		}
	}
	switch {
	case err != nil && early:
		p.run(a.dst.rollback, nil, anyRows, originFrame) // what was sent must not be committed
	case err != nil:
	case early:
		a.early.end(p)
	case b.end > 0:
		p.run(a.dst.advance, a.dst.fence(a.dst.position.LSN, b.end), 1, originFence)
	}
	if waited := p.wait(); err == nil {
		err = waited
	}
	var f *failure
	switch {
	case err == nil && early:
		a.done.count(b.changes)
		return a.ended(ctx, p.since, b.end, b)
	case err == nil:
		a.done.count(b.changes)
		if resumed && b.end == 0 {
			err = a.frame(ctx, a.dst.release)
		}
	case errors.As(err, &f) && f.origin >= 0 && f.surprising():
		a.cfg.Logger.Debug("batch is replayed row by row", "table", b.changes[f.origin].describe(), "cause", f.Error())
		err = a.replay(ctx, b, resumed)
	case errors.As(err, &f) && f.origin >= 0:
		err = a.changeError(&b.changes[f.origin], f)
	default:
		err = a.frameError(err)
	}
	if err != nil {
		return err
	}
	if err := a.checkModifiers(ctx, b); err != nil || b.end == 0 {
		return err
	}
	return a.commit(ctx, b.end, b)
}

// send queues the statements of a step: sets for what folds, row statements for the rest, and in the end the rows that go by
// COPY. The tables of a step are independent of each other, or there are only row statements.
func (a *applier) send(ctx context.Context, p *pipeline, changes []change, s step) error {
	rows, sets := s.rows, make([][]setOf, len(s.folds))
	for n, f := range s.folds {
		sets[n] = f.sets(everything)
		if p.sendSets(f, sets[n]) {
			continue
		}
		sets[n] = nil
		for i := s.from; i < s.to; i++ {
			if changes[i].target == f.t {
				rows = append(rows, i)
			}
		}
		slices.Sort(rows)
	}
	for _, i := range rows {
		if err := a.sendRow(p, &changes[i], i, quick); err != nil {
			return err
		}
	}
	for n, f := range s.folds {
		p.sendLoads(ctx, f, sets[n])
	}
	return nil
}

// sendRow queues the statement of one change.
func (a *applier) sendRow(p *pipeline, c *change, origin int, how care) error {
	if c.kind == kindTruncate {
		if len(c.listed) > 0 {
			p.run(p.s.statement(truncateSQL(c.listed, c.restart), nil), nil, anyRows, origin)
		}
		for _, sql := range c.deletes {
			p.run(p.s.statement(sql, nil), nil, anyRows, origin)
		}
		a.guest(p, c, origin)
		return nil
	}
	st, args, err := p.s.change(c.target, c.event, how)
	if err != nil {
		return err
	}
	want := int64(1)
	if c.kind == kindInsert && c.target.ordered {
		want = anyRows // a trigger may have decided otherwise
	}
	p.run(st, args, want, origin)
	return nil
}

// frame runs statements that must succeed.
func (a *applier) frame(ctx context.Context, statements ...*statement) error {
	p := a.dst.start(ctx)
	for _, st := range statements {
		p.run(st, nil, anyRows, originFrame)
	}
	return a.frameError(p.wait())
}

// frameError names what failed outside of changes.
func (a *applier) frameError(err error) error {
	var f *failure
	if errors.As(err, &f) {
		if f.origin == originFence && f.err == nil {
			return fmt.Errorf("task %s: %w", a.cfg.Task, ledger.ErrFenced)
		}
		if f.err != nil {
			err = f.err
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("apply: %w", err)
}

// commit ends the transaction that advances the ledger to position to.
func (a *applier) commit(ctx context.Context, to pglogrepl.LSN, b *batch) error {
	if len(a.conflicts) > 0 {
		if err := a.cfg.Report.Conflicts(ctx, a.conflicts); err != nil {
			return fmt.Errorf("record conflicts: %w", err)
		}
	}
	begun := time.Now()
	if err := a.dst.end(ctx, to); err != nil {
		return err
	}
	return a.ended(ctx, begun, to, b)
}

// ended notes that the transaction has been committed.
func (a *applier) ended(ctx context.Context, begun time.Time, to pglogrepl.LSN, b *batch) error {
	a.open = false
	a.committed(begun, to, b, a.done)
	a.conflicts, a.done = nil, tally{}
	return a.dst.forget(ctx)
}

// committed notes that the ledger is at position to, after a COMMIT that was begun then.
func (a *applier) committed(begun time.Time, to pglogrepl.LSN, b *batch, done tally) {
	a.moved = time.Now()
	a.dst.position.LSN, a.seen = to, to
	if b != nil {
		a.cfg.Meter.commit(begun, done.bytes, to)
	}
	a.publish(b, done)
}

// publish tells how far the stream has come, and what a committed batch brought.
func (a *applier) publish(b *batch, done tally) {
	done.report(a.cfg.Report) // first: who waits for the position relies on Changes
	caughtUp := a.src.queue.empty()
	p := a.stream.progress.update(func(p *Progress) {
		p.Applied, p.Confirmed = a.seen, a.dst.position.LSN
		p.Received = max(p.Received, p.Applied)
		p.CaughtUp = caughtUp
		if b == nil {
			if caughtUp {
				p.Delay = 0
			}
			return
		}
		p.Transactions += int64(b.commits)
		p.Rows += done.rows
		p.Conflicts += int64(len(a.conflicts))
		if b.last != nil {
			p.CommitTime = b.last.time
			p.Delay = delay(b.last.time, time.Now(), a.cfg.Meter.Skew())
		}
	})
	if b != nil && caughtUp {
		signal(a.stream.progress.settled)
	}
	a.cfg.Report.Progress(p)
}
