package sqlapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

const (
	pollEvery   = 200 * time.Millisecond
	noticeEvery = 5 * time.Second
)

// pause waits until something changed or, because another daemon's tasks change unheard, for a while. It returns the error of a context
// that ends first.
func pause(ctx context.Context, changed <-chan struct{}) error {
	t := time.NewTimer(pollEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	case <-t.C:
		return nil
	}
}

// resting are the states that a task leaves only by a statement; to wait in them is to wait for somebody else.
var resting = []catalog.State{
	catalog.StateCreationFailed, catalog.StateStartFailed, catalog.StateFullFailed, catalog.StateIncrementalFailed,
	catalog.StateModifyingFailed, catalog.StateStoppingFailed, catalog.StateCompleted,
}

// wait returns once the task is where the statement says, telling of its progress meanwhile.
func (e *Engine) wait(ctx context.Context, s *Session, w *WaitTask) error {
	t, err := e.find(ctx, w.Name)
	if err != nil {
		return err
	}
	timedOut := Errorf(CodeCancelled, "timed out waiting for task %q", w.Name)
	if w.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, w.Timeout, timedOut)
		defer cancel()
	}
	watch := &watcher{Engine: e, stmt: w, task: t}
	for {
		changed := e.cfg.Supervisor.Changed()
		reached, err := watch.look(ctx, s, t.ID)
		if err == nil && !reached {
			err = pause(ctx, changed)
		}
		if err != nil && errors.Is(context.Cause(ctx), timedOut) {
			return timedOut.WithDetail("%s", watch.summary())
		}
		if err != nil || reached {
			return err
		}
	}
}

// watcher is one WAIT in progress.
type watcher struct {
	*Engine
	stmt   *WaitTask
	target pglogrepl.LSN // for CAUGHT UP: where the source's WAL ended when the wait began
	task   catalog.Task
	status catalog.Status
	told   catalog.State
	at     time.Time
}

func (w *watcher) summary() string {
	text := fmt.Sprintf("The task is in state %q", w.task.State)
	// What the figures were last told is not what goes on in other states.
	if w.status.Phase != "" && (w.task.State == catalog.StateFull || w.task.State == catalog.StateIncremental) {
		text += fmt.Sprintf(", phase %q, %.1f %%", w.status.Phase, w.status.ProgressPct)
	}
	if target, now := max(w.target, w.stmt.LSN), applied(w.status); now > 0 && target > now {
		text += fmt.Sprintf(", %d bytes of WAL to go", target-now)
	}
	return text + "."
}

// look reads the task anew and tells whether it is where it is waited for.
func (w *watcher) look(ctx context.Context, s *Session, id string) (reached bool, err error) {
	w.cfg.Supervisor.Flush(ctx)
	t, err := w.cfg.Catalog.TaskByID(ctx, id)
	if err != nil {
		return false, err
	}
	w.task = t
	if w.status, err = w.cfg.Catalog.Status(ctx, id); err != nil {
		return false, err
	}
	switch {
	case w.stmt.State != "":
		reached = string(w.task.State) == w.stmt.State
	case w.stmt.CaughtUp:
		reached, err = w.caughtUp(ctx)
	default:
		reached = applied(w.status) >= w.stmt.LSN
	}
	if err != nil || reached {
		return reached, err
	}
	if slices.Contains(resting, w.task.State) {
		e := Errorf(CodeWrongState, "task %q will not get there: it is in state %q", w.task.Name, w.task.State)
		e.Detail, e.Hint = w.task.Error, w.task.ErrorHint
		return false, e
	}
	if w.told != w.task.State || time.Since(w.at) >= noticeEvery {
		w.told, w.at = w.task.State, time.Now()
		s.Notice(Notice{Message: w.summary()})
	}
	return false, nil
}

func applied(st catalog.Status) pglogrepl.LSN {
	lsn, err := pglogrepl.ParseLSN(st.AppliedLSN)
	if err != nil {
		return 0 // nothing was applied yet
	}
	return lsn
}

// caughtUp asks the source once where its WAL ends, and is true when all of that is applied.
func (w *watcher) caughtUp(ctx context.Context) (bool, error) {
	if w.task.Mode == catalog.ModeFull {
		return false, Errorf(CodeWrongState, "task %q has no stream that could catch up", w.task.Name).
			WithHint("WAIT FOR SYNC TASK %s TO REACH 'completed';", quoteIdentifier(w.task.Name))
	}
	if w.task.State != catalog.StateIncremental {
		return false, nil
	}
	if w.target == 0 {
		var err error
		if w.target, err = w.walEnd(ctx); err != nil {
			return false, err
		}
	}
	return applied(w.status) >= w.target, nil
}

func (w *watcher) walEnd(ctx context.Context) (pglogrepl.LSN, error) {
	source, _, err := w.cfg.Supervisor.Endpoints(w.task)
	if err != nil {
		return 0, err
	}
	conn, err := source.Connect(ctx, "pgsyncd "+w.task.Name+" wait")
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return schema.WALEnd(ctx, conn)
}
