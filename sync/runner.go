package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/group"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/precheck"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5/pgconn"
)

// runner performs one duty of one task. The first group of fields is set before its goroutine starts and safe to read from
// others; the second is that goroutine's own.
type runner struct {
	*Supervisor
	id      string // of the task
	duty    duty
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when the goroutine has ended
	figures *figures
	limiter *limiter
	stream  atomic.Pointer[incremental.Stream]
	inUse   atomic.Pointer[catalog.Task] // the task with the settings that the runner works with; those no stream depends on are the latest

	task                catalog.Task
	log                 *slog.Logger
	source, destination *endpoint.Endpoint
	options             catalog.TaskOptions
	selection           schema.Selection
	notes               notes
}

// guard performs the duty and turns a panic into the task's failure, so that one task never takes the daemon down.
func (r *runner) guard(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			r.fail(ctx, &group.PanicError{Value: p, Stack: string(debug.Stack())})
		}
	}()
	if err := r.open(); err != nil {
		r.fail(ctx, err)
		return
	}
	switch r.duty {
	case dutyWait:
		r.wait(ctx)
	case dutyRun:
		r.run(ctx)
	case dutyPause:
		r.fire(ctx, catalog.EventPaused, catalog.Change{})
	case dutyStop:
		r.stop(ctx)
	case dutyForceStop:
		r.forceStop(ctx)
	case dutyNone:
	}
}

// open derives everything a duty needs from the task as the catalog has it.
func (r *runner) open() (err error) {
	if r.options, err = catalog.ParseTaskOptions(r.task.Options); err != nil {
		return fmt.Errorf("read options of task %s: %w", r.task.Name, err)
	}
	if err = json.Unmarshal(r.task.Definition, &r.selection); err != nil {
		return fmt.Errorf("read selection of task %s: %w", r.task.Name, err)
	}
	if r.notes, err = readNotes(r.task); err != nil {
		return err
	}
	// Whether a socket may be used was decided when the task was created, by who created it.
	o := endpoint.Options{FilesDir: r.cfg.ConnInfoDir, AllowSocket: true}
	o.RootCA = string(r.options.SourceSSLCA)
	if r.source, err = endpoint.Parse(r.task.Source.Reveal(), o); err != nil {
		return fmt.Errorf("source of task %s: %w", r.task.Name, err)
	}
	o.RootCA = string(r.options.DestinationSSLCA)
	if r.destination, err = endpoint.Parse(r.task.Destination.Reveal(), o); err != nil {
		return fmt.Errorf("destination of task %s: %w", r.task.Name, err)
	}
	if r.figures != nil {
		r.source, r.destination = r.source.Metered(&r.figures.traffic), r.destination.Metered(&r.figures.traffic)
	}
	return nil
}

// refresh reads the task anew, with the settings that were altered since, and tells whether the runner's duty is still the
// task's.
func (r *runner) refresh(ctx context.Context) (bool, error) {
	t, err := r.cfg.Catalog.TaskByID(ctx, r.id)
	if err != nil {
		return false, err
	}
	r.task = t
	r.inUse.Store(&t)
	r.log = r.cfg.Logger.With("task", t.Name)
	return dutyOf(t.State, t.Desired) == r.duty, r.open()
}

// wait starts the task at its time.
func (r *runner) wait(ctx context.Context) {
	if r.task.StartAt == nil {
		r.fail(ctx, errors.New("the task waits for a start time but has none"))
		return
	}
	timer := time.NewTimer(time.Until(*r.task.StartAt))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			r.fire(ctx, catalog.EventDue, catalog.Change{})
			return
		case <-time.After(r.cfg.Poll):
			// The start time can be changed while the task waits.
			t, err := r.cfg.Catalog.TaskByID(ctx, r.task.ID)
			if err == nil && t.StartAt != nil && !t.StartAt.Equal(*r.task.StartAt) {
				r.task.StartAt = t.StartAt
				timer.Reset(time.Until(*t.StartAt))
			}
		}
	}
}

// incremental tells whether the task streams changes.
func (r *runner) incremental() bool { return r.task.Mode != catalog.ModeFull }

