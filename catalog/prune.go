package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// pruned deletes history older than each task's history_retention. What belongs to no task any more is kept 30 days, the
// rows of a statement that nobody fetched a day.
var pruned = []string{
	`DELETE FROM pgsyncd.log l USING pgsyncd.task t WHERE t.id = l.task_id AND l.time < now() - t.history_retention`,
	`DELETE FROM pgsyncd.log WHERE task_id IS NULL AND time < now() - interval '30 days'`,
	`DELETE FROM pgsyncd.conflict c USING pgsyncd.task t WHERE t.id = c.task_id AND c.time < now() - t.history_retention`,
	`DELETE FROM pgsyncd.metric m USING pgsyncd.task t WHERE t.id = m.task_id AND m.time < now() - t.history_retention`,
	`DELETE FROM pgsyncd.option_history h USING pgsyncd.task t WHERE t.id = h.task_id AND h.time < now() - t.history_retention`,
	`DELETE FROM pgsyncd.compare_run r USING pgsyncd.task t WHERE t.id = r.task_id
		AND r.finished_at < now() - t.history_retention`,
	`DELETE FROM pgsyncd.repair r USING pgsyncd.task t WHERE t.id = r.task_id AND r.started_at < now() - t.history_retention`,
	`DELETE FROM pgsyncd.result WHERE created_at < now() - interval '1 day'`,
}

// Prune deletes history that is older than the tasks want to keep it. To be called once a day.
func (c *Catalog) Prune(ctx context.Context) error {
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		for _, sql := range pruned {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prune history: %w", err)
	}
	return nil
}
