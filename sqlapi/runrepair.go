package sqlapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"pgsyncd/catalog"
	"pgsyncd/compare"
)

var (
	repairColumns = []column{{"table", "text"}, {"kind", "text"}, {"key", "jsonb"}, {"statement", "text"}, {"outcome", "text"}}
	reportColumns = []column{{"report", "text"}}
)

// noComparison is that there is no such run.
func noComparison(run int64) *Error {
	return Errorf(CodeUndefined, "comparison %d does not exist", run).WithHint("SELECT run_id, state FROM sync_compares;")
}

// repairCompare makes the differing rows of a run equal, and returns one row for each.
func (e *Engine) repairCompare(ctx context.Context, s *Session, stmt *RepairCompare) ([][]*string, error) {
	repair, err := e.cfg.Comparisons.Repair(ctx, stmt.Run, s.User, stmt.DryRun)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, noComparison(stmt.Run)
	}
	if err != nil {
		return nil, err
	}
	for _, note := range repair.Notes {
		s.Notice(Notice{Severity: "WARNING", Message: note})
	}
	if repair.Check != 0 {
		s.Notice(Notice{
			Message: fmt.Sprintf("the repaired tables are compared again: comparison %d", repair.Check),
			Hint:    fmt.Sprintf("SELECT state, tables_different, rows_different FROM sync_compares WHERE run_id = %d;", repair.Check),
		})
	}
	rows := make([][]*string, len(repair.Rows))
	for i, r := range repair.Rows {
		rows[i] = cells(r.SourceTable, r.Kind, "", r.Statement, r.Outcome)
		if r.Key != nil {
			key, err := json.Marshal(r.Key)
			if err != nil {
				return nil, err
			}
			text := string(key)
			rows[i][2] = &text
		}
	}
	return rows, nil
}

// showReport returns the report of a run.
func (e *Engine) showReport(ctx context.Context, stmt *ShowReport) ([][]*string, error) {
	report, err := e.cfg.Comparisons.Report(ctx, stmt.Run)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil, noComparison(stmt.Run)
	}
	if err != nil {
		return nil, err
	}
	return [][]*string{cells(report)}, nil
}

// refused is why a run cannot be repaired, nil for another error.
func refused(err error) *Error {
	if r, ok := errors.AsType[*compare.RefusedError](err); ok {
		return &Error{Code: CodeWrongState, Message: r.Message, Detail: r.Detail, Hint: r.Hint, Err: err}
	}
	return nil
}
