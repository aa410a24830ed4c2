package fullcopy

import (
	"context"
	"fmt"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// createPublication makes the publication anew, before the slot. A plan made beforehand tells which tables cannot be created in
// the destination and hence must not be published.
func (j *job) createPublication(ctx context.Context) error {
	inv, err := j.readSource(ctx, j.src)
	if err != nil {
		return err
	}
	_, plan, err := j.dump(ctx, "", inv)
	if err != nil {
		return err
	}
	return j.publish(ctx, inv, func(n schema.Name) bool { _, excluded := plan.Excludes(n); return excluded })
}

// publish makes the publication anew for the tables of an inventory that skip does not name.
func (j *job) publish(ctx context.Context, inv *schema.Inventory, skip func(schema.Name) bool) error {
	err := pgx.BeginFunc(ctx, j.src, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DROP PUBLICATION IF EXISTS "+pgx.Identifier{j.cfg.Publication}.Sanitize()); err != nil {
			return err
		}
		return schema.CreatePublication(ctx, tx, j.cfg.Publication, inv, skip)
	})
	if err != nil {
		return fmt.Errorf("create publication %s: %w", j.cfg.Publication, err)
	}
	return nil
}
