package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// CompareObject is the outcome of one object in a run of type OBJECTS.
type CompareObject struct {
	Type                  string // pg_dump's name of the kind
	Name                  string // in the source; of an extra object, in the destination
	DestinationName       string
	Result                string  // equal, different, missing, extra, undecided
	SourceDefinition      *string // nil where there is none, or where both are equal
	DestinationDefinition *string
	Remarks               string // why it is undecided
}

// CompareAccount is the outcome of one item of a role in a run of type ACCOUNTS.
type CompareAccount struct {
	Role             string // or PUBLIC
	Item             string // attribute, setting, membership, object with privileges
	Result           string // equal, different, missing, extra
	SourceValue      *string
	DestinationValue *string
}

// SaveCompareObjects replaces the outcomes of a run. ErrNotFound if the run is gone.
func (c *Catalog) SaveCompareObjects(ctx context.Context, run int64, list []CompareObject) error {
	return c.saveOutcomes(ctx, run, "compare_object",
		[]string{"type", "name", "destination_name", "result", "source_definition", "destination_definition", "remarks"}, len(list),
		func(i int) []any {
			o := list[i]
			return []any{plain(o.Type), plain(o.Name), plain(o.DestinationName), o.Result, plainOrNil(o.SourceDefinition), plainOrNil(o.DestinationDefinition), plain(o.Remarks)}
		})
}

// SaveCompareAccounts replaces the outcomes of a run. ErrNotFound if the run is gone.
func (c *Catalog) SaveCompareAccounts(ctx context.Context, run int64, list []CompareAccount) error {
	return c.saveOutcomes(ctx, run, "compare_account", []string{"role", "item", "result", "source_value", "destination_value"}, len(list),
		func(i int) []any {
			a := list[i]
			return []any{plain(a.Role), plain(a.Item), a.Result, plainOrNil(a.SourceValue), plainOrNil(a.DestinationValue)}
		})
}

func (c *Catalog) saveOutcomes(ctx context.Context, run int64, table string, columns []string, n int, row func(int) []any) error {
	name := pgx.Identifier{"pgsyncd", table}
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM "+name.Sanitize()+" WHERE run_id = $1", run); err != nil {
			return err
		}
		_, err := tx.CopyFrom(ctx, name, append([]string{"run_id", "number"}, columns...), pgx.CopyFromSlice(n, func(i int) ([]any, error) {
			return append([]any{run, int32(i + 1)}, row(i)...), nil
		}))
		return err
	})
	if err != nil {
		return fmt.Errorf("save comparison %d: %w", run, meaning(err))
	}
	return nil
}

func plainOrNil(text *string) *string {
	if text == nil {
		return nil
	}
	s := plain(*text)
	return &s
}
