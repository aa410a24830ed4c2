package sync

import (
	"context"
	"fmt"
	"time"

	"pgsyncd/catalog"

	"github.com/jackc/pgx/v5"
)

const (
	// soon is how far ahead of the limit an operator is told, and later when it counts as averted.
	soon, later = time.Hour, 2 * time.Hour
	// farthest is as far as a forecast looks.
	farthest = 7 * 24 * time.Hour

	// A forecast is made from what was seen in trendWindow, not before trendLeast, in steps of trendStep: a slot lets go of WAL in leaps,
	// every quarter of a minute at best.
	trendWindow = 5 * time.Minute
	trendLeast  = time.Minute
	trendStep   = 5 * time.Second
)

// trend is how an amount changed of late.
type trend struct{ points []point }

type point struct {
	at    time.Time
	bytes int64
}

// add takes what was seen at a time, which is later than those before.
func (t *trend) add(now time.Time, bytes int64) {
	if n := len(t.points); n > 0 && now.Sub(t.points[n-1].at) < trendStep {
		return
	}
	t.points = append(t.points, point{now, bytes})
	for now.Sub(t.points[0].at) > trendWindow {
		t.points = t.points[1:]
	}
}

// slope is the growth in bytes per second: that of the line with the least squares; 0 while too little was seen.
func (t *trend) slope() float64 {
	n := len(t.points)
	if n < 3 || t.points[n-1].at.Sub(t.points[0].at) < trendLeast {
		return 0
	}
	var sx, sy, sxx, sxy float64
	for _, p := range t.points {
		x, y := p.at.Sub(t.points[0].at).Seconds(), float64(p.bytes-t.points[0].bytes)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	count := float64(n)
	return (count*sxy - sx*sy) / (count*sxx - sx*sx)
}

// limits returns how much a slot may retain, and how much more that is than it does; nil without a limit. most is the option
// max_slot_wal, 0 for none.
func (s slotState) limits(most int64) (limit, left *int64) {
	if s.retained == nil {
		return nil, nil
	}
	if most > 0 {
		limit, left = new(most), new(most-*s.retained)
	}
	if s.keep != nil && (limit == nil || *s.keep < *limit) {
		limit = s.keep
	}
	if s.safe != nil && (left == nil || *s.safe < *left) {
		left = s.safe
	}
	return limit, left
}

// forecast is when so many bytes are used up at a rate, in seconds; nil when that is not in sight.
func forecast(left *int64, rate float64) *int64 {
	switch {
	case left == nil:
		return nil
	case *left <= 0:
		return new(int64)
	case rate <= 0 || float64(*left)/rate > farthest.Seconds():
		return nil
	}
	return new(int64(float64(*left) / rate))
}

// nextAlarm is what to say of a slot after before was said. What was said once is true until the slot is well below.
func nextAlarm(before string, retained, most int64, eta *int64) string {
	exceeded, near := alarm{before == catalog.AlarmExceeded}, soon
	if most > 0 {
		exceeded.judge(retained, most)
	}
	if before == catalog.AlarmSoon {
		near = later
	}
	switch {
	case most > 0 && exceeded.raised:
		return catalog.AlarmExceeded
	case eta != nil && *eta <= int64(near.Seconds()):
		return catalog.AlarmSoon
	}
	return catalog.AlarmNone
}

// judge makes known what was seen of the slot, and does what was asked for where it retains too much.
func (w *slotWatch) judge(ctx context.Context, q *runner, seen slotState, now time.Time) error {
	most := int64(q.options.MaxSlotWAL)
	slot := catalog.Slot{SourceLSN: seen.end.String(), WALBytes: seen.retained}
	if seen.retained == nil {
		w.growth = trend{}
	} else {
		w.growth.add(now, *seen.retained)
		var left *int64
		slot.LimitBytes, left = seen.limits(most)
		slot.EtaS = forecast(left, w.growth.slope())
		slot.Alarm = nextAlarm(w.alarm, *seen.retained, most, slot.EtaS)
	}
	if slot.Alarm != w.alarm || now.Sub(w.savedAt) >= slotRefresh || !sameSlot(slot, w.saved) {
		// First the note, then the message: it is not said twice.
		if err := w.cfg.Catalog.SaveSlot(ctx, q.id, slot); err != nil {
			return err
		}
		w.saved, w.savedAt = slot, now
	}
	before := w.alarm
	w.alarm = slot.Alarm
	fails := q.options.OnMaxSlotWAL == "fail"
	if slot.Alarm != before && seen.retained != nil && (slot.Alarm != catalog.AlarmExceeded || !fails) {
		w.say(ctx, q, before, slot)
	}
	switch {
	case slot.Alarm != catalog.AlarmExceeded:
		w.condemned = false
	case fails && q.task.State != catalog.StateCompleting: // then it is dropped anyway
		return w.condemn(ctx, q, *seen.retained)
	}
	return nil
}

func sameSlot(a, b catalog.Slot) bool {
	same := func(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.SourceLSN == b.SourceLSN && a.Alarm == b.Alarm && same(a.WALBytes, b.WALBytes) && same(a.LimitBytes, b.LimitBytes) && same(a.EtaS, b.EtaS)
}

// say writes to the task's log what has changed.
func (w *slotWatch) say(ctx context.Context, q *runner, before string, slot catalog.Slot) {
	name := quoteTask(q.task.Name)
	switch {
	case slot.Alarm == catalog.AlarmExceeded:
		w.tell(ctx, q.task, "warning", "slot WAL exceeded",
			fmt.Sprintf("slot %s retains %s of WAL on the source, more than max_slot_wal (%s)", q.notes.Slot, size(*slot.WALBytes), size(int64(q.options.MaxSlotWAL))),
			fmt.Sprintf("The source keeps it until the task has come that far: see delay_ms, lag_bytes and error of sync_status. "+
				"To have the task failed and the slot dropped instead: ALTER SYNC TASK %s SET (on_max_slot_wal = fail);", name))
	case slot.Alarm == catalog.AlarmSoon && before == catalog.AlarmNone:
		w.tell(ctx, q.task, "warning", "slot WAL grows",
			fmt.Sprintf("slot %s retains %s of WAL on the source and will have reached its limit of %s in about %d minutes", q.notes.Slot,
				size(*slot.WALBytes), size(*slot.LimitBytes), (*slot.EtaS+59)/60),
			"The limit is the lesser of the option max_slot_wal and the source's max_slot_wal_keep_size. A slot that loses its WAL ends the task.")
	case slot.Alarm == catalog.AlarmNone:
		w.tell(ctx, q.task, "info", "slot WAL normal", fmt.Sprintf("slot %s retains %s of WAL on the source", q.notes.Slot, size(*slot.WALBytes)), "")
	}
}

// condemn fails the task and drops its slot. It is called until the slot is gone.
func (w *slotWatch) condemn(ctx context.Context, q *runner, retained int64) error {
	if !w.condemned {
		if err := w.failTask(ctx, q, retained); err != nil {
			return err
		}
		w.condemned = true
	}
	if r := w.runner(q.id); r != nil { // its stream ends by itself, unless it hangs
		ended := time.NewTimer(patience)
		defer ended.Stop()
		select {
		case <-r.done:
		case <-ended.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := endSlotHolder(ctx, w.conn, q.notes.Slot); err != nil {
		return err
	}
	if err := dropSlot(ctx, w.conn, q.notes.Slot); err != nil {
		return err
	}
	w.tell(ctx, q.task, "warning", "slot dropped", fmt.Sprintf("slot %s was dropped, and the source lets go of its WAL at the next checkpoint", q.notes.Slot), "")
	return nil
}

// failTask moves the task to the failure that fits its state.
func (w *slotWatch) failTask(ctx context.Context, q *runner, retained int64) error {
	name, ev := quoteTask(q.task.Name), catalog.EventFailedIncremental
	ch := catalog.Change{
		Error: fmt.Sprintf("slot %s retains %d bytes (%s) of WAL on the source, more than max_slot_wal (%s), and is dropped",
			q.notes.Slot, retained, size(retained), size(int64(q.options.MaxSlotWAL))),
		Detail: "on_max_slot_wal is fail: the source's disk goes before the task. Without the slot changes are missing for good, so the task cannot go on.",
		Hint: fmt.Sprintf("Give it more room (ALTER SYNC TASK %s SET (max_slot_wal = '…');) or remove what kept it from its work. ", name) +
			resetAdvice(q.task),
	}
	switch q.task.State {
	case catalog.StateStopping, catalog.StateStoppingFailed:
		ev = catalog.EventStopFailed
		ch.Hint = fmt.Sprintf("What was not brought over yet is lost for the task. STOP SYNC TASK %s FORCE; ends it as it is.", name)
	case catalog.StateModifying:
		ev = catalog.EventFailed
	case catalog.StateFull, catalog.StateFullFailed:
		ev = catalog.EventFailedFull
	default:
		if q.notes.Phase == phaseFull && q.task.Mode != catalog.ModeIncremental {
			ev = catalog.EventFailedFull
		}
	}
	settled, cancel := settle(ctx)
	defer cancel()
	if _, err := w.cfg.Catalog.Fire(settled, q.id, ev, ch); err != nil {
		return err
	}
	w.states.announce()
	w.Wake() // the runner has nothing to do any more
	return nil
}

// endSlotHolder ends the server process that has the slot, if there is one.
func endSlotHolder(ctx context.Context, conn *pgx.Conn, slot string) error {
	if _, err := conn.Exec(ctx, `SELECT pg_catalog.pg_terminate_backend((pg_catalog.to_json(s) ->> 'active_pid')::int)
		FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1 AND pg_catalog.to_json(s) ->> 'active_pid' IS NOT NULL`, slot); err != nil {
		return fmt.Errorf("end the walsender of slot %s: %w", slot, err)
	}
	return nil
}

// size writes a number of bytes as people read it.
func size(bytes int64) string {
	const units = "kMGT"
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/(1<<10), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.4g %cB", value, units[unit])
}
