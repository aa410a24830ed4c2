package catalog

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// describeOptions writes the options of tasks into the catalog for the view sync_parameters.
func describeOptions(ctx context.Context, conn *pgx.Conn) error {
	const upsert = `INSERT INTO pgsyncd.option (name, ordinal, default_value, changeable_in, description)
		VALUES ($1, $2, nullif($3, ''), $4, $5) ON CONFLICT (name) DO UPDATE SET (ordinal, default_value, changeable_in, description)
		= (excluded.ordinal, excluded.default_value, excluded.changeable_in, excluded.description)`
	batch := &pgx.Batch{}
	var names []string
	for i, o := range TaskOptionList() {
		names = append(names, o.Name)
		batch.Queue(upsert, o.Name, i, o.Default, o.ChangeableIn, o.Description)
	}
	batch.Queue("DELETE FROM pgsyncd.option WHERE name <> ALL ($1)", names)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("describe options: %w", err)
	}
	return nil
}

// secretOption tells whether an option is encrypted at rest and never shown.
func secretOption(name string) bool {
	return slices.ContainsFunc(taskOptions, func(o bound[TaskOptions]) bool { return o.Name == name && o.Secret })
}
