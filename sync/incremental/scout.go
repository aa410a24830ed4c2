package incremental

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgsyncd/sync/endpoint"

	"github.com/jackc/pglogrepl"
	"golang.org/x/sync/errgroup"
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
func scout(ctx context.Context, cfg Config, dst *session, copied map[string]pglogrepl.LSN) ([]mark, error) {
	var marks []mark
	for _, lsn := range slices.Compact(slices.Sorted(maps.Values(copied))) {
		if lsn > dst.position.LSN {
			marks = append(marks, mark{lsn: lsn})
		}
	}
	if marks == nil {
		return nil, nil
	}
	conn, err := cfg.Source.ConnectReplication(ctx, "pgsyncd "+cfg.Task+" stream")
	if err != nil {
		return nil, err
	}
	defer func() { closeRaw(ctx, conn) }()
	if err := sameSystem(ctx, conn, dst.position); err != nil {
		return nil, err
	}
	if err := endpoint.Verbatim(ctx, conn, dst.pg); err != nil {
		return nil, err
	}
	l, err := acquire(ctx, conn, cfg.Slot, dst.position.LSN, &skimmer{})
	if err != nil {
		return nil, err
	}
	defer l.close()
	p := newProgress()
	p.update(func(p *Progress) {
		p.Received, p.Applied, p.Confirmed = dst.position.LSN, dst.position.LSN, dst.position.LSN
	})
	q := newQueue(cfg.BatchBytes)
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return l.receive(running, q, p) })
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
