package incremental

import (
	"context"
	"time"

	"github.com/jackc/pglogrepl"
)

const blockSize = 64 << 10

// intake puts what decoders make of messages into the queue, whichever way the messages came. It belongs to the goroutine that
// reads from the source.
type intake struct {
	queue    *queue
	progress *progress
	meter    *Meter // nil where what comes is not counted

	fed     pglogrepl.LSN // everything that committed before is in the queue, and between transactions nothing else
	inside  bool          // a transaction is being fed
	begun   time.Time     // when that one committed, by the source's clock; zero: not known yet
	commits int64         // transactions that were fed
	last    time.Time     // when the last of them committed, by the source's clock
	rest    []byte        // of the block that messages are copied to
}

// sink returns what takes a decoder's events.
func (in *intake) sink(ctx context.Context) func(event) error {
	return func(e event) error {
		switch e.kind {
		case kindBegin:
			in.inside, in.begun = true, e.tx.time
		case kindCommit:
			in.progress.update(func(p *Progress) { p.Received = max(p.Received, e.tx.end) })
		default:
		}
		if err := in.queue.push(ctx, e); err != nil {
			return err
		}
		if e.kind == kindCommit {
			in.inside, in.fed = false, max(in.fed, e.tx.end)
			in.commits, in.last = in.commits+1, e.tx.time
		}
		return nil
	}
}

// position feeds that everything which committed before end has been fed.
func (in *intake) position(ctx context.Context, end pglogrepl.LSN, reply bool) error {
	in.progress.update(func(p *Progress) { p.Received = max(p.Received, end) })
	if !in.inside {
		in.fed = max(in.fed, end)
	}
	return in.queue.push(ctx, event{kind: kindPosition, lsn: end, reply: reply, size: eventSize})
}

// old reports whether the transaction that is being fed committed a while ago.
func (in *intake) old() bool {
	return in.inside && !in.begun.IsZero() && time.Since(in.begun)+in.meter.Skew() >= calmAge
}

// keep copies a message out of a read buffer. Small ones share blocks.
func (in *intake) keep(data []byte) []byte {
	in.meter.receive(len(data))
	if len(data) > blockSize/4 {
		return append([]byte(nil), data...)
	}
	if len(in.rest) < len(data) {
		in.rest = make([]byte, blockSize)
	}
	n := copy(in.rest, data)
	kept := in.rest[:n:n]
	in.rest = in.rest[n:]
	return kept
}
