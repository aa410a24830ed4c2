package fullcopy

import (
	"errors"
	"fmt"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5/pgconn"
)

// LostError reports that an unfinished copy cannot be resumed, because the changes since its beginning are lost.
type LostError struct{ Reason string }

func (e *LostError) Error() string { return "the copy cannot be resumed: " + e.Reason }

// Permanent reports that only a new beginning helps.
func (e *LostError) Permanent() bool { return true }

// Detail is empty; it comes with Hint.
func (e *LostError) Detail() string { return "" }

// Hint says what to do.
func (e *LostError) Hint() string { return "Reset the task to copy everything anew." }

// ObjectFailure is a statement the destination refused.
type ObjectFailure struct {
	Type, Name, Statement string
	Err                   error
	Dependent             bool // it needs an object that failed as well
}

// ObjectsError lists all objects that could not be created, those that failed by themselves first. The next run tries
// them again, and nothing else.
type ObjectsError struct{ Failures []ObjectFailure }

func (e *ObjectsError) Error() string {
	f := e.Failures[0]
	text := fmt.Sprintf("create %s %s: %v", strings.ToLower(f.Type), f.Name, f.Err)
	if n := len(e.Failures) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more objects)", n)
	}
	return text
}

// Permanent reports that somebody has to change something first.
func (e *ObjectsError) Permanent() bool { return true }

// Detail has one line per object.
func (e *ObjectsError) Detail() string {
	var lines []string
	for _, f := range e.Failures {
		line := fmt.Sprintf("%s %s: %s", f.Type, f.Name, withDetail(f.Err))
		if f.Dependent {
			line += " (depends on an object above)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Hint says what to do.
func (e *ObjectsError) Hint() string {
	return "Make what they need, but not the objects themselves, or remove what is in the way in the destination, then resume the task: what exists already is not done again."
}

// sourceError is what the source answered instead of rows.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "source: " + e.err.Error() }

func (e *sourceError) Unwrap() error { return e.err }

// Hint says what can be done about rows that cannot be sent at all, and for anything else that the cause lies there.
func (e *sourceError) Hint() string {
	var pg *pgconn.PgError
	if errors.As(e.err, &pg) && (pg.Code == "54000" || strings.HasPrefix(pg.Message, "invalid memory alloc request size")) {
		return "A row is too large to be sent: no more than 1 GB goes into one message, and text takes twice the room for bytea. " +
			"With copy_format = 'auto' binary is used where it is safe; or leave the row out with WHERE. Then resume the task."
	}
	return "Remove the cause in the source, then resume the task: only these tables are copied again."
}

// TableFailure is a unit whose rows could not be copied.
type TableFailure struct {
	Table schema.Name
	Err   error
}

// TablesError lists the tables whose rows were refused. All others are copied.
type TablesError struct{ Failures []TableFailure }

func (e *TablesError) Error() string {
	text := e.Failures[0].Err.Error()
	if n := len(e.Failures) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more tables)", n)
	}
	return text
}

// Permanent reports that somebody has to change something first.
func (e *TablesError) Permanent() bool { return true }

// Detail has one line per table.
func (e *TablesError) Detail() string {
	var lines []string
	for _, f := range e.Failures {
		lines = append(lines, withDetail(f.Err))
	}
	return strings.Join(lines, "\n")
}

// withDetail is an error with the server's DETAIL, which names the row that is in the way.
func withDetail(err error) string {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Detail != "" {
		return err.Error() + ": " + pg.Detail
	}
	return err.Error()
}

// Hint is the advice of the first table that has one.
func (e *TablesError) Hint() string {
	for _, f := range e.Failures {
		var advice interface {
			error
			Hint() string
		}
		if errors.As(f.Err, &advice) {
			return advice.Hint()
		}
	}
	return "Make the destination accept the rows, then resume the task: only these tables are copied again."
}
