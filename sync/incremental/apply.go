package incremental

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

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

// applier takes events from the queue and makes them durable in the destination. Its state belongs to the goroutine of run.
type applier struct {
	stream *Stream
	cfg    Config
	dst    *session
	src    *source

	copied  map[string]pglogrepl.LSN
	targets map[*relation]*target
	rows    map[*target]map[string]rowStatement
	args    [][]byte // scratch

	read time.Time // when targets was begun

	tx   *transaction // of the source, being assembled
	skip bool         // its changes are in the destination already
	open bool         // a transaction of the destination holds part of tx

	seen      pglogrepl.LSN // everything before is applied; the ledger may not say so yet
	moved     time.Time     // when the ledger's position moved
	conflicts []Conflict    // of the open transaction
	done      tally         // by the open transaction
}

// batch is what one round applies: whole transactions, or a piece of one that is too large.
type batch struct {
	changes []change
	end     pglogrepl.LSN // position after the last whole transaction; 0: it ends inside one
	commits int
	last    *transaction // that committed
	reply   bool         // the source waits for a confirmation
}

// change is an event that concerns the destination.
type change struct {
	*event
	target    *target
	truncated []*target // by TRUNCATE, all of them
	listed    []*target // those whose table in the destination is truncated, one for each such table
	deletes   []string  // statements for the partitions that the destination does not have
}

func newApplier(s *Stream, dst *session, src *source, copied map[string]pglogrepl.LSN) *applier {
	a := &applier{stream: s, cfg: s.cfg, dst: dst, src: src, copied: copied, seen: dst.position.LSN, moved: time.Now()}
	a.reset()
	return a
}

// reset forgets everything that was read about the destination's tables.
func (a *applier) reset() {
	a.read = time.Now()
	a.targets = map[*relation]*target{}
	a.rows = map[*target]map[string]rowStatement{}
}

