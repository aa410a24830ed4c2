package fullcopy

import (
	"context"
	"fmt"

	"pgsyncd/sync/ledger"
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
	_, plan, err := j.dump(ctx, nil, "", inv)
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
		if err := schema.CreatePublication(ctx, tx, j.cfg.Publication, inv, skip); err != nil {
			return err
		}
		return j.readPublished(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("create publication %s: %w", j.cfg.Publication, err)
	}
	return nil
}

// readPublished notes by what the publication and what it says of tables can be told from others that take their place.
func (j *job) readPublished(ctx context.Context, tx pgx.Tx) error {
	if err := tx.QueryRow(ctx, "SELECT oid FROM pg_catalog.pg_publication WHERE pubname = $1", j.cfg.Publication).Scan(&j.published); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, "SELECT prrelid, oid FROM pg_catalog.pg_publication_rel WHERE prpubid = $1", j.published)
	if err != nil {
		return err
	}
	j.publishes = map[uint32]uint32{}
	var table, row uint32
	_, err = pgx.ForEachRow(rows, []any{&table, &row}, func() error {
		j.publishes[table] = row
		return nil
	})
	return err
}

// markPublished records that: changes made before one that takes its place are not sent, and from 18 on the source does not mind.
func (j *job) markPublished(ctx context.Context, tx pgx.Tx) error {
	if j.published == 0 {
		return nil
	}
	return ledger.MarkObject(ctx, tx, j.cfg.Task, ledger.PublicationKeys(j.published, j.publishes)...)
}
