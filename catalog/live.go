package catalog

import (
	"encoding/json"
	"time"
)

// Status holds the live figures of one task. Percentages run from 0 to 100, LSNs are texts like "0/16B3748" and empty
// when unknown, nil means unknown.
type Status struct {
	Phase                                            string
	ProgressPct, StructurePct, DataPct, IndexPct     float64
	TablesDone, TablesTotal                          int
	RowsCopied, BytesCopied, CopyBytesPerS           int64
	EtaS, DelayMs, LagBytes                          *int64
	SourceLSN, ReceivedLSN, AppliedLSN, ConfirmedLSN string
	SlotWALBytes                                     *int64
	RowsApplied, TransactionsApplied                 int64
	RowsPerS                                         float64
	Conflicts, DDLs                                  int64
}

// TableStatus is the state of one source table. Counters are totals since the task's start.
type TableStatus struct {
	SourceSchema      string     `json:"source_schema"`
	SourceTable       string     `json:"source_table"`
	DestinationSchema string     `json:"destination_schema"`
	DestinationTable  string     `json:"destination_table"`
	State             string     `json:"state"` // pending, copying, copied, indexing, done, synchronizing, failed
	RowsEstimated     int64      `json:"rows_estimated"`
	RowsCopied        int64      `json:"rows_copied"`
	BytesCopied       int64      `json:"bytes_copied"`
	Inserts           int64      `json:"inserts"`
	Updates           int64      `json:"updates"`
	Deletes           int64      `json:"deletes"`
	Truncates         int64      `json:"truncates"`
	CopyLSN           string     `json:"copy_lsn"`
	Error             string     `json:"error"`
	StartedAt         *time.Time `json:"started_at"`
	FinishedAt        *time.Time `json:"finished_at"`
}

// ObjectStatus is the state of one object other than a table.
type ObjectStatus struct {
	Type            string `json:"type"`
	SourceName      string `json:"source_name"`
	DestinationName string `json:"destination_name"`
	State           string `json:"state"`
	Statement       string `json:"statement"`
	Error           string `json:"error"`
}

// PrecheckRow is the outcome of one check.
type PrecheckRow struct {
	Category   string `json:"category"`
	Item       string `json:"item"`
	Result     string `json:"result"` // passed, to confirm, failed
	Found      string `json:"found"`
	Suggestion string `json:"suggestion"`
	Confirmed  bool   `json:"confirmed"`
}

// Conflict is one row of the stream that did not fit the destination.
type Conflict struct {
	Time           time.Time       `json:"time"`
	Table          string          `json:"table"`
	Kind           string          `json:"kind"`
	Key            json.RawMessage `json:"key"`
	SourceRow      json.RawMessage `json:"source_row"`
	DestinationRow json.RawMessage `json:"destination_row"`
	LSN            string          `json:"lsn"`
	Action         string          `json:"action"`
}

// Leftover is an object that a force stop could not remove. It outlives its task.
type Leftover struct {
	Side       string `json:"side"` // source, destination
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	CleanupSQL string `json:"cleanup_sql"`
}
