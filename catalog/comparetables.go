package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// CompareTables lists the outcomes of the tables of a run, by name.
func (c *Catalog) CompareTables(ctx context.Context, run int64) ([]CompareTable, error) {
	return outcomes[CompareTable](ctx, c, `SELECT run_id, source_table, destination_table, source_rows, destination_rows, result, remarks,
		rows_missing, rows_extra, rows_different FROM pgsyncd.compare_table WHERE run_id = $1 ORDER BY source_table`, run)
}

// CompareObjects lists the objects of a run that are not equal, in their order.
func (c *Catalog) CompareObjects(ctx context.Context, run int64) ([]CompareObject, error) {
	return outcomes[CompareObject](ctx, c, `SELECT type, name, destination_name, result, source_definition, destination_definition, remarks
		FROM pgsyncd.compare_object WHERE run_id = $1 AND result <> 'equal' ORDER BY number`, run)
}

// CompareAccounts lists what of the roles of a run is not equal, in its order.
func (c *Catalog) CompareAccounts(ctx context.Context, run int64) ([]CompareAccount, error) {
	return outcomes[CompareAccount](ctx, c, `SELECT role, item, result, source_value, destination_value
		FROM pgsyncd.compare_account WHERE run_id = $1 AND result <> 'equal' ORDER BY number`, run)
}

// CompareCounts is how many objects, or items of roles, of a run have which result.
func (c *Catalog) CompareCounts(ctx context.Context, run int64) (map[string]int64, error) {
	type count struct {
		Result string
		N      int64
	}
	list, err := outcomes[count](ctx, c, `SELECT result, count(*) FROM (SELECT result FROM pgsyncd.compare_object WHERE run_id = $1
		UNION ALL SELECT result FROM pgsyncd.compare_account WHERE run_id = $1) AS r GROUP BY 1`, run)
	counts := make(map[string]int64, len(list))
	for _, c := range list {
		counts[c.Result] = c.N
	}
	return counts, err
}

func outcomes[T any](ctx context.Context, c *Catalog, sql string, run int64) ([]T, error) {
	rows, err := c.pool.Query(ctx, sql, run)
	if err != nil {
		return nil, fmt.Errorf("results of comparison %d: %w", run, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	if err != nil {
		return nil, fmt.Errorf("results of comparison %d: %w", run, err)
	}
	return list, nil
}
