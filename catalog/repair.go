package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// OutcomeRepaired is the outcome of a row that was repaired; any other says why it was not.
const OutcomeRepaired = "repaired"

// RepairRow is a row that a repair dealt with. Values are texts, nil for NULL.
type RepairRow struct {
	SourceTable      string
	DestinationTable string
	Kind             string // RowMissing, RowExtra, RowDifferent
	Key              map[string]*string
	Statement        string // empty: none
	Outcome          string
	Before           map[string]*string // the row of the destination, with all columns; nil: none
	After            map[string]*string // the row of the source; nil: none
}

// BeginRepair records that a transaction of the destination is about to be made that repairs rows of a run, and returns the number
// by which the other functions know it. Mark is what the transaction leaves in the destination if it is committed. ErrNotFound if the
// task is gone.
func (c *Catalog) BeginRepair(ctx context.Context, task string, run int64, user, mark string) (int64, error) {
	var id int64
	err := c.pool.QueryRow(ctx, `INSERT INTO pgsyncd.repair (task_id, run_id, user_name, mark, state) VALUES ($1, $2, $3, $4, 'writing') RETURNING id`,
		task, run, user, mark).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("record repair of comparison %d: %w", run, meaning(err))
	}
	return id, nil
}

// AddRepairRows records rows of a repair, whose places in its list begin with first.
func (c *Catalog) AddRepairRows(ctx context.Context, repair, first int64, rows []RepairRow) error {
	_, err := c.pool.CopyFrom(ctx, pgx.Identifier{"pgsyncd", "repair_row"},
		[]string{"repair_id", "number", "source_table", "destination_table", "kind", "key", "statement", "outcome", "before_row", "after_row"},
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := rows[i]
			key, _, err := jsonRow(r.Key)
			if err != nil {
				return nil, err
			}
			var images [2]*string
			for i, row := range []map[string]*string{r.Before, r.After} {
				if images[i], _, err = jsonRow(verbatim(row)); err != nil {
					return nil, err
				}
			}
			var statement *string
			if r.Statement != "" {
				text := plain(r.Statement)
				statement = &text
			}
			return []any{repair, first + int64(i), r.SourceTable, r.DestinationTable, r.Kind, key, statement, plain(r.Outcome), images[0], images[1]}, nil
		}))
	if err != nil {
		return fmt.Errorf("record rows of repair %d: %w", repair, meaning(err))
	}
	return nil
}

// SetRepairTables records which tables of the source are to be compared again once a repair is known to be committed.
func (c *Catalog) SetRepairTables(ctx context.Context, repair int64, tables []string) error {
	if _, err := c.pool.Exec(ctx, "UPDATE pgsyncd.repair SET tables = $2 WHERE id = $1", repair, tables); err != nil {
		return fmt.Errorf("record tables of repair %d: %w", repair, err)
	}
	return nil
}

// RepairEnd is how a repair ended.
type RepairEnd struct {
	Committed bool
	Check     int64 // run that compares the repaired tables again; 0 for none
}

// EndRepair records whether the transaction of a repair was committed, and if so queues a comparison of what was repaired, with the options
// of the run that found it. The first to tell is believed; its word is returned. ErrNotFound if the repair is gone.
func (c *Catalog) EndRepair(ctx context.Context, repair int64, committed bool) (end RepairEnd, err error) {
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		var state, task string
		var check *int64
		var tables []string
		options := map[string]string{}
		if err := tx.QueryRow(ctx, `SELECT r.state, r.task_id::text, r.check_run_id, r.tables, coalesce(n.options, '{}')
			FROM pgsyncd.repair r LEFT JOIN pgsyncd.compare_run n ON n.id = r.run_id WHERE r.id = $1 FOR UPDATE OF r`, repair).
			Scan(&state, &task, &check, &tables, &options); err != nil {
			return meaning(err)
		}
		if state != "writing" {
			end.Committed = state == "committed"
			if check != nil {
				end.Check = *check
			}
			return nil
		}
		if end.Committed = committed; committed && len(tables) > 0 {
			var err error
			if end.Check, err = addCompare(ctx, tx, CompareRun{TaskID: task, Type: "VALUES", Options: options, Tables: tables}); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE pgsyncd.repair SET state = CASE WHEN $2 THEN 'committed' ELSE 'undone' END, check_run_id = nullif($3, 0::bigint)
			WHERE id = $1`, repair, committed, end.Check)
		return err
	})
	if err != nil {
		return RepairEnd{}, fmt.Errorf("record end of repair %d: %w", repair, err)
	}
	return end, nil
}

// OpenRepair is a repair of which it is not known how it ended, or whether it has.
type OpenRepair struct {
	ID     int64
	TaskID string
	RunID  int64
	User   string
	Mark   string
}

// OpenRepairs lists them, the oldest first.
func (c *Catalog) OpenRepairs(ctx context.Context) ([]OpenRepair, error) {
	rows, err := c.pool.Query(ctx, "SELECT id, task_id::text, run_id, user_name, mark FROM pgsyncd.repair WHERE state = 'writing' ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("list repairs: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[OpenRepair])
	if err != nil {
		return nil, fmt.Errorf("list repairs: %w", err)
	}
	return list, nil
}

// verbatim is a row whose values all are text in UTF8: those that are not become hexadecimal digits after \x, like a bytea.
func verbatim(row map[string]*string) map[string]*string {
	if row == nil {
		return nil
	}
	fit := make(map[string]*string, len(row))
	for name, v := range row {
		if v != nil && plain(*v) != *v {
			text := fmt.Sprintf(`\x%x`, *v)
			v = &text
		}
		fit[name] = v
	}
	return fit
}
