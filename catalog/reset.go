package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ForgetProgress deletes what is shown of a task's tables and objects, because it begins anew.
func (c *Catalog) ForgetProgress(ctx context.Context, id string) error {
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		for _, table := range []string{"task_table", "task_object"} {
			if _, err := tx.Exec(ctx, "DELETE FROM pgsyncd."+table+" WHERE task_id = $1", id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget progress of task %s: %w", id, err)
	}
	return nil
}
