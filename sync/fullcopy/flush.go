package fullcopy

import (
	"context"
	"sync/atomic"

	"pgsyncd/sync/endpoint"

	"github.com/jackc/pgx/v5"
)

// flushEvery is after how many bytes of rows the destination is reminded of its log.
const flushEvery = 2 << 20

// flusher keeps the destination's log on disk close behind the rows. COPY FROM writes its pages through a ring of few buffers, and none
// of them before the log that describes it. Left to itself, the server's writer of the log wakes up five times a second; by then
// ring and log buffers are long full, and every session that copies stands still until its share is on disk. A commit that waits for nothing wakes
// that writer as soon as there is a megabyte for it. A message in the log is the least that has such a commit: it touches no table, and
// who decodes the log passes over messages that are not his.
type flusher struct {
	*job
	moved atomic.Int64
	due   chan struct{} // capacity 1
	done  chan struct{}
}

func newFlusher(j *job) *flusher {
	return &flusher{job: j, due: make(chan struct{}, 1), done: make(chan struct{})}
}

// add notes that n bytes of rows are passed on.
func (f *flusher) add(n int) {
	if now := f.moved.Add(int64(n)); now/flushEvery == (now-int64(n))/flushEvery {
		return
	}
	select {
	case f.due <- struct{}{}:
	default: // one more is as good as one
	}
}

// stop ends run. It is called once.
func (f *flusher) stop() { close(f.done) }

// run does no more than help: where the server refuses, everything goes on without.
func (f *flusher) run(ctx context.Context) error {
	if f.destinationVersion < 90600 {
		return nil
	}
	var conn *pgx.Conn
	defer func() { endpoint.CloseConn(ctx, conn) }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.done:
			return nil
		case <-f.due:
		}
		var err error
		if conn == nil { // few rows need none
			conn, err = f.cfg.Destination.Connect(ctx, f.cfg.application())
		}
		if err == nil {
			_, err = conn.Exec(ctx, "SELECT pg_catalog.pg_logical_emit_message(false, 'pgsyncd', '')")
		}
		if err != nil {
			if ctx.Err() == nil {
				f.log.Debug("the destination is not reminded of its log", "error", err)
			}
			return nil
		}
	}
}
