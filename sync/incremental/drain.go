package incremental

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/group"
	"pgsyncd/sync/ledger"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

// Drain says when and how a backlog is read through a copy of the slot. A walsender sends every change by itself, which costs the
// source about twice and the receiver about four times what the function does that returns changes as rows. But that function
// decodes all that it returns before the first row, and begins where the slot keeps WAL from.
type Drain struct {
	Above   int64         // default 8 MiB; a backlog of so much WAL is worth it. Negative: none is
	After   time.Duration // default 2 s; the end of the WAL is looked at when a transaction comes so late
	Changes int           // default 200,000; asked for at once, fewer at first, and more where much would be read again
}

const (
	defaultDrainAbove   = 8 << 20
	defaultDrainAfter   = 2 * time.Second
	defaultDrainChanges = 200_000

	drainRest  = 8       // this part of Drain.Above is left to the walsender in any case
	drainSpan  = 1 << 30 // bytes of WAL after which a drain begins anew: while it lasts, the slot keeps them
	drainLook  = 5       // times Drain.After: until the end of the WAL is looked at again
	drainPause = 30      // likewise, until a drain is tried again that failed, or had better not been
	drainGiant = 4       // times what was asked for: there is a transaction that the walsender had better send
)

func (d Drain) withDefaults() Drain {
	if d.Above == 0 {
		d.Above = defaultDrainAbove
	}
	if d.After == 0 {
		d.After = defaultDrainAfter
	}
	if d.Changes == 0 {
		d.Changes = defaultDrainChanges
	}
	return d
}

var (
	errLate      = errors.New("what comes is old")
	errOvertaken = errors.New("the walsender would send again what is there")
)

// feed fills the queue until ctx ends or there is a fault: from the walsender, and while that is far behind, from a copy of the
// slot. The walsender holds the slot meanwhile and is told what is durable.
func (s *source) feed(ctx context.Context) error {
	for {
		g, linked := group.WithContext(ctx)
		g.Go(func() error { return s.link.report(linked, s.in.progress) })
		g.Go(func() error { return s.read(linked) })
		if err := g.Wait(); ctx.Err() != nil || !errors.Is(err, errOvertaken) {
			return err
		}
		if err := s.relink(ctx); err != nil {
			return err
		}
	}
}

// read feeds until ctx ends, there is a fault, or the copy of the slot has been read beyond the walsender (errOvertaken). A backlog shows by
// the age of the first transaction that comes from the walsender. So one that begins with a giant transaction is left to it.
func (s *source) read(ctx context.Context) error {
	for {
		if err := s.link.receive(ctx, s.late); !errors.Is(err, errLate) {
			return err
		}
		if err := s.drain(ctx); err != nil {
			return err
		}
		if s.overtaken {
			return errOvertaken
		}
	}
}

func (s *source) drainable() bool {
	return endpoint.MovesSlots(s.version) && s.cfg.Drain.Above >= 0 && !time.Now().Before(s.drainAt)
}

// late reports whether the transaction that was fed last had been there for long.
func (s *source) late() bool {
	return time.Since(s.in.last)+s.cfg.Meter.Skew() >= s.cfg.Drain.After && s.drainable()
}

// drain feeds what the source has committed from a copy of the slot, as long as there is much of it. Where there is no copy to be had, or
// it cannot be read, the walsender goes on.
func (s *source) drain(ctx context.Context) error {
	s.drainAt = time.Now().Add(drainLook * s.cfg.Drain.After)
	c, err := s.openCopy(ctx)
	if err != nil {
		return s.spare(ctx, err)
	}
	defer c.close(ctx)
	if c.left(s.in.fed) < s.cfg.Drain.Above {
		return nil
	}
	if err := c.create(ctx, s.in.fed); err != nil {
		return s.spare(ctx, err)
	}
	var d decoder = s.lines
	if s.lines == nil {
		d = newPgoutput(s.cfg.Publication, nil, s.counters) // a call returns what has committed
	}
	c.options = d.options()
	began, from, before := time.Now(), s.in.fed, s.in.progress.read().Drained
	g, both := group.WithContext(ctx)
	portions := make(chan portion, portionsAhead)
	g.Go(func() error {
		defer close(portions)
		return s.fetch(both, c, portions)
	})
	g.Go(func() error { return s.digest(both, d, portions) })
	if err := g.Wait(); err != nil {
		return err
	}
	s.cfg.Logger.Info("backlog was read from a copy of the slot", "slot", s.cfg.Slot, "from", from.String(), "to", s.in.fed.String(),
		"messages", s.in.progress.read().Drained-before, "took", time.Since(began))
	return nil
}

// portion is a part of what the copy of a slot returns.
type portion struct {
	rows   []row
	passed pglogrepl.LSN // not 0: everything that committed before has come
}

// row is one message of the output plugin.
type row struct {
	at   pglogrepl.LSN
	data []byte
}

const (
	portionBytes  = 256 << 10
	portionsAhead = 16 // while these are decoded, the source works on the next call
)

