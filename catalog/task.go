package catalog

import (
	"encoding/json"
	"errors"
	"time"
)

// Errors that callers branch on. Both are wrapped with the name of what was looked for.
var (
	ErrNotFound = errors.New("does not exist")
	ErrExists   = errors.New("already exists")
)

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

// Change is what comes with an event: the cause of a failure, and what the transition stores beside the state.
type Change struct {
	Error, Detail, Hint string          // of a fault or failure
	StartAt             *time.Time      // for EventSchedule
	Confirm             []string        // replaces Task.Confirm unless nil
	By                  string          // the operator, empty for the daemon
	Runtime             json.RawMessage // replaces Task.Runtime unless nil
	Message             string          // of the log entry; default: the two states
}
