package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Errors that callers branch on. Both are wrapped with the name of what was looked for.
var (
	ErrNotFound = errors.New("does not exist")
	ErrExists   = errors.New("already exists")
)

// Modes of a task.
const (
	ModeFull               = "full"
	ModeFullAndIncremental = "full and incremental"
	ModeIncremental        = "incremental"
)

// ConfirmAll in Task.Confirm stands for every precheck item.
const ConfirmAll = "*"

// Task is one synchronization of one source database to one destination database. The first group of fields is the
// operator's description, written by CreateTask and UpdateTask; the second is the state, written by Fire; Runtime
// belongs to the task's runner.
type Task struct {
	ID              string // UUID, given by CreateTask
	Name            string
	Mode            string            // "full", "full and incremental", "incremental"
	Scope           string            // the FOR clause as shown in sync_tasks
	Definition      json.RawMessage   // the selection of objects
	SQL             string            // the canonical CREATE SYNC TASK, without secrets
	Source          Secret            // complete conninfo
	Destination     Secret            // complete conninfo
	SourceText      string            // redacted conninfo for display
	DestinationText string            // redacted conninfo for display
	Options         map[string]string // set by the operator; defaults are not stored
	Tags            map[string]string
	Flow            Flow      // limits the full phase
	Mappings        []Mapping // names that Definition changes, for display
	Description     string
	StartAt         *time.Time
	Confirm         []string // confirmed precheck items, or "*" for all
	CreatedAt       time.Time
	CreatedBy       string
	ChangedBy       string // whom UpdateTask names in sync_parameter_history; not stored

	State       State
	Desired     Desired
	Since       time.Time // when State began
	Error       string
	ErrorDetail string
	ErrorHint   string
	Retries     int // faults since the last start or recovery

	Runtime json.RawMessage // the runner's durable notes: slot, publication, phase; nil until SetRuntime
}

// Flow limits the full phase; its zero value does not.
type Flow struct {
	MBPerSecond int      `json:"mb_per_second,omitempty"` // megabytes of 1024 × 1024 bytes
	Windows     []Window `json:"windows,omitempty"`       // daily; none: all day
}

// Window is a daily range in minutes after midnight, [From, To). From > To passes midnight; To may be 1440.
type Window struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Mapping is a name that differs between the sides, in its parts.
type Mapping struct {
	Kind        string   `json:"kind"` // schema, table, view, materialized view, sequence, column
	Source      []string `json:"source"`
	Destination []string `json:"destination"`
}

// Change is what comes with an event: the cause of a failure, and what the transition stores beside the state.
type Change struct {
	Error, Detail, Hint string          // of a fault or failure
	StartAt             *time.Time      // for EventSchedule
	Confirm             []string        // replaces Task.Confirm unless nil
	By                  string          // the operator, empty for the daemon
	Runtime             json.RawMessage // replaces Task.Runtime unless nil
	Message             string          // of the log entry; default: the two states
	Compare             []CompareRun    // comparisons to queue; only what AddCompare uses counts, and the task is this one
}

// taskColumns are read by scanTask.
const taskColumns = `id::text, name, mode, scope, definition, sql, source, destination, source_text, destination_text, options,
	certificates, tags, flow, mappings, description, start_at, confirm, created_at, created_by, state, desired, since, error, error_detail,
	error_hint, retries, runtime`

func (c *Catalog) scanTask(row pgx.CollectableRow) (Task, error) {
	var t Task
	var source, destination, sealed []byte
	err := row.Scan(&t.ID, &t.Name, &t.Mode, &t.Scope, &t.Definition, &t.SQL, &source, &destination, &t.SourceText,
		&t.DestinationText, &t.Options, &sealed, &t.Tags, &t.Flow, &t.Mappings, &t.Description, &t.StartAt, &t.Confirm, &t.CreatedAt, &t.CreatedBy,
		&t.State, &t.Desired, &t.Since, &t.Error, &t.ErrorDetail, &t.ErrorHint, &t.Retries, &t.Runtime)
	if err != nil {
		return Task{}, err
	}
	for column, secret := range map[string]struct {
		sealed []byte
		text   *Secret
	}{"source": {source, &t.Source}, "destination": {destination, &t.Destination}} {
		text, err := c.key.open(t.ID, column, secret.sealed)
		if err != nil {
			return Task{}, err
		}
		*secret.text = Secret(text)
	}
	if sealed == nil {
		return t, nil
	}
	text, err := c.key.open(t.ID, "certificates", sealed)
	if err != nil {
		return Task{}, err
	}
	var hidden map[string]string
	if err := json.Unmarshal(text, &hidden); err != nil {
		return Task{}, fmt.Errorf("certificates of task %s: %w", t.ID, err)
	}
	maps.Copy(t.Options, hidden)
	return t, nil
}