// precheckInput is the task as the precheck sees it.
func (r *runner) precheckInput() precheck.Input {
	slot, publication := sourceNames(r.task.ID)
	return precheck.Input{
		Source:          r.source,
		Destination:     r.destination,
		Selection:       r.selection,
		Incremental:     r.incremental(),
		Adopt:           r.task.Mode == catalog.ModeIncremental,
		Again:           r.notes.Phase == phaseReset,
		ExistingObjects: r.options.ExistingObjects,
		FullConflicts:   r.options.FullConflicts,
		CreateDatabase:  r.options.CreateDatabase,
		LargeObjects:    r.options.LargeObjects,
		Slot:            slot,
		Publication:     publication,
		CopyWorkers:     workers(r.options.CopyWorkers),
		IndexWorkers:    workers(r.options.IndexWorkers),
		ApplyWorkers:    int(r.options.ApplyWorkers),
		SequenceMargin:  r.options.SequenceMargin,
		FlowLimit: func(at time.Time) int {
			return limitAt(r.task.Flow, catalog.Zone(r.task.Options["time_zone"]).Location(), at)
		},
		Decoder: r.options.Decoder,
	}
}

// precheck makes the checks, records them and returns them.
func (r *runner) precheck(ctx context.Context) ([]precheck.Result, error) {
	results := precheck.Run(ctx, r.precheckInput())
	rows := make([]catalog.PrecheckRow, len(results))
	for i, c := range results {
		rows[i] = catalog.PrecheckRow{
			Category: c.Category, Item: c.Item, Result: string(c.Outcome),
			Found: c.Found, Suggestion: c.Suggestion, Confirmed: r.confirmed(c.Item),
		}
	}
	return results, r.cfg.Catalog.SavePrechecks(ctx, r.task.ID, rows)
}

func (r *runner) confirmed(item string) bool {
	for _, c := range r.task.Confirm {
		if c == catalog.ConfirmAll || c == item {
			return true
		}
	}
	return false
}

// problem is a failure with what an operator needs to mend it.
type problem struct {
	err          error
	detail, hint string
}

func (p *problem) Error() string   { return p.err.Error() }
func (p *problem) Unwrap() error   { return p.err }
func (p *problem) Permanent() bool { return true }

// admit lets a task start only when nothing failed and all that is to be confirmed was.
func (r *runner) admit(ctx context.Context) error {
	results, err := r.precheck(ctx)
	if err != nil {
		return err
	}
	var failed, open []string
	causes := map[string]bool{} // an unreachable server fails many checks for one cause
	for _, c := range results {
		switch {
		case c.Outcome == precheck.Failed && !causes[c.Found]:
			causes[c.Found] = true
			failed = append(failed, c.Item+": "+c.Found)
		case c.Outcome == precheck.ToConfirm && !r.confirmed(c.Item):
			open = append(open, c.Item+": "+c.Found)
		}
	}
	look := fmt.Sprintf("SELECT item, found, suggestion FROM sync_prechecks WHERE task = '%s' AND result <> 'passed';", r.task.Name)
	switch {
	case len(failed) > 0:
		return &problem{
			err:    errors.New("the precheck failed"),
			detail: strings.Join(failed, "\n"),
			hint:   "See what to do with: " + look,
		}
	case len(open) > 0:
		return &problem{
			err:    errors.New("the precheck found what has to be confirmed"),
			detail: strings.Join(open, "\n"),
			hint:   fmt.Sprintf("Look at them with: %s If they are acceptable: START SYNC TASK %s CONFIRM ALL;", look, quoteTask(r.task.Name)),
		}
	}
	return nil
}

// fire moves the task's state. A transition that is refused because an operator's statement came in between is no error:
// the supervisor derives the new duty from what that statement left. While the catalog cannot be written, fire waits.
func (r *runner) fire(ctx context.Context, ev catalog.Event, ch catalog.Change) {
	for {
		err := r.fireOnce(ctx, ev, ch)
		if err == nil {
			return
		}
		r.log.Error("record transition", "event", ev, "error", err)
		if errors.Is(err, catalog.ErrNotFound) || !pause(ctx, firstPause) {
			return
		}
	}
}

func (r *runner) fireOnce(ctx context.Context, ev catalog.Event, ch catalog.Change) error {
	ctx, cancel := settle(ctx)
	defer cancel()
	t, err := r.cfg.Catalog.Fire(ctx, r.id, ev, ch)
	var refused *catalog.StateError
	switch {
	case err == nil:
		r.task = t
		r.states.announce()
	case errors.As(err, &refused):
		r.log.Info("transition refused", "event", ev, "state", refused.State)
		r.task.State = refused.State
		return nil
	}
	return err
}

// note makes the notes durable.
func (r *runner) note(ctx context.Context, change func(*notes)) error {
	n := r.notes
	change(&n)
	if err := r.cfg.Catalog.SetRuntime(ctx, r.task.ID, n.encode()); err != nil {
		return err
	}
	r.notes = n
	return nil
}

