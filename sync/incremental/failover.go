package incremental

import (
	"context"
	"errors"
	"fmt"

	"pgsyncd/sync/ledger"

	"github.com/jackc/pglogrepl"
)

// whereabouts are the server that the destination's position was last written on, as the ledger recorded there, and the one that
// answers now. They differ where a standby was promoted, a backup restored, or the connection string leads elsewhere.
type whereabouts struct{ before, now ledger.Server }

// locate finds out where the destination is. Another cluster is another database, unless it was announced: nobody can tell by looking
// whether a copy of the former one is complete yet.
func locate(ctx context.Context, cfg Config, dst *session) (w whereabouts, err error) {
	if w.now, err = ledger.Identify(ctx, dst.conn); err != nil {
		return w, err
	}
	if w.before, err = ledger.LastServer(ctx, dst.conn, cfg.Task); err != nil {
		return w, err
	}
	if w.otherCluster() && w.now.SystemID != cfg.Elsewhere {
		return w, &OtherClusterError{Before: w.before, Now: w.now, Position: dst.position.LSN}
	}
	return w, nil
}

func (w whereabouts) moved() bool {
	return w.before != (ledger.Server{}) && w.now != (ledger.Server{}) && w.before != w.now
}

func (w whereabouts) otherCluster() bool { return w.moved() && w.before.SystemID != w.now.SystemID }

// blame adds to an error why the destination lacks changes.
func (w whereabouts) blame(err error) error {
	if ahead := (*AheadError)(nil); errors.As(err, &ahead) && w.moved() {
		ahead.Before, ahead.Now = w.before, w.now
	}
	return err
}

// settle records where the destination is, once it is certain that the source still has all that it lacks.
func (w whereabouts) settle(ctx context.Context, cfg Config, dst *session, confirmed pglogrepl.LSN) error {
	if w.now == w.before || w.now == (ledger.Server{}) {
		return nil
	}
	if w.moved() {
		event, message := "destination failed over", fmt.Sprintf("the destination is on timeline %d, and was on %d", w.now.Timeline, w.before.Timeline)
		if w.otherCluster() {
			event, message = "destination moved", fmt.Sprintf("the destination has %s, and had %s", w.now, w.before)
		}
		cfg.notice(ctx, event, message, fmt.Sprintf("It holds what the source had committed before %s, and the source, which was told to forget what is before %s, sends all that follows.",
			dst.position.LSN, confirmed))
	}
	return ledger.MoveTo(ctx, dst.conn, cfg.Task, dst.position.Fence, w.now)
}

// confirmed is what the source was told to forget, as the slot shows it (9.6); else 0.
func (s *source) confirmed(ctx context.Context, slot string) (confirmed pglogrepl.LSN, err error) {
	var text string
	err = s.control.QueryRow(ctx, `SELECT coalesce(pg_catalog.to_json(s) ->> 'confirmed_flush_lsn', '0/0') FROM pg_catalog.pg_replication_slots s
		WHERE s.slot_name = $1`, slot).Scan(&text)
	if err == nil {
		confirmed, err = pglogrepl.ParseLSN(text)
	}
	if err != nil {
		return 0, fmt.Errorf("look at slot %s: %w", slot, err)
	}
	return confirmed, nil
}

// AheadError tells that the slot has been confirmed beyond the destination's position. It is ErrAhead.
type AheadError struct {
	Slot                string
	Position, Confirmed pglogrepl.LSN
	Before, Now         ledger.Server // zero unless the destination was on another server before
}

func (e *AheadError) Error() string {
	return fmt.Sprintf("%s: %s is confirmed up to %s, the destination has come to %s", ErrAhead, e.Slot, e.Confirmed, e.Position)
}

// Is recognises ErrAhead.
func (e *AheadError) Is(target error) bool { return target == ErrAhead }

// Permanent is true: what was confirmed is gone.
func (e *AheadError) Permanent() bool { return true }

// Detail names what is missing and, where that is known, why.
func (e *AheadError) Detail() string {
	missing := fmt.Sprintf("Missing in the destination are the transactions that the source committed from %s to %s.", e.Position, e.Confirmed)
	switch {
	case e.Before == (ledger.Server{}):
		return missing + " Either a backup of the destination was restored, or somebody moved the slot."
	case e.Before.SystemID != e.Now.SystemID:
		return missing + fmt.Sprintf(" The destination has %s, and had %s.", e.Now, e.Before)
	}
	return missing + fmt.Sprintf(" The destination is on timeline %d, and was on %d: what was promoted or restored did not have them.", e.Now.Timeline, e.Before.Timeline)
}

// OtherClusterError tells that the destination is on another cluster than the one the task wrote to. The position is there, so it is a
// copy of the former one, at least in part.
type OtherClusterError struct {
	Before, Now ledger.Server
	Position    pglogrepl.LSN
}

func (e *OtherClusterError) Error() string {
	return fmt.Sprintf("the destination is on another database cluster: its system identifier is %s, not %s", e.Now.SystemID, e.Before.SystemID)
}

// Permanent is true: somebody has to say that the copy is complete.
func (e *OtherClusterError) Permanent() bool { return true }