// description gives the values of the operator's fields in the order of the statements below.
func (c *Catalog) description(t Task) ([]any, error) {
	options, err := ParseTaskOptions(t.Options)
	if err != nil {
		return nil, err
	}
	shown, hidden := maps.Clone(t.Options), map[string]string{}
	if shown == nil {
		shown = map[string]string{}
	}
	for name, value := range t.Options {
		if secretOption(name) {
			shown[name], hidden[name] = redacted, value
		}
	}
	var sealed []byte
	if len(hidden) > 0 {
		text, err := json.Marshal(hidden)
		if err != nil {
			return nil, err
		}
		sealed = c.key.seal(t.ID, "certificates", text)
	}
	tags, definition, confirm := t.Tags, t.Definition, t.Confirm
	if tags == nil {
		tags = map[string]string{}
	}
	if definition == nil {
		definition = json.RawMessage("{}")
	}
	if confirm == nil {
		confirm = []string{}
	}
	mappings, err := jsonArray(t.Mappings)
	if err != nil {
		return nil, err
	}
	return []any{
		t.ID, t.Name, t.Mode, t.Scope, definition, t.SQL, c.key.seal(t.ID, "source", []byte(t.Source)),
		c.key.seal(t.ID, "destination", []byte(t.Destination)), t.SourceText, t.DestinationText, shown, sealed, tags,
		t.Flow, mappings, t.Description, t.StartAt, confirm, t.CreatedBy, options.DelayThreshold, options.HistoryRetention,
	}, nil
}

const (
	insertTask = `INSERT INTO pgsyncd.task (id, name, mode, scope, definition, sql, source, destination, source_text,
		destination_text, options, certificates, tags, flow, mappings, description, start_at, confirm, created_by,
		delay_threshold, history_retention, state, desired)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
	RETURNING ` + taskColumns
	updateTask = `UPDATE pgsyncd.task SET (name, mode, scope, definition, sql, source, destination, source_text,
		destination_text, options, certificates, tags, flow, mappings, description, start_at, confirm, created_by,
		delay_threshold, history_retention)
	= ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
	WHERE id = $1`
	insertHistory = `INSERT INTO pgsyncd.option_history (task_id, option, old_value, new_value, changed_by)
	VALUES ($1, $2, $3, $4, $5)`
)

// CreateTask stores a new task, in the state configuration unless t names another. ErrExists if the name is taken, an
// *OptionError if an option is wrong.
func (c *Catalog) CreateTask(ctx context.Context, t Task) (Task, error) {
	t.ID = uuid.NewString()
	if t.State == "" {
		t.State = StateConfiguration
	}
	if t.Desired == "" {
		t.Desired = DesiredNone
	}
	values, err := c.description(t)
	if err != nil {
		return Task{}, fmt.Errorf("create task %q: %w", t.Name, err)
	}
	var created Task
	err = c.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, insertTask, append(values, string(t.State), string(t.Desired))...)
		if err != nil {
			return err
		}
		if created, err = pgx.CollectExactlyOneRow(rows, c.scanTask); err != nil {
			return err
		}
		return record(ctx, tx, entry{task: created.ID, level: LevelInfo, event: "create", message: "task created", detail: byUser(t.CreatedBy)})
	})
	if err != nil {
		return Task{}, fmt.Errorf("create task %q: %w", t.Name, meaning(err))
	}
	return created, nil
}

// Task finds a task by its name. ErrNotFound if there is none.
func (c *Catalog) Task(ctx context.Context, name string) (Task, error) {
	t, err := c.oneTask(ctx, c.pool, "name = $1", name)
	if err != nil {
		return Task{}, fmt.Errorf("task %q: %w", name, err)
	}
	return t, nil
}

