package incremental

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/group"
	"pgsyncd/sync/ledger"

	"github.com/jackc/pglogrepl"
)

// skimmer decodes commits only.
type skimmer struct{ testDecoding }

func (s *skimmer) passed(pglogrepl.LSN) {}

func (s *skimmer) decode(_ context.Context, at pglogrepl.LSN, data []byte, out func(event) error) error {
	in := text{data}
	if !in.skip("COMMIT ") {
		return nil
	}
	xid, _, err := parseCommit(string(in.rest))
	if err != nil {
		return permanentf("decode commit of test_decoding at %s: %w", at, err)
	}
	return out(event{kind: kindCommit, size: eventSize, tx: &transaction{end: at, xid: xid}})
}

// scout reads ahead, without confirming anything, as far as tables were copied beyond the stream's position, which is the case
// only after a copy was interrupted. It notes the last transaction before the position of each copy.
func scout(ctx context.Context, cfg Config, at ledger.Position, verbatim bool, copied map[string]pglogrepl.LSN) ([]mark, error) {
	var marks []mark
	for _, lsn := range slices.Compact(slices.Sorted(maps.Values(copied))) {
		if lsn > at.LSN {
			marks = append(marks, mark{lsn: lsn})
		}
	}
	if marks == nil {
		return nil, nil
	}
	conn, err := connectSender(ctx, cfg, at, verbatim)
	if err != nil {
		return nil, err
	}
	defer func() { endpoint.Close(ctx, conn) }()
	p := newProgress()
	p.update(func(p *Progress) { p.Received, p.Applied = at.LSN, at.LSN }) // standbys of the destination may lack at
	q := newQueue(cfg.BatchBytes)
	l, err := acquire(ctx, conn, cfg.Slot, at.LSN, &skimmer{}, &intake{queue: q, progress: p, fed: at.LSN})
	if err != nil {
		return nil, err
	}
	defer l.close()
	g, running := group.WithContext(ctx)
	g.Go(func() error { return l.receive(running, func() bool { return false }) })
	g.Go(func() error { return l.report(running, p) })
	g.Go(func() error { return mind(running, q, l, marks) })
	if err := g.Wait(); !errors.Is(err, errDrained) {
		return nil, fmt.Errorf("read ahead to %s: %w", marks[len(marks)-1].lsn, err)
	}
	_ = l.finish(p.read()) // the slot is waited for anyway
	return marks, nil
}

// mind fills in the marks and returns errDrained when everything before the last has been seen.
func mind(ctx context.Context, q *queue, l *link, marks []mark) error {
	ask := time.NewTicker(confirmDelay)
	defer ask.Stop()
	last := marks[len(marks)-1].lsn
	for {
		events, err := q.take(ctx, ask.C)
		if err != nil {
			return err
		}
		if events == nil {
			signal(l.urgent) // for a keepalive
		}
		for _, e := range events {
			if e.kind == kindPosition {
				if e.lsn >= last {
					return errDrained
				}
				continue
			}
			if e.tx.end > last {
				return errDrained
			}
			for i := range marks {
				if e.tx.end <= marks[i].lsn {
					marks[i].xid = e.tx.xid
				}
			}
		}
	}
}
