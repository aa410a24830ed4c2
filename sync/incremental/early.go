package incremental

import (
	"context"
	"errors"
	"slices"

	"pgsyncd/sync/ledger"
)

// earlyBytes is the size up to which the disk, and the way to the destination and back, take most of a batch's time.
const earlyBytes = 64 << 10

// early has small batches seen as soon as they arrive in the destination, and durable a moment later. Such a batch is one write: its
// statements, which the server commits by itself because none of them succeeds unless it affects as many rows as it should, and
// an empty transaction that is flushed. Whatever lies before its commit in the WAL is flushed with it, and only then anybody is told of the
// batch.
type early struct {
	advance *statement // moves the position, and has the transaction committed without a flush
	flush   *statement // nil: the destination cannot do that
}

const (
	earlySQL = `WITH p AS (` + ledger.AdvanceSQL + ` RETURNING pg_catalog.set_config('synchronous_commit', 'off', true)) SELECT 1 / count(*) FROM p`
	// Without a record of its own a commit would not be flushed.
	flushSQL = `SELECT pg_catalog.pg_logical_emit_message(true, 'pgsyncd', '')`
)

// prepare finds out whether the destination lets this role write messages to its WAL (9.6 or newer).
func (e *early) prepare(ctx context.Context, s *session) error {
	if s.version < 90600 {
		return nil
	}
	flush, err := s.prepare(ctx, flushSQL)
	if err != nil {
		return err
	}
	p := s.start(ctx)
	p.run(flush, nil, anyRows, originFrame)
	err = p.wait()
	if f := (*failure)(nil); errors.As(err, &f) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.advance, err = s.prepare(ctx, earlySQL); err != nil {
		return err
	}
	e.advance.strict, e.flush = true, flush
	return nil
}

// takes reports whether a batch is small and whole, and its statements are such as can be made to fail by themselves.
func (e *early) takes(b *batch) bool {
	if e.flush == nil || b.bytes > earlyBytes || b.end == 0 {
		return false
	}
	for _, s := range b.plan() {
		if slices.ContainsFunc(s.folds, func(f *fold) bool { return f.count >= bulkFrom }) {
			return false // rows may go by COPY
		}
	}
	return !slices.ContainsFunc(b.changes, func(c change) bool {
		return c.kind == kindTruncate || c.target.ordered || c.kind == kindUpdate && c.target.overriding() != ""
	})
}

// begin begins the transaction of a batch, and moves the position at once: that locks the task's row as well.
func (e *early) begin(p *pipeline, b *batch) {
	p.sure = true
	p.run(e.advance, p.s.fence(p.s.position.LSN, b.end), anyRows, originFence)
}

// end ends it.
func (e *early) end(p *pipeline) {
	p.sync()
	p.sure = false
	p.run(e.flush, nil, anyRows, originFrame)
}