// TaskByID finds a task by its id. ErrNotFound if there is none.
func (c *Catalog) TaskByID(ctx context.Context, id string) (Task, error) {
	t, err := c.oneTask(ctx, c.pool, "id = $1", id)
	if err != nil {
		return Task{}, fmt.Errorf("task %s: %w", id, err)
	}
	return t, nil
}

func (c *Catalog) oneTask(ctx context.Context, q querier, condition string, arg any) (Task, error) {
	rows, err := q.Query(ctx, "SELECT "+taskColumns+" FROM pgsyncd.task WHERE "+condition, arg)
	if err != nil {
		return Task{}, err
	}
	t, err := pgx.CollectExactlyOneRow(rows, c.scanTask)
	return t, meaning(err)
}

// Tasks lists all tasks by name.
func (c *Catalog) Tasks(ctx context.Context) ([]Task, error) {
	rows, err := c.pool.Query(ctx, "SELECT "+taskColumns+" FROM pgsyncd.task ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	tasks, err := pgx.CollectRows(rows, c.scanTask)
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return tasks, nil
}

// UpdateTask changes the operator's fields of a task: change gets the task as it is, under a row lock, and edits it; an
// error of change is returned as it is and nothing is written. What change does to the state fields and to Runtime is not
// stored. Changes of options go to sync_parameter_history in the name of ChangedBy.
func (c *Catalog) UpdateTask(ctx context.Context, id string, change func(*Task) error) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		before, err := c.oneTask(ctx, tx, "id = $1 FOR UPDATE", id)
		if err != nil {
			return fmt.Errorf("update task %s: %w", id, err)
		}
		after := before
		after.Options, after.Tags = maps.Clone(before.Options), maps.Clone(before.Tags)
		if err := change(&after); err != nil {
			return err
		}
		after.ID = before.ID
		values, err := c.description(after)
		if err != nil {
			return fmt.Errorf("update task %q: %w", before.Name, err)
		}
		if _, err := tx.Exec(ctx, updateTask, values...); err != nil {
			return fmt.Errorf("update task %q: %w", before.Name, meaning(err))
		}
		if err := recordOptions(ctx, tx, before, after); err != nil {
			return fmt.Errorf("update task %q: %w", before.Name, err)
		}
		return nil
	})
}

func recordOptions(ctx context.Context, tx pgx.Tx, before, after Task) error {
	names := slices.Sorted(maps.Keys(before.Options))
	for _, name := range slices.Sorted(maps.Keys(after.Options)) {
		if _, ok := before.Options[name]; !ok {
			names = append(names, name)
		}
	}
	shown := func(options map[string]string, name string) *string {
		value, ok := options[name]
		if !ok {
			return nil
		}
		if secretOption(name) {
			value = redacted
		}
		return &value
	}
	for _, name := range names {
		old, was := before.Options[name]
		value, is := after.Options[name]
		if was == is && old == value {
			continue
		}
		_, err := tx.Exec(ctx, insertHistory, before.ID, name, shown(before.Options, name), shown(after.Options, name), after.ChangedBy)
		if err != nil {
			return err
		}
	}
	return nil
}

// SetRuntime stores the runner's notes. An empty JSON object, null or nil mean that there is nothing to remember.
func (c *Catalog) SetRuntime(ctx context.Context, id string, runtime json.RawMessage) error {
	tag, err := c.pool.Exec(ctx, "UPDATE pgsyncd.task SET runtime = $2 WHERE id = $1", id, notes(runtime))
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("note state of task %s: %w", id, err)
	}
	return nil
}

// notes maps every way of saying nothing to SQL's null.
func notes(runtime json.RawMessage) any {
	switch strings.TrimSpace(string(runtime)) {
	case "", "null", "{}":
		return nil
	}
	return string(runtime)
}

// meaning maps what PostgreSQL and pgx say to the errors that callers branch on.
func meaning(err error) error {
	var pgErr *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNotFound
	case errors.As(err, &pgErr) && pgErr.Code == "23505": // unique_violation
		return ErrExists
	case errors.As(err, &pgErr) && pgErr.Code == "23503": // foreign_key_violation: the task was dropped
		return ErrNotFound
	}
	return err
}
