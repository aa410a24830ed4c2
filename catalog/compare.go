package catalog

import "time"

// CompareRun is one comparison of a task's two sides.
type CompareRun struct {
	ID              int64
	TaskID          string
	Type            string // ROWS, VALUES
	Schedule        string // name of the schedule it came from, or empty
	State           string // queued, running, finished, failed, cancelled
	Options         map[string]string
	Tables          []string // source tables; nil for all
	TablesTotal     int
	TablesDone      int
	TablesDifferent int
	RowsDifferent   int64
	LSN             string
	CreatedAt       time.Time
	StartedAt       *time.Time
	FinishedAt      *time.Time
	Error           string
}

// CompareTable is the outcome of one table in a run.
type CompareTable struct {
	RunID            int64
	SourceTable      string
	DestinationTable string
	SourceRows       *int64
	DestinationRows  *int64
	Result           string // equal, different, undecided, failed
	Remarks          string
	RowsMissing      *int64
	RowsExtra        *int64
	RowsDifferent    *int64
}

// Schedule starts comparisons at the times of a cron expression, or once when Cron is empty.
type Schedule struct {
	Name      string
	TaskID    string
	Type      string
	Cron      string
	TimeZone  string
	Enabled   bool
	Tables    []string
	Options   map[string]string
	NextRun   *time.Time
	LastRunID *int64
}
