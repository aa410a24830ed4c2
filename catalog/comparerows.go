package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kinds of differing rows.
const (
	RowMissing   = "missing"   // in the destination
	RowExtra     = "extra"     // only in the destination
	RowDifferent = "different" // same key, other values
)

// CompareRow is a row that differs. Columns have their names in the destination; a value is its text, nil for NULL.
type CompareRow struct {
	Number         int64 // place in the list of the table, from 0
	Key            map[string]*string
	Kind           string
	Columns        []string // that differ; nil unless Kind is RowDifferent
	SourceRow      map[string]*string
	DestinationRow map[string]*string
	Shortened      bool // a value is not whole
}

// AddCompareRows adds to the rows of a table of a run. ErrNotFound if the run is gone. Values are made fit for JSON in a UTF8
// database; Shortened is set where that changes one.
func (c *Catalog) AddCompareRows(ctx context.Context, run int64, table string, rows []CompareRow) error {
	_, err := c.pool.CopyFrom(ctx, pgx.Identifier{"pgsyncd", "compare_row"},
		[]string{"run_id", "source_table", "number", "key", "kind", "columns", "source_row", "destination_row", "shortened"},
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := rows[i]
			var texts [3]*string
			for i, values := range []map[string]*string{r.Key, r.SourceRow, r.DestinationRow} {
				text, changed, err := jsonRow(values)
				if err != nil {
					return nil, err
				}
				texts[i], r.Shortened = text, r.Shortened || changed
			}
			return []any{run, table, r.Number, texts[0], r.Kind, r.Columns, texts[1], texts[2], r.Shortened}, nil
		}))
	if err != nil {
		return fmt.Errorf("save differing rows of comparison %d of table %s: %w", run, table, meaning(err))
	}
	return nil
}

// jsonRow is a row as JSON, nil for none, and whether a value had to be changed.
func jsonRow(values map[string]*string) (text *string, changed bool, err error) {
	if values == nil {
		return nil, false, nil
	}
	fit := make(map[string]*string, len(values))
	for name, v := range values {
		if v != nil {
			text := plain(*v)
			changed = changed || text != *v
			v = &text
		}
		fit[name] = v
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fit); err != nil {
		return nil, false, err
	}
	s := b.String()
	return &s, changed, nil
}

// ClearCompareRows forgets the rows of a table of a run.
func (c *Catalog) ClearCompareRows(ctx context.Context, run int64, table string) error {
	if _, err := c.pool.Exec(ctx, "DELETE FROM pgsyncd.compare_row WHERE run_id = $1 AND source_table = $2", run, table); err != nil {
		return fmt.Errorf("forget differing rows of comparison %d of table %s: %w", run, table, err)
	}
	return nil
}

const compareRowsSQL = `SELECT number, key, kind, columns, source_row, destination_row, shortened FROM pgsyncd.compare_row
	WHERE run_id = $1 AND source_table = $2 ORDER BY number LIMIT $3`

// CompareRows lists the rows of a table of a run that differ, in the order of their numbers, at most limit of them.
func (c *Catalog) CompareRows(ctx context.Context, run int64, table string, limit int64) ([]CompareRow, error) {
	rows, err := c.pool.Query(ctx, compareRowsSQL, run, table, limit)
	if err != nil {
		return nil, fmt.Errorf("differing rows of comparison %d of table %s: %w", run, table, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[CompareRow])
	if err != nil {
		return nil, fmt.Errorf("differing rows of comparison %d of table %s: %w", run, table, err)
	}
	return list, nil
}

// EachCompareRow calls do with each row of a table of a run that differs, in the order of their numbers, until one call fails.
func (c *Catalog) EachCompareRow(ctx context.Context, run int64, table string, do func(CompareRow) error) error {
	rows, err := c.pool.Query(ctx, compareRowsSQL, run, table, nil)
	if err != nil {
		return fmt.Errorf("differing rows of comparison %d of table %s: %w", run, table, err)
	}
	defer rows.Close()
	for rows.Next() {
		row, err := pgx.RowToStructByPos[CompareRow](rows)
		if err != nil {
			return fmt.Errorf("differing rows of comparison %d of table %s: %w", run, table, err)
		}
		if err := do(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("differing rows of comparison %d of table %s: %w", run, table, err)
	}
	return nil
}

// Delay is how far the stream of a task was behind when it last told; 0 if it never did.
func (c *Catalog) Delay(ctx context.Context, task string) (time.Duration, error) {
	var ms int64
	err := c.pool.QueryRow(ctx, "SELECT coalesce(max(delay_ms), 0) FROM pgsyncd.status WHERE task_id = $1", task).Scan(&ms)
	if err != nil {
		return 0, fmt.Errorf("read delay of task: %w", err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
