package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

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

const runColumns = `id, task_id::text, type, schedule, state, options, tables, tables_total, tables_done, tables_different,
	rows_different, lsn, created_at, started_at, finished_at, error`

// AddCompare queues a run and gives its number. Only TaskID, Type, Schedule, Options and Tables are used. ErrNotFound if
// the task is gone.
func (c *Catalog) AddCompare(ctx context.Context, r CompareRun) (int64, error) {
	return addCompare(ctx, c.pool, r)
}

func addCompare(ctx context.Context, q querier, r CompareRun) (int64, error) {
	var id int64
	err := q.QueryRow(ctx, `INSERT INTO pgsyncd.compare_run (task_id, type, schedule, state, options, tables)
		VALUES ($1, $2, $3, 'queued', $4, $5) RETURNING id`, r.TaskID, r.Type, r.Schedule, notNil(r.Options), r.Tables).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("queue comparison: %w", meaning(err))
	}
	return id, nil
}

func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// NextCompare takes the oldest queued run, which is running from then on; false if none is queued.
func (c *Catalog) NextCompare(ctx context.Context) (CompareRun, bool, error) {
	rows, err := c.pool.Query(ctx, `UPDATE pgsyncd.compare_run SET state = 'running', started_at = now()
		WHERE state = 'queued' AND id = (SELECT id FROM pgsyncd.compare_run WHERE state = 'queued' ORDER BY id LIMIT 1
		FOR UPDATE SKIP LOCKED) RETURNING `+runColumns)
	if err != nil {
		return CompareRun{}, false, fmt.Errorf("take queued comparison: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[CompareRun])
	if errors.Is(err, pgx.ErrNoRows) {
		return CompareRun{}, false, nil
	}
	if err != nil {
		return CompareRun{}, false, fmt.Errorf("take queued comparison: %w", err)
	}
	return r, true, nil
}

// RequeueCompares queues the runs again that are marked as running, except those that are. The tables that they have finished stay so.
func (c *Catalog) RequeueCompares(ctx context.Context, except ...int64) (int, error) {
	tag, err := c.pool.Exec(ctx, `WITH unfinished AS (
			DELETE FROM pgsyncd.compare_row r USING pgsyncd.compare_run n WHERE n.id = r.run_id AND n.state = 'running' AND n.id <> ALL ($1)
			AND NOT EXISTS (SELECT FROM pgsyncd.compare_table t WHERE (t.run_id, t.source_table) = (r.run_id, r.source_table)))
		UPDATE pgsyncd.compare_run SET state = 'queued', started_at = NULL, tables_total = 0,
		tables_done = 0, tables_different = 0, rows_different = 0 WHERE state = 'running' AND id <> ALL ($1)`, append([]int64{}, except...))
	if err != nil {
		return 0, fmt.Errorf("queue interrupted comparisons: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// UpdateCompare stores the progress and the state of a run. A cancelled run stays cancelled. ErrNotFound if the run is gone, or if
// it is said to be running and waits to be taken again.
func (c *Catalog) UpdateCompare(ctx context.Context, r CompareRun) error {
	tag, err := c.pool.Exec(ctx, `UPDATE pgsyncd.compare_run SET state = CASE state WHEN 'cancelled' THEN state ELSE $2 END,
		tables_total = $3, tables_done = $4, tables_different = $5, rows_different = $6, lsn = $7,
		finished_at = coalesce(finished_at, $8), error = $9 WHERE id = $1 AND NOT (state = 'queued' AND $2 = 'running')`, r.ID, r.State,
		r.TablesTotal, r.TablesDone, r.TablesDifferent, r.RowsDifferent, r.LSN, r.FinishedAt, plain(r.Error))
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("update comparison %d: %w", r.ID, err)
	}
	return nil
}

// Compare finds a run. ErrNotFound if there is none.
func (c *Catalog) Compare(ctx context.Context, id int64) (CompareRun, error) {
	rows, err := c.pool.Query(ctx, "SELECT "+runColumns+" FROM pgsyncd.compare_run WHERE id = $1", id)
	if err != nil {
		return CompareRun{}, fmt.Errorf("comparison %d: %w", id, err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[CompareRun])
	if err != nil {
		return CompareRun{}, fmt.Errorf("comparison %d: %w", id, meaning(err))
	}
	return r, nil
}

// ErrFinished says that a comparison cannot be cancelled any more.
var ErrFinished = errors.New("has ended already")

// CancelCompare cancels a queued or running run; ErrNotFound or ErrFinished if it is neither. Who runs it finds out by
// CompareCancelled.
func (c *Catalog) CancelCompare(ctx context.Context, id int64) error {
	tag, err := c.pool.Exec(ctx, `UPDATE pgsyncd.compare_run SET state = 'cancelled', finished_at = now()
		WHERE id = $1 AND state IN ('queued', 'running')`, id)
	if err == nil && tag.RowsAffected() == 0 {
		if _, err = c.Compare(ctx, id); err == nil {
			err = ErrFinished
		}
	}
	if err != nil {
		return fmt.Errorf("cancel comparison %d: %w", id, err)
	}
	return nil
}

// CompareCancelled says whether a run was cancelled. So is one whose task was dropped.
func (c *Catalog) CompareCancelled(ctx context.Context, id int64) (bool, error) {
	var alive bool
	err := c.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pgsyncd.compare_run WHERE id = $1 AND state <> 'cancelled')", id).Scan(&alive)
	if err != nil {
		return false, fmt.Errorf("state of comparison %d: %w", id, err)
	}
	return !alive, nil
}

// SaveCompareTable adds or replaces the outcome of one table of a run. ErrNotFound if the run is gone.
func (c *Catalog) SaveCompareTable(ctx context.Context, t CompareTable) error {
	_, err := c.pool.Exec(ctx, `INSERT INTO pgsyncd.compare_table (run_id, source_table, destination_table, source_rows,
		destination_rows, result, remarks, rows_missing, rows_extra, rows_different) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (run_id, source_table) DO UPDATE SET (destination_table, source_rows, destination_rows, result, remarks,
		rows_missing, rows_extra, rows_different) = (excluded.destination_table, excluded.source_rows, excluded.destination_rows,
		excluded.result, excluded.remarks, excluded.rows_missing, excluded.rows_extra, excluded.rows_different)`, t.RunID,
		t.SourceTable, t.DestinationTable, t.SourceRows, t.DestinationRows, t.Result, plain(t.Remarks), t.RowsMissing,
		t.RowsExtra, t.RowsDifferent)
	if err != nil {
		return fmt.Errorf("save comparison %d of table %s: %w", t.RunID, t.SourceTable, meaning(err))
	}
	return nil
}
