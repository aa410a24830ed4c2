package fullcopy

import (
	"context"
	"fmt"
	"strings"

	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
)

// createPublication makes the publication anew. It must be committed before the slot's consistent point: pgoutput looks at
// the catalogs as they were at each change. A plan made beforehand tells which tables cannot be created in the destination
// and hence must not be published.
func (j *job) createPublication(ctx context.Context) error {
	inv, err := j.readSource(ctx, j.src)
	if err != nil {
		return err
	}
	_, plan, err := j.dump(ctx, "", inv)
	if err != nil {
		return err
	}
	name := pgx.Identifier{j.cfg.Publication}.Sanitize()
	sql := "CREATE PUBLICATION " + name
	if tables := publishable(inv, plan); len(tables) > 0 {
		sql += " FOR TABLE ONLY " + strings.Join(tables, ", ONLY ")
	}
	err = pgx.BeginFunc(ctx, j.src, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DROP PUBLICATION IF EXISTS "+name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql)
		return err
	})
	if err != nil {
		return fmt.Errorf("create publication %s: %w", j.cfg.Publication, err)
	}
	return nil
}

// publishable lists the tables to publish. Of a partition tree that is the topmost table, which stands for all leaves, those
// attached later too; before 13 only leaves can be published. Changes are published under the leaf's name either way.
// Unlogged tables leave nothing in the WAL. ONLY keeps tables that merely inherit out: they are listed themselves.
func publishable(inv *schema.Inventory, plan *schema.Plan) (tables []string) {
	for i := range inv.Tables {
		t := &inv.Tables[i]
		covered := inv.Version >= 130000 && len(ancestry(inv, t)) > 1
		_, excluded := plan.Excludes(t.Name)
		if excluded || t.Unlogged || covered || t.Kind == schema.KindPartitioned && inv.Version < 130000 {
			continue
		}
		tables = append(tables, t.Name.String())
	}
	return tables
}
