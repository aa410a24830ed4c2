package sync

import (
	"context"
	"fmt"

	"pgsyncd/catalog"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"
)

// reporter hands what a stream tells to the figures and conflicts to the catalog.
type reporter struct{ *runner }

// Progress implements incremental.Reporter.
func (r reporter) Progress(p incremental.Progress) { r.figures.streamProgress(p) }

// Table implements incremental.Reporter.
func (r reporter) Table(name schema.Name, inserts, updates, deletes, truncates int64) {
	r.figures.streamTable(name, inserts, updates, deletes, truncates)
}

// Conflicts implements incremental.Reporter.
func (r reporter) Conflicts(ctx context.Context, conflicts []incremental.Conflict) error {
	rows := make([]catalog.Conflict, len(conflicts))
	for i, c := range conflicts {
		rows[i] = catalog.Conflict{
			Time: c.Time, Table: c.Table.String(), Kind: c.Kind, Key: c.Key, SourceRow: c.SourceRow,
			DestinationRow: c.DestinationRow, LSN: c.LSN.String(), Action: c.Action,
		}
	}
	if err := r.cfg.Catalog.AddConflicts(ctx, r.id, rows); err != nil {
		return fmt.Errorf("record %d conflicts: %w", len(rows), err)
	}
	r.figures.conflicts(len(conflicts))
	return nil
}

// streamProgress is called by the stream after every commit.
func (f *figures) streamProgress(p incremental.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Applied > f.furthest {
		f.furthest = p.Applied
		f.worked++
	}
	f.progress = p
	f.st.ReceivedLSN, f.st.AppliedLSN, f.st.ConfirmedLSN = lsnText(p.Received), lsnText(p.Applied), lsnText(p.Confirmed)
	f.st.RowsApplied, f.st.TransactionsApplied = f.baseRows+p.Rows, f.baseTxns+p.Transactions
	f.touch()
}

func (f *figures) streamTable(name schema.Name, inserts, updates, deletes, truncates int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	row := f.tables[name]
	if row == nil {
		row = &tableFigure{TableStatus: catalog.TableStatus{
			SourceSchema: name.Schema, SourceTable: name.Name, DestinationSchema: name.Schema, DestinationTable: name.Name,
		}}
		f.tables[name] = row
	}
	row.Inserts += inserts
	row.Updates += updates
	row.Deletes += deletes
	row.Truncates += truncates
	row.State, row.changed = tableSynchronizing, true
}

const tableSynchronizing = "synchronizing"

func (f *figures) conflicts(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.st.Conflicts += int64(n)
	f.changed = true
}