// fail records that the duty cannot be done. When ctx ended, that is the reason, not a failure.
func (r *runner) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	stopping := r.duty == dutyStop || r.duty == dutyForceStop || r.task.State == catalog.StateCompleting
	if other := (*incremental.OtherClusterError)(nil); errors.As(err, &other) {
		// Whoever resumes the task has been told.
		if err := r.note(ctx, func(n *notes) { n.Elsewhere = other.Now.SystemID }); err != nil {
			r.log.Warn("note where the destination is", "error", err)
		}
	}
	ch := r.explain(err)
	if undecodable(err, nil) {
		ch.Detail = strings.TrimPrefix(ch.Detail+"\n"+r.largest(ctx), "\n")
	}
	ch.Hint = r.withStatement(ch.Hint, stopping)
	begun := r.notes.Phase == phaseFull || r.task.State == catalog.StateFault // a fault may precede all else
	r.log.Error("task failed", "error", ch.Error, "detail", ch.Detail)
	if p := (*group.PanicError)(nil); errors.As(err, &p) {
		r.log.Error("panic", "stack", p.Stack)
	}
	switch {
	case stopping:
		r.fire(ctx, catalog.EventStopFailed, ch)
	case r.task.State == catalog.StateFull: // to its end, which is when the stream has passed the last copy
		r.fire(ctx, catalog.EventFailedFull, ch)
	case r.notes.Phase == phaseIncremental, begun && r.task.Mode == catalog.ModeIncremental:
		r.fire(ctx, catalog.EventFailedIncremental, ch)
	case begun:
		r.fire(ctx, catalog.EventFailedFull, ch)
	default:
		r.fire(ctx, catalog.EventFailed, ch)
	}
}

// withStatement ends a hint with what to type when its advice was taken, unless it says so itself.
func (r *runner) withStatement(hint string, stopping bool) string {
	verb := "RESUME"
	if stopping {
		verb = "STOP"
	}
	for _, said := range []string{verb + " SYNC TASK", "STOP SYNC TASK", "START SYNC TASK", "RESET SYNC TASK", "sync_prechecks"} {
		if strings.Contains(hint, said) {
			return hint
		}
	}
	statement := fmt.Sprintf("%s SYNC TASK %s;", verb, quoteTask(r.task.Name))
	switch {
	case hint == "":
		return "When the cause is removed: " + statement
	case !strings.HasSuffix(hint, ".") && !strings.HasSuffix(hint, ";"):
		hint += "."
	}
	return hint + " Then: " + statement
}

