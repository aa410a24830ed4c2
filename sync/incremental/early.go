package incremental

import (
	"context"
	"errors"
	"fmt"
)

// earlyBytes is the size up to which the disk takes most of a batch's time.
const earlyBytes = 64 << 10

// early has small batches seen as soon as they are committed, and durable a moment later: an empty transaction that is flushed follows
// them, and whatever lies before its commit in the WAL is flushed with it. Only then anybody is told of them.
type early struct {
	able    bool // the destination can do that
	pending bool // the open transaction will not be durable when it is committed
}

const (
	earlySQL = `SET LOCAL synchronous_commit = off`
	// Without a record of its own a commit would not be flushed.
	flushSQL = `SELECT pg_catalog.pg_logical_emit_message(true, 'pgsyncd', '')`
)

// prepare finds out whether the destination lets this role write messages to its WAL (9.6 or newer).
func (e *early) prepare(ctx context.Context, s *session) error {
	if s.version < 90600 {
		return nil
	}
	p := s.start(ctx)
	p.run(s.statement(flushSQL, nil), nil, anyRows, originFrame)
	err := p.wait()
	if f := (*failure)(nil); errors.As(err, &f) {
		return nil
	}
	e.able = err == nil
	return err
}

// begin begins the transaction of a batch, if that is small and whole, and moves the position at once: that locks the task's row as well.
func (e *early) begin(p *pipeline, b *batch) bool {
	if e.pending = e.able && b.bytes <= earlyBytes && b.end > 0; e.pending {
		p.run(p.s.begin, nil, anyRows, originFrame)
		p.run(p.s.statement(earlySQL, nil), nil, anyRows, originFrame)
		p.run(p.s.advance, p.s.fence(p.s.position.LSN, b.end), 1, originFence)
	}
	return e.pending
}

// settle returns when the transaction that was just committed is durable.
func (e *early) settle(ctx context.Context, s *session) error {
	if !e.pending {
		return nil
	}
	e.pending = false
	p := s.start(ctx)
	p.run(s.statement(flushSQL, nil), nil, anyRows, originFrame)
	if err := p.wait(); err != nil {
		return fmt.Errorf("make commits durable: %w", err)
	}
	return nil
}