// run applies until ctx ends, a fault, or the position to stop at (errDrained).
func (a *applier) run(ctx context.Context) error {
	a.publish(nil) // a sign of life
	idle := time.NewTicker(time.Second)
	defer idle.Stop()
	for {
		if err := a.drained(ctx); err != nil {
			return err
		}
		if !a.open && time.Since(a.read) >= rereadInterval {
			a.reset()
		}
		events, err := a.src.queue.take(ctx, idle.C)
		if err != nil {
			return err
		}
		b, err := a.assemble(ctx, events)
		if err != nil {
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

// drained ends the stream once the position to stop at is reached; the ledger is brought up to it first.
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
	return errDrained
}

// assemble sorts out what has to be applied.
func (a *applier) assemble(ctx context.Context, events []event) (*batch, error) {
	b := &batch{changes: make([]change, 0, len(events))}
	for i := range events {
		e := &events[i]
		switch e.kind {
		case kindBegin:
			// Commit records do not overlap: one that starts before a position has ended there.
			a.tx, a.skip = e.tx, e.tx.start < a.dst.position.LSN
		case kindCommit:
			if a.skip && e.tx.end > a.dst.position.LSN {
				return nil, permanentf("transaction at %s ends at %s, beyond the destination's position %s within it",
					e.tx.start, e.tx.end, a.dst.position.LSN)
			}
			b.commits++
			b.last, b.end = e.tx, max(b.end, e.tx.end, a.seen)
			a.tx = nil
		case kindPosition:
			b.end, b.reply = max(b.end, e.lsn, a.seen), b.reply || e.reply
		default:
			if a.skip {
				continue
			}
			e.tx = a.tx
			c, ok, err := a.admit(ctx, e)
			if err != nil {
				return nil, err
			}
			if ok {
				b.changes = append(b.changes, c)
			}
		}
	}
	if a.tx != nil {
		b.end = 0
	}
	return b, nil
}

// admit finds the targets of a change, and leaves out those whose copy already shows it.
func (a *applier) admit(ctx context.Context, e *event) (change, bool, error) {
	c := change{event: e}
	if e.kind != kindTruncate {
		if after, _ := a.copiedAt(e.relation.name); e.relation.unreadable != "" && e.tx.start < after {
			return c, false, nil
		}
		t, err := a.target(ctx, e.relation, e.tx)
		if err != nil || t == nil || e.tx.start < t.after {
			return c, false, err
		}
		if e.kind == kindInsert {
			err = t.allSent(e)
		}
		c.target = t
		return c, err == nil, err
	}
	err := a.admitTruncate(ctx, &c)
	return c, len(c.truncated) > 0, err
}

// idle moves positions when there was nothing to apply.
func (a *applier) idle(ctx context.Context, b *batch) error {
	if b.end > a.seen {
		a.seen = b.end
		a.publish(nil)
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
// once more with care. The statements run in one pipeline, and COMMIT is sent only when every result is in.
func (a *applier) apply(ctx context.Context, b *batch) error {
	defer a.cfg.Meter.apply(time.Now())
	resumed := a.open
	p := a.dst.start(ctx)
	if resumed {
		p.run(a.dst.savepoint, nil, anyRows, originFrame)
	} else {
		p.open()
	}
	a.open = true
	steps := plan(b.changes)
	var err error
	if f := bulk(steps); f != nil {
		if err = p.wait(); err == nil {
			err = a.load(ctx, f)
		}
		p = a.dst.start(ctx)
	} else {
		err = a.send(p, b, steps)
	}
	if b.end > 0 && err == nil {
		p.run(a.dst.advance, a.dst.fence(a.dst.position.LSN, b.end), 1, originFence)
	}
	if waited := p.wait(); err == nil {
		err = waited
	}
	var f *failure
	switch {
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

// send queues the statements of a batch: set statements for what folds, row statements for the rest.
func (a *applier) send(p *pipeline, b *batch, steps []step) error {
	for _, s := range steps {
		rows := s.rows
		for _, f := range s.order {
			if s.folds[f.t] == nil || a.sendFold(p, f) {
				continue
			}
			for i := s.from; i < s.to; i++ {
				if b.changes[i].target == f.t {
					rows = append(rows, i)
				}
			}
			slices.Sort(rows)
		}
		for _, i := range rows {
			if err := a.sendRow(p, &b.changes[i], i, quick); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendRow queues the statement of one change.
func (a *applier) sendRow(p *pipeline, c *change, origin int, how care) error {
	if c.kind == kindTruncate {
		if len(c.listed) > 0 {
			p.run(a.dst.statement(truncateSQL(c.listed, c.restart), nil), nil, anyRows, origin)
		}
		for _, sql := range c.deletes {
			p.run(a.dst.statement(sql, nil), nil, anyRows, origin)
		}
		a.guest(p, c, origin)
		return nil
	}
	st, args, err := a.statement(c.target, c.event, how)
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

// commit ends the transaction that advances the ledger to position to. When the answer is lost the outcome is unknown; the
// next owner reads it from the ledger.
func (a *applier) commit(ctx context.Context, to pglogrepl.LSN, b *batch) error {
	if len(a.conflicts) > 0 {
		if err := a.cfg.Report.Conflicts(ctx, a.conflicts); err != nil {
			return fmt.Errorf("record conflicts: %w", err)
		}
	}
	begun := time.Now()
	result := a.dst.pg.ExecPrepared(ctx, a.dst.commit.name, nil, nil, nil).Read()
	if result.Err != nil {
		return fmt.Errorf("commit up to %s: %w", to, result.Err)
	}
	if tag := result.CommandTag.String(); tag != "COMMIT" {
		return fmt.Errorf("commit up to %s: the destination answered %s", to, tag)
	}
	a.open, a.moved = false, time.Now()
	a.dst.position.LSN, a.seen = to, to
	if b != nil {
		a.cfg.Meter.commit(begun, a.done.bytes, to)
	}
	a.publish(b)
	a.conflicts, a.done = nil, tally{}
	forgotten, err := a.dst.forget(ctx)
	if forgotten {
		a.reset()
	}
	return err
}

// publish tells how far the stream has come, and what a committed batch brought.
func (a *applier) publish(b *batch) {
	if b != nil {
		a.done.report(a.cfg.Report) // first: who waits for the position relies on Changes
	}
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
		p.Rows += a.done.rows
		p.Conflicts += int64(len(a.conflicts))
		if b.last != nil {
			p.CommitTime = b.last.time
			p.Delay = delay(b.last.time, time.Now(), a.cfg.Meter.Skew())
		}
	})
	a.cfg.Report.Progress(p)
}

// tally counts changes by table.
type tally struct {
	rows   int64
	bytes  int // of the messages that brought them
	tables map[*tableCounter]*tableTally
}

type tableTally struct {
	name                                 schema.Name
	inserts, updates, deletes, truncates int64
}

func (t *tally) count(changes []change) {
	for i := range changes {
		c := &changes[i]
		t.rows++
		t.bytes += c.wire()
		if c.kind == kindTruncate {
			for _, target := range c.truncated {
				t.of(target.relation).truncates++
			}
			continue
		}
		n := t.of(c.relation)
		switch c.kind {
		case kindInsert:
			n.inserts++
		case kindUpdate:
			n.updates++
		default:
			n.deletes++
		}
	}
}

func (t *tally) of(r *relation) *tableTally {
	n := t.tables[r.counter]
	if n == nil {
		n = &tableTally{name: r.name}
		if t.tables == nil {
			t.tables = map[*tableCounter]*tableTally{}
		}
		t.tables[r.counter] = n
	}
	return n
}

func (t *tally) report(to Reporter) {
	for counter, n := range t.tables {
		counter.applied.Add(n.inserts + n.updates + n.deletes + n.truncates)
		to.Table(n.name, n.inserts, n.updates, n.deletes, n.truncates)
	}
}