// explain puts an error into the words an operator reads, without secrets.
func (r *runner) explain(err error) catalog.Change {
	ch := catalog.Change{Error: err.Error()}
	var p *problem
	var conflict *incremental.ConflictError
	var objects *fullcopy.ObjectsError
	var tables *fullcopy.TablesError
	var elsewhere *incremental.OtherClusterError
	var server *pgconn.PgError
	var d interface {
		Detail() string
		Hint() string
	}
	switch {
	case errors.As(err, &p):
		ch.Detail, ch.Hint = p.detail, p.hint
	case errors.As(err, &objects):
		ch.Detail, ch.Hint = objects.Detail(), ""
		if errors.As(err, &tables) {
			ch.Detail += "\n" + tables.Detail()
			ch.Hint = fmt.Sprintf("SELECT source_table, error FROM sync_tables WHERE task = '%s' AND state = 'failed'; and ", r.task.Name)
		}
		ch.Hint += fmt.Sprintf("SELECT type, source_name, statement, error FROM sync_objects WHERE task = '%s' AND state = 'failed'; show them. "+
			"Make what they need, but not the objects themselves, or remove what is in the way in the destination, then: RESUME SYNC TASK %s; it retries what failed and "+
			"repeats nothing else.", r.task.Name, quoteTask(r.task.Name))
	case errors.As(err, &tables):
		ch.Detail = tables.Detail()
		ch.Hint = strings.TrimSuffix(tables.Hint(), ".") + fmt.Sprintf(". SELECT * FROM sync_tables WHERE task = '%s' AND state = 'failed'; shows them, "+
			"and RESUME SYNC TASK %s; retries what failed.", r.task.Name, quoteTask(r.task.Name))
	case errors.As(err, &conflict):
		ch.Hint = fmt.Sprintf("Correct the row in the destination, or let the task decide about such rows: "+
			"ALTER SYNC TASK %[1]s SET (conflict_policy = '…'); then RESUME SYNC TASK %[1]s;", quoteTask(r.task.Name))
	case errors.As(err, &elsewhere):
		ch.Detail = fmt.Sprintf("Its ledger has this task's position %s, so it is a restored, upgraded or cloned former destination, or a part of one.", elsewhere.Position)
		ch.Hint = fmt.Sprintf("When it is complete, RESUME SYNC TASK %[1]s; goes on from there, provided that the source still has what follows. "+
			"If it is the wrong server: ALTER SYNC TASK %[1]s SET DESTINATION '…';", quoteTask(r.task.Name))
	case beyondResuming(err):
		if ahead := (*incremental.AheadError)(nil); errors.As(err, &ahead) {
			ch.Detail = ahead.Detail()
		}
		ch.Hint = "The task cannot go on from where it was. " + resetAdvice(r.task)
	case errors.As(err, &server) && server.Code == "XX000" && strings.Contains(server.Message, "could not map filenode"):
		ch.Hint = fmt.Sprintf("A table was emptied or rewritten at the moment the slot was made, and PostgreSQL can no longer decode a transaction of that "+
			"time, for nobody. RESET SYNC TASK %s; begins anew with another slot.", quoteTask(r.task.Name))
	case undecodable(err, &server):
		ch.Detail = server.Where // the slot and the position
		ch.Hint = "A row of the source has a value that takes more than 1 GB as text, for which a bytea counts twice, and PostgreSQL can decode its change for nobody. " +
			"Make the value smaller, or leave the row out with WHERE; what is in the WAL already stays as it is. " + resetAdvice(r.task)
	case errors.As(err, &server) && (server.Code == "22021" || server.Code == "22P05"): // character_not_in_repertoire, untranslatable_character
		ch.Detail = server.Detail
		ch.Hint = "A value of the source holds bytes that are no text in the encoding of the destination. Find and correct it; what is in the WAL already " +
			"stays as it is, so where the stream meets it, the task has to begin anew afterwards."
	case errors.As(err, &d):
		ch.Detail, ch.Hint = d.Detail(), d.Hint()
	default:
		diagnosis := endpoint.Diagnose(err)
		ch.Detail, ch.Hint = diagnosis.Detail, r.redact(diagnosis.Hint)
		if diagnosis.Cause == endpoint.CauseWrongPassword {
			ch.Hint += fmt.Sprintf(" If the task's is outdated: ALTER SYNC TASK %s SET %s PASSWORD '…';", quoteTask(r.task.Name), r.sideOf(err))
		}
	}
	// Hints are the daemon's own words.
	ch.Error, ch.Detail, ch.Hint = catalog.Brief(r.redact(ch.Error)), catalog.Brief(r.redact(ch.Detail)), catalog.Brief(ch.Hint)
	return ch
}

func (r *runner) redact(text string) string {
	for _, e := range []*endpoint.Endpoint{r.source, r.destination} {
		if e != nil {
			text = e.Redact(text)
		}
	}
	return text
}

// resetAdvice tells how a task begins anew, and what becomes of its rows.
func resetAdvice(t catalog.Task) string {
	if t.Mode == catalog.ModeIncremental {
		return fmt.Sprintf("Bring the rows of the destination up to date yourself, then: RESET SYNC TASK %s; It copies nothing, and begins anew with what the "+
			"source commits from then on; what is missing in between stays missing.", quoteTask(t.Name))
	}
	return fmt.Sprintf("RESET SYNC TASK %s; begins anew: its tables stay, and their rows are copied again.", quoteTask(t.Name))
}

// beyondResuming tells errors after which changes are missing for good.
func beyondResuming(err error) bool {
	if copying := (*fullcopy.LostError)(nil); errors.As(err, &copying) {
		return true
	}
	for _, lost := range []error{
		incremental.ErrSlotLost, incremental.ErrAhead, incremental.ErrOtherSystem, incremental.ErrTimeline,
		incremental.ErrBehind, incremental.ErrPublication, ledger.ErrNoPosition,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// sideOf tells which endpoint an error to connect names, as a statement spells it.
func (r *runner) sideOf(err error) string {
	if r.destination != nil && strings.Contains(err.Error(), r.destination.String()) {
		return "DESTINATION"
	}
	return "SOURCE"
}

// settle gives work that must be finished a context that outlives ctx for a while.
func settle(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// quoteTask spells a task's name as a statement needs it.
func quoteTask(name string) string {
	for _, c := range name {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return `"` + name + `"`
		}
	}
	return name
}