// digest feeds what was fetched.
func (s *source) digest(ctx context.Context, d decoder, portions <-chan portion) error {
	out := s.in.sink(ctx)
	for p := range portions {
		for _, r := range p.rows {
			if err := d.decode(ctx, r.at, r.data, out); err != nil {
				return err
			}
		}
		if p.passed == 0 {
			continue
		}
		d.passed(p.passed)
		if err := s.in.position(ctx, p.passed, false); err != nil {
			return err
		}
	}
	return nil
}

// fetch calls for what the copy has, until that is not worth another call.
func (s *source) fetch(ctx context.Context, c *slotCopy, out chan<- portion) error {
	for from := c.at; c.at-from < drainSpan; {
		if more, err := s.fetchOnce(ctx, c, out); err != nil || !more {
			return err
		}
	}
	s.drainAt = time.Time{}
	return nil
}

// fetchOnce fetches what one call returns, and tells whether another is worth it.
func (s *source) fetchOnce(ctx context.Context, c *slotCopy, out chan<- portion) (more bool, err error) {
	before, asked := c.at, c.changes
	n, err := c.read(ctx, s.in.keep, out)
	s.overtaken = s.overtaken || n > 0
	s.in.progress.update(func(p *Progress) { p.Drained += int64(n) })
	if err != nil && n > 0 {
		return false, err // perhaps in the middle of a transaction
	}
	if err == nil {
		err = c.look(ctx)
	}
	if err != nil {
		return false, s.spare(ctx, err)
	}
	s.overtaken = true
	if err := give(ctx, out, portion{passed: c.at}); err != nil {
		return false, err
	}
	if n > drainGiant*asked {
		s.drainAt = time.Now().Add(drainPause * s.cfg.Drain.After)
		return false, nil
	}
	c.grow(before, s.cfg.Drain.Changes)
	// Fewer changes than asked for are all that there was; what has come since is less than the next call would read again.
	left := c.left(c.at)
	return left > s.cfg.Drain.Above/drainRest && (n >= asked || left >= s.cfg.Drain.Above), nil
}

// give hands a portion over as soon as there is room for it.
func give(ctx context.Context, out chan<- portion, p portion) error {
	select {
	case out <- p:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// spare leaves the backlog to the walsender.
func (s *source) spare(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.cfg.Logger.Info("backlog is left to the walsender", "slot", s.cfg.Slot, "cause", cause.Error())
	s.drainAt = time.Now().Add(drainPause * s.cfg.Drain.After)
	return nil
}

// relink has the walsender go on where the copy of the slot ended. For a moment nobody holds the slot, so it is checked again.
func (s *source) relink(ctx context.Context) error {
	s.link.close()
	control, at, err := s.settle(ctx)
	defer endpoint.CloseConn(ctx, control)
	if err != nil {
		return err
	}
	sender, err := connectSender(ctx, s.cfg, at, s.verbatim)
	if err != nil {
		return err
	}
	d, err := s.begin()
	if err == nil {
		var l *link
		if l, err = acquire(ctx, sender, s.cfg.Slot, s.in.fed, d, s.in); err == nil {
			l.interval = s.interval
			s.link, s.overtaken = l, false
		}
	}
	if err != nil {
		endpoint.Close(ctx, sender)
		return err
	}
	return checkSlot(ctx, control, s.cfg, at)
}

// settle brings the slot, which nobody holds, to the position that is durable, with a session of its own. The walsender would begin
// where the slot keeps WAL from, and has not seen how far it may let go.
func (s *source) settle(ctx context.Context) (*pgx.Conn, ledger.Position, error) {
	at := s.at
	at.LSN = s.in.progress.read().Confirmed
	control, err := s.cfg.Source.Connect(ctx, "pgsyncd "+s.cfg.Task+" slot")
	if err != nil {
		return nil, at, err
	}
	if err := sameServer(ctx, control.PgConn(), at); err != nil {
		return control, at, err
	}
	for patience := time.Now().Add(slotPatience); ; {
		if err := checkSlot(ctx, control, s.cfg, at); err != nil {
			return control, at, err
		}
		_, err := control.Exec(ctx, `SELECT pg_catalog.pg_replication_slot_advance($1, $2::text::pg_lsn)`, s.cfg.Slot, at.LSN.String())
		if err == nil {
			return control, at, nil
		}
		if endpoint.SQLState(err) != "55006" || time.Now().After(patience) {
			return control, at, fmt.Errorf("advance slot %s to %s: %w", s.cfg.Slot, at.LSN, err)
		}
		if err := sleep(ctx, slotRetry); err != nil {
			return control, at, err
		}
	}
}

// finish confirms a last time and has the slot released. The goroutines of feed have ended.
func (s *source) finish(ctx context.Context) error {
	if !s.overtaken {
		return s.link.finish(s.in.progress.read())
	}
	s.link.close()
	control, _, err := s.settle(ctx)
	endpoint.CloseConn(ctx, control)
	return err
}
