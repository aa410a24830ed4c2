package incremental

import (
	"errors"
	"fmt"
	"strings"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// permanentError is a fault that trying again cannot overcome.
type permanentError string

func (e permanentError) Error() string { return string(e) }

// Permanent tells the supervisor not to try again.
func (e permanentError) Permanent() bool { return true }

// Faults after which the stream cannot go on from where it was: the task has to be reset.
const (
	// ErrSlotLost: the slot is gone, invalidated, or not one of this task.
	ErrSlotLost = permanentError("the replication slot is lost")
	// ErrAhead: the slot has been confirmed beyond the destination's position, so changes are missing.
	ErrAhead = permanentError("the replication slot is ahead of the destination")
	// ErrOtherSystem: another cluster answers at the source's address.
	ErrOtherSystem = permanentError("the source is another database cluster")
	// ErrTimeline: the source was promoted or restored.
	ErrTimeline = permanentError("the source is on another timeline")
	// ErrBehind: the source's WAL ends before the destination's position, as after a restore from a copy of its files.
	ErrBehind = permanentError("the source is behind the destination")
	// ErrPublication: what is published is not, or was not all the time, what the task copied, so changes are missing.
	ErrPublication = permanentError("the publication does not bring all changes")
)

// errDrained ends a stream that reached the position given to StopAt.
var errDrained = errors.New("drained")

// permanentf makes a permanent error; an argument wrapped with %w stays recognisable.
func permanentf(format string, args ...any) error {
	return wrappedPermanent{fmt.Errorf(format, args...)}
}

type wrappedPermanent struct{ error }

func (e wrappedPermanent) Unwrap() error   { return e.error }
func (e wrappedPermanent) Permanent() bool { return true }

// ConflictError stops a stream under PolicyError, and under every policy where a row would have to be lost.
type ConflictError struct {
	Conflict
	Cause error // what the destination said, nil when it only met no row
}

func (e *ConflictError) Error() string {
	text := fmt.Sprintf("apply to %s: conflict %s at %s, key %s", e.Table, e.Kind, e.LSN, brief(string(e.Key)))
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns Cause.
func (e *ConflictError) Unwrap() error { return e.Cause }

// Permanent is true: the same conflict comes again until somebody resolves it.
func (e *ConflictError) Permanent() bool { return true }

// ChangeError is a change that the destination refuses for a reason other than a conflict of rows.
type ChangeError struct {
	Table     schema.Name
	Operation string
	Key       string // JSON object of the addressing columns
	LSN       pglogrepl.LSN
	Cause     error
}

func (e *ChangeError) Error() string {
	return fmt.Sprintf("apply %s to %s at %s, key %s: %s", e.Operation, e.Table, e.LSN, brief(e.Key), e.Cause)
}

// Unwrap returns Cause.
func (e *ChangeError) Unwrap() error { return e.Cause }

// Permanent tells whether the destination would answer the same again.
func (e *ChangeError) Permanent() bool {
	return endpoint.SQLState(e.Cause) == "" || deterministic(e.Cause)
}

// brief shortens a key for a message: where all columns are the key, it may be megabytes.
func brief(key string) string {
	const limit = 300
	if len(key) <= limit {
		return key
	}
	return strings.ToValidUTF8(key[:limit], "") + "…"
}

// deterministic reports whether an error comes from data, constraints or definitions, not from circumstances.
func deterministic(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) != 5 {
		return false
	}
	switch pg.Code[:2] {
	case "0A", "21", "22", "23", "42", "44", "P0":
		return true
	}
	return false
}
