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

// sourceNames are the names of the slot and the publication of a task. They carry the task's id: names of tasks may be
// reused and differ from what PostgreSQL accepts for slots.
func sourceNames(taskID string) (slot, publication string) {
	id := strings.ReplaceAll(taskID, "-", "")
	return "pgsyncd_" + id, "pgsyncd_" + id
}
