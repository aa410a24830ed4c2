package sync

import (
	"encoding/json"
	"fmt"
	"strings"

	"pgsyncd/catalog"

	"github.com/jackc/pglogrepl"
)

// phase is how far a task has come for good; it only moves forward until a reset.
type phase string

const (
	phaseNew         phase = ""            // nothing exists outside the catalog
	phaseFull        phase = "full"        // objects of the task may exist on both sides
	phaseIncremental phase = "incremental" // the full phase is complete
	phaseReset       phase = "reset"       // it is to begin anew; what it had on the source may still be there
)

// notes are what a runner must find again after a crash and cannot learn from the destination.
type notes struct {
	Phase       phase  `json:"phase"`
	Slot        string `json:"slot,omitempty"`
	Publication string `json:"publication,omitempty"` // none with test_decoding
	Plugin      string `json:"plugin,omitempty"`      // that the slot decodes with; decided once, when the task starts
	// CopiedAt is the highest position of a snapshot that a table was copied at; before the stream has passed it the
	// destination is not yet consistent.
	CopiedAt pglogrepl.LSN `json:"copied_at,omitempty"`
	// Clear asks a reset to drop what the task has made in the destination.
	Clear bool `json:"clear,omitempty"`
	// Elsewhere is the system identifier of a cluster that the destination was found on and that is not the one the task wrote to. A
	// task that is resumed after having said so accepts it.
	Elsewhere string `json:"elsewhere,omitempty"`
}

func readNotes(t catalog.Task) (notes, error) {
	var n notes
	if len(t.Runtime) == 0 {
		return n, nil
	}
	if err := json.Unmarshal(t.Runtime, &n); err != nil {
		return n, fmt.Errorf("read runtime notes of task %s: %w", t.Name, err)
	}
	return n, nil
}

func (n notes) encode() json.RawMessage {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return b
}

// ResetNotes are the runtime notes with which a task begins anew, its traces removed first. With clear, that includes what it has made
// in the destination.
func ResetNotes(t catalog.Task, clear bool) (json.RawMessage, error) {
	n, err := readNotes(t)
	if err != nil {
		return nil, err
	}
	n.Phase, n.Clear, n.CopiedAt, n.Elsewhere = phaseReset, clear, 0, ""
	return n.encode(), nil
}

// sourceNames are the names of the slot and the publication of a task. They carry the task's id: names of tasks may be
// reused and differ from what PostgreSQL accepts for slots.
func sourceNames(taskID string) (slot, publication string) {
	id := strings.ReplaceAll(taskID, "-", "")
	return "pgsyncd_" + id, "pgsyncd_" + id
}
