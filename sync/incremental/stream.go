package incremental

import (
	"context"
	"errors"
	"sync/atomic"

	"pgsyncd/sync/group"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// Stream carries one task's changes from its slot into its destination, once. The methods other than Run may be called at
// any time from any goroutine.
type Stream struct {
	cfg      Config
	progress *progress
	counters *counters
	kick     chan struct{} // capacity 1: somebody waits for a position
	turn     chan struct{} // capacity 1: somebody holds the stream
	live     atomic.Pointer[live]
	started  atomic.Bool
}

// New checks the configuration; nothing is connected before Run.
func New(cfg Config) (*Stream, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Stream{cfg: cfg, progress: newProgress(), counters: newCounters(), kick: make(chan struct{}, 1), turn: make(chan struct{}, 1)}, nil
}

// Run streams until ctx ends, a fault occurs, or the position given to StopAt is durable in the destination and confirmed
// to the source; only the last returns nil. After a fault a new Stream goes on from the destination's position. Errors
// that implement Permanent() bool and return true come again in every further attempt.
func (s *Stream) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("stream: Run was called before")
	}
	err := s.run(ctx, s.cfg)
	if refused := (*refusedError)(nil); errors.As(err, &refused) {
		// The source can keep transactions until they have committed, as it does for older clients.
		s.cfg.Logger.Warn("transactions in progress cannot be kept, so the source keeps them", "path", refused.path, "free_bytes", refused.free, "cause", refused.why)
		cfg := s.cfg
		cfg.SpillDir = ""
		err = s.run(ctx, cfg)
	}
	return err
}

// run streams with one configuration.
func (s *Stream) run(ctx context.Context, cfg Config) error {
	dst, err := openDestination(ctx, cfg)
	if err != nil {
		return err
	}
	defer dst.close(ctx)
	at, err := locate(ctx, cfg, dst)
	if err != nil {
		return err
	}
	copied, err := ledger.Copied(ctx, dst.conn, cfg.Task)
	if err != nil {
		return err
	}
	sources, err := ledger.Sources(ctx, dst.conn, cfg.Task)
	if err != nil {
		return err
	}
	s.counters.remember(sources)
	publication, rows, err := ledger.Publication(ctx, dst.conn, cfg.Task)
	if err != nil {
		return err
	}
	src, err := openSource(ctx, cfg, dst, newWatcher(cfg, publication, rows, copied, sources), s.counters, s.progress)
	if err != nil {
		return at.blame(err)
	}
	defer src.close(ctx)
	told, err := src.confirmed(ctx, cfg.Slot)
	if err != nil {
		return err
	}
	if err := at.settle(ctx, cfg, dst, told); err != nil {
		return err
	}
	others, err := openStandbys(ctx, cfg, dst.version, s.progress, told, dst.position.LSN)
	if err != nil {
		return err
	}
	defer others.close(ctx)
	defer s.serve(src.queue, dst.position.Fence)()
	s.progress.update(func(p *Progress) {
		p.Received, p.Applied, p.Confirmed = dst.position.LSN, dst.position.LSN, dst.position.LSN
	})
	a := newApplier(s, dst, src, copied)
	g, running := group.WithContext(ctx)
	g.Go(func() error { return src.feed(running) })
	g.Go(func() error { return src.heartbeat(running, cfg, s.kick, s.progress) })
	g.Go(func() error { return others.watch(running) })
	g.Go(func() error { return a.run(running) })
	err = g.Wait()
	switch {
	case errors.Is(err, errDrained):
		return src.finish(ctx)
	case ctx.Err() != nil:
		// The slot should be free as soon as Run returns; if the source does not play along, closing the connection will do.
		if !src.overtaken {
			_ = src.link.finish(s.progress.read())
		}
		return context.Cause(ctx)
	}
	return err
}

// StopAt makes Run return once everything that committed before lsn is durable in the destination and confirmed.
func (s *Stream) StopAt(lsn pglogrepl.LSN) {
	s.progress.mu.Lock()
	s.progress.stop = lsn
	s.progress.mu.Unlock()
	signal(s.kick)
}

// Applied is the position before which everything is durable in the destination; 0 before Run has connected.
func (s *Stream) Applied() pglogrepl.LSN { return s.progress.read().Applied }

// WaitApplied returns when Applied has reached lsn, or with ctx's cause. On an idle source it has something written, so
// that positions move.
func (s *Stream) WaitApplied(ctx context.Context, lsn pglogrepl.LSN) error {
	if s.Applied() < lsn {
		signal(s.kick)
	}
	return s.progress.wait(ctx, lsn)
}

// Changes is a number that grows whenever a change of the table or of one of its partitions arrives, and again when it is
// committed in the destination, before Applied passes it. Two equal readings enclose a time in which neither happened.
func (s *Stream) Changes(table schema.Name) int64 { return s.counters.sum(table) }
