package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// eventsChannel is what clients LISTEN to. A payload must stay below 8000 bytes (NOTIFY's limit).
const (
	eventsChannel   = "sync_events"
	maxNotifiedText = 2000
)

// Levels of log entries.
const (
	LevelInfo    = "info"
	LevelWarning = "warning"
	LevelError   = "error"
)

// Fire takes a task one step through Transitions, or returns a *StateError if there is none for its state. The write is
// conditional on the state that the step starts from: when somebody else moved the task in between, Fire looks again. In
// the same transaction the step goes to sync_log and, if the state changes, to the channel sync_events. Fire returns the
// task after the step; after EventDrop, as it was.
func (c *Catalog) Fire(ctx context.Context, id string, ev Event, ch Change) (Task, error) {
	for {
		t, err := c.TaskByID(ctx, id)
		if err != nil {
			return Task{}, fmt.Errorf("%s: %w", ev, err)
		}
		step, ok := Next(t.State, ev)
		if !ok || step.Clean && t.Runtime != nil {
			return Task{}, stateError(t, ev)
		}
		if ev == EventSchedule && ch.StartAt == nil {
			return Task{}, fmt.Errorf("%s task %q: no start time", ev, t.Name)
		}
		var done bool
		err = c.inTx(ctx, func(tx pgx.Tx) (err error) {
			if step.To == "" {
				done, err = erase(ctx, tx, t, step, ch)
			} else {
				t, done, err = c.take(ctx, tx, t, step, ch)
			}
			return err
		})
		if err != nil {
			return Task{}, fmt.Errorf("%s task %s: %w", ev, id, err)
		}
		if done {
			return t, nil
		}
	}
}

// stateError lists what is possible, leaving out a drop that the runner's notes forbid.
func stateError(t Task, ev Event) *StateError {
	e := &StateError{Task: t.Name, State: t.State, Event: ev}
	for _, possible := range Possible(t.State) {
		if step, _ := Next(t.State, possible); !step.Clean || t.Runtime == nil {
			e.Possible = append(e.Possible, possible)
		}
	}
	return e
}

const takeStep = `UPDATE pgsyncd.task SET state = $3, desired = $4, since = CASE WHEN state = $3 THEN since ELSE now() END,
	error = $5, error_detail = $6, error_hint = $7, retries = $8, start_at = $9, confirm = $10,
	runtime = CASE WHEN $11 THEN $12::jsonb ELSE runtime END
	WHERE id = $1 AND state = $2 RETURNING ` + taskColumns

func (c *Catalog) take(ctx context.Context, tx pgx.Tx, t Task, step Transition, ch Change) (Task, bool, error) {
	next := after(t, step, ch)
	rows, err := tx.Query(ctx, takeStep, t.ID, string(t.State), string(next.State), string(next.Desired), next.Error,
		next.ErrorDetail, next.ErrorHint, next.Retries, next.StartAt, next.Confirm, ch.Runtime != nil, notes(ch.Runtime))
	if err != nil {
		return t, false, err
	}
	stored, err := pgx.CollectRows(rows, c.scanTask)
	if err != nil || len(stored) == 0 {
		return t, false, err
	}
	if err := record(ctx, tx, stepEntry(t, step, ch)); err != nil {
		return t, false, err
	}
	for _, run := range ch.Compare {
		run.TaskID = t.ID
		if _, err := addCompare(ctx, tx, run); err != nil {
			return t, false, err
		}
	}
	if step.To != t.State {
		if err := notify(ctx, tx, stored[0].Name, t.State, &step.To, next.Error); err != nil {
			return t, false, err
		}
	}
	return stored[0], true, nil
}

// after is the task after a step, a pure function.
func after(t Task, step Transition, ch Change) Task {
	if step.To != t.State || ch.Error != "" {
		t.Error, t.ErrorDetail, t.ErrorHint = Brief(ch.Error), Brief(ch.Detail), Brief(ch.Hint)
	}
	t.State = step.To
	if step.Desired != "" {
		t.Desired = step.Desired
	}
	switch step.Event {
	case EventFault:
		t.Retries++
	case EventStart, EventDue, EventResume, EventReset, EventRecoveredFull, EventRecoveredIncremental, EventFullBegun,
		EventIncrementalBegun:
		t.Retries = 0
	case EventSchedule:
		t.StartAt = ch.StartAt
	case EventUnschedule:
		t.StartAt = nil
	default:
	}
	if ch.Confirm != nil {
		t.Confirm = ch.Confirm
	}
	return t
}

