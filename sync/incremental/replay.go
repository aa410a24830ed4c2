package incremental

import (
	"context"
	"errors"
	"fmt"
)

// chunk is how many changes a replay tries at once before it goes one by one.
const chunk = 64

// replay applies a batch again, in the order of the source, row by row, with a savepoint around each step: the exact path.
// What the source did, statement by statement, is possible in the destination in the same order, whatever keys are swapped
// and whatever is unique; what is not possible is a conflict, and is found here. The destination's tables are looked at
// anew, because their change may be what the surprise was.
func (a *applier) replay(ctx context.Context, b *batch, resumed bool) error {
	var err error
	switch {
	case resumed:
		err = a.frame(ctx, a.dst.undo, a.dst.release)
	case a.open:
		err = a.frame(ctx, a.dst.rollback)
	}
	if err != nil {
		return err
	}
	a.reset()
	a.stream.progress.update(func(p *Progress) { p.Replays++ })
	if !resumed {
		p := a.dst.start(ctx)
		p.open()
		a.open = true
		if err := p.wait(); err != nil {
			return a.frameError(err)
		}
	}
	for rest := b.changes; len(rest) > 0; {
		n := min(chunk, len(rest))
		if err := a.replayChunk(ctx, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if b.end == 0 {
		return nil
	}
	p := a.dst.start(ctx)
	p.run(a.dst.advance, a.dst.fence(a.dst.position.LSN, b.end), 1, originFence)
	return a.frameError(p.wait())
}

// replayChunk tries some changes together and, if one of them fails, each by itself.
func (a *applier) replayChunk(ctx context.Context, changes []change) error {
	for i := range changes {
		if err := a.retarget(ctx, &changes[i]); err != nil {
			return err
		}
	}
	p := a.dst.start(ctx)
	p.run(a.dst.savepoint, nil, anyRows, originFrame)
	for i := range changes {
		if err := a.sendRow(p, &changes[i], i, careful); err != nil {
			return errors.Join(err, p.wait())
		}
	}
	err := p.wait()
	var f *failure
	if err == nil {
		a.done.count(changes)
		return a.frame(ctx, a.dst.release)
	}
	if !errors.As(err, &f) || f.origin < 0 {
		return a.frameError(err)
	}
	if !f.surprising() {
		return a.changeError(&changes[f.origin], f)
	}
	if err := a.frame(ctx, a.dst.undo, a.dst.release); err != nil {
		return err
	}
	for i := range changes {
		if err := a.replayOne(ctx, &changes[i]); err != nil {
			return err
		}
	}
	return nil
}

// retarget points a change to what is known of its tables now.
func (a *applier) retarget(ctx context.Context, c *change) (err error) {
	if c.kind != kindTruncate {
		c.target, err = a.target(ctx, c.relation, c.tx)
		return err
	}
	again, ok, err := a.admit(ctx, c.event)
	if ok {
		*c = again
	}
	return err
}

// replayOne applies one change or settles its conflict.
func (a *applier) replayOne(ctx context.Context, c *change) error {
	f, err := a.try(ctx, c)
	switch {
	case err != nil:
		return err
	case f == nil:
		a.done.count([]change{*c})
		return nil
	case c.kind == kindTruncate:
		return a.empty(ctx, c, f)
	case f.err == nil && f.rows == 0 && c.target.ordered:
		// A trigger may have kept the row as it was.
		if row, err := a.find(ctx, c); err != nil || row != nil {
			return err
		}
	}
	return a.settle(ctx, c, f)
}

// try applies one change and returns why that is not possible; the transaction is then as before.
func (a *applier) try(ctx context.Context, c *change) (*failure, error) {
	p := a.dst.start(ctx)
	p.run(a.dst.savepoint, nil, anyRows, originFrame)
	err := a.sendRow(p, c, 0, careful)
	if waited := p.wait(); err == nil {
		err = waited
	}
	if err == nil {
		return nil, a.frame(ctx, a.dst.release)
	}
	var f *failure
	if !errors.As(err, &f) || f.origin < 0 {
		return nil, a.frameError(err)
	}
	if !f.surprising() {
		return nil, a.changeError(c, f)
	}
	return f, a.frame(ctx, a.dst.undo, a.dst.release)
}

// changeError says which change could not be applied.
func (a *applier) changeError(c *change, f *failure) error {
	e := &ChangeError{Table: c.describe(), Operation: string(c.kind), LSN: c.tx.at, Cause: f.err}
	if c.target != nil {
		e.Key = string(c.keyJSON())
	}
	if e.Cause == nil {
		e.Cause = fmt.Errorf("%d rows of the destination match", f.rows)
	}
	return e
}
