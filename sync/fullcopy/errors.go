package fullcopy

import (
	"errors"
	"fmt"
	"strings"

	"pgsyncd/sync/schema"
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
		line := fmt.Sprintf("%s %s: %v", f.Type, f.Name, f.Err)
		if f.Dependent {
			line += " (depends on an object above)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Hint says what to do.
func (e *ObjectsError) Hint() string {
	return "Create what is missing or remove what is in the way in the destination, then resume the task: what exists already is not done again."
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
		lines = append(lines, f.Err.Error())
	}
	return strings.Join(lines, "\n")
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