// erase deletes a task with everything that belongs to it. The log keeps one line with its name.
func erase(ctx context.Context, tx pgx.Tx, t Task, step Transition, ch Change) (bool, error) {
	tag, err := tx.Exec(ctx, "DELETE FROM pgsyncd.task WHERE id = $1 AND state = $2 AND (runtime IS NULL OR NOT $3)", t.ID,
		string(t.State), step.Clean)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	err = record(ctx, tx, entry{name: t.Name, level: LevelInfo, event: string(EventDrop), message: "task dropped", detail: byUser(ch.By)})
	if err != nil {
		return false, err
	}
	return true, notify(ctx, tx, t.Name, t.State, nil, "")
}

// DropTask erases a task with its history; ErrNotFound, or a *StateError where the task must be stopped first.
func (c *Catalog) DropTask(ctx context.Context, id string) error {
	_, err := c.Fire(ctx, id, EventDrop, Change{})
	return err
}

// notify tells listeners of a change of state; without a new state the task is gone.
func notify(ctx context.Context, tx pgx.Tx, task string, from State, to *State, cause string) error {
	payload := struct {
		Task  string  `json:"task"`
		Old   State   `json:"old"`
		New   *State  `json:"new"`
		Time  string  `json:"time"`
		Error *string `json:"error"`
	}{Task: task, Old: from, New: to, Time: time.Now().UTC().Format(time.RFC3339Nano)}
	if cause != "" {
		short := strings.ToValidUTF8(cause[:min(len(cause), maxNotifiedText)], "")
		payload.Error = &short
	}
	text, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "SELECT pg_notify($1, $2)", eventsChannel, string(text))
	return err
}

// entry is one line of sync_log, of a task by its id, of a former task by its name, or of the daemon.
type entry struct{ task, name, level, event, message, detail string }

// failures are the states that wait for an operator's help.
var failures = []State{
	StateCreationFailed, StateStartFailed, StateFullFailed, StateIncrementalFailed, StateModifyingFailed, StateStoppingFailed,
}

func stepEntry(t Task, step Transition, ch Change) entry {
	e := entry{task: t.ID, level: LevelInfo, event: string(step.Event), message: ch.Message}
	switch {
	case step.To == t.State && slices.Contains(OperatorEvents, step.Event): // a wish, whatever the state
	case step.To == StateFault:
		e.level = LevelWarning
	case slices.Contains(failures, step.To):
		e.level = LevelError
	}
	if e.message == "" {
		e.message = ch.Error
	}
	switch {
	case e.message != "":
	case step.To == t.State:
		e.message = fmt.Sprintf("%s in %s", step.Event, t.State)
	default:
		e.message = fmt.Sprintf("%s → %s", t.State, step.To)
	}
	var details []string
	for _, part := range []string{ch.Detail, ch.Hint, byUser(ch.By)} {
		if part != "" {
			details = append(details, part)
		}
	}
	e.detail = strings.Join(details, "\n")
	return e
}

func byUser(name string) string {
	if name == "" {
		return ""
	}
	return "by " + name
}

func record(ctx context.Context, tx pgx.Tx, e entry) error {
	_, err := tx.Exec(ctx, `INSERT INTO pgsyncd.log (task_id, task, level, event, message, detail)
		VALUES (nullif($1, '')::uuid, nullif($2, ''), $3, $4, $5, $6)`, e.task, e.name, e.level, e.event, Brief(e.message), Brief(e.detail))
	return err
}

// Log adds a line to sync_log: of a task by its name, or of the daemon with an empty name. level is one of the Level
// constants.
func (c *Catalog) Log(ctx context.Context, task, level, event, message, detail string) error {
	_, err := c.pool.Exec(ctx, `INSERT INTO pgsyncd.log (task_id, task, level, event, message, detail)
		SELECT (SELECT id FROM pgsyncd.task WHERE name = $1), nullif($1, ''), $2, $3, $4, $5`, task, level, event,
		Brief(message), Brief(detail))
	if err != nil {
		return fmt.Errorf("log event %s: %w", event, err)
	}
	return nil
}

// longestText is what is kept of a message, in bytes: a server may quote a value of many megabytes.
const longestText = 8 << 10

// Brief returns a text that a UTF-8 database accepts and that is not longer than a message should be.
func Brief(s string) string {
	if len(s) > longestText {
		s = s[:longestText] + fmt.Sprintf("… (%d bytes)", len(s))
	}
	return plain(s)
}

// plain makes a text acceptable to a UTF-8 database: messages of servers come in any encoding.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
