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
// by which the other functions know it. ErrNotFound if the task is gone.
func (c *Catalog) BeginRepair(ctx context.Context, task string, run int64, user string) (int64, error) {
	var id int64
	err := c.pool.QueryRow(ctx, `INSERT INTO pgsyncd.repair (task_id, run_id, user_name, state) VALUES ($1, $2, $3, 'writing') RETURNING id`,
		task, run, user).Scan(&id)
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

// EndRepair records whether the transaction of a repair was committed.
func (c *Catalog) EndRepair(ctx context.Context, repair int64, committed bool) error {
	_, err := c.pool.Exec(ctx, `UPDATE pgsyncd.repair SET state = CASE WHEN $2 THEN 'committed' ELSE 'undone' END WHERE id = $1 AND state = 'writing'`,
		repair, committed)
	if err != nil {
		return fmt.Errorf("record end of repair %d: %w", repair, err)
	}
	return nil
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
