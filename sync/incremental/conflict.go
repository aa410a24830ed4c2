package incremental

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// settle finds out what a failed change collides with, and does what the policy says.
func (a *applier) settle(ctx context.Context, c *change, f *failure) error {
	conflict, err := a.diagnose(ctx, c, f)
	if err != nil {
		return err
	}
	stop := &ConflictError{Conflict: conflict, Cause: f.err}
	switch {
	case a.cfg.Policy == PolicyIgnore:
		conflict.Action = ActionSkipped
	case a.cfg.Policy == PolicyOverwrite && conflict.Kind == DeleteMissing:
		conflict.Action = ActionWasAbsent
	case a.cfg.Policy == PolicyOverwrite && conflict.Kind != UniqueViolation:
		if conflict.Action, err = a.overwrite(ctx, c, conflict.Kind); err != nil {
			return err
		}
	}
	if conflict.Action != "" {
		a.conflicts = append(a.conflicts, conflict)
		return nil
	}
	// The other row is not the change's to remove, so overwriting does not settle a unique violation.
	stop.Action = ActionStopped
	if err := a.cfg.Report.Conflicts(ctx, []Conflict{stop.Conflict}); err != nil {
		return errors.Join(stop, fmt.Errorf("record conflict: %w", err))
	}
	return stop
}

// diagnose names the conflict behind a failure; any other failure is returned as an error.
func (a *applier) diagnose(ctx context.Context, c *change, f *failure) (Conflict, error) {
	conflict := Conflict{
		Time: time.Now(), Table: c.relation.name, Key: c.keyJSON(), SourceRow: c.rowJSON(), LSN: c.tx.at,
	}
	switch state := endpoint.SQLState(f.err); {
	case state == "23505" || state == "23P01":
		conflict.Kind = UniqueViolation
		if c.kind == kindInsert && len(c.target.key) > 0 {
			row, err := a.find(ctx, c)
			if err != nil {
				return conflict, err
			}
			if row != nil {
				conflict.Kind, conflict.DestinationRow = InsertExists, row
				return conflict, nil
			}
		}
		row, err := a.findOther(ctx, c, f.err)
		conflict.DestinationRow = row
		return conflict, err
	case f.err != nil:
		return conflict, a.changeError(c, f)
	case f.rows == 0 && c.kind == kindUpdate:
		conflict.Kind = UpdateMissing
	case f.rows == 0 && c.kind == kindDelete:
		conflict.Kind = DeleteMissing
	default:
		return conflict, a.changeError(c, f)
	}
	return conflict, nil
}

// overwrite makes the destination's row the source's. An empty action means that it cannot be done.
func (a *applier) overwrite(ctx context.Context, c *change, kind string) (action string, err error) {
	e := *c.event
	switch kind {
	case InsertExists:
		e.kind, e.oldKind, e.old = kindUpdate, oldNone, nil
		if c.relation.identity == 'f' {
			e.oldKind, e.old = oldRow, e.new // addressed by its key, which is the same
		}
		action = ActionUpdated
	case UpdateMissing:
		row, ok := c.fullRow()
		if !ok {
			return ActionSkipped, nil
		}
		e.kind, e.oldKind, e.old, e.new = kindInsert, oldNone, nil, row
		action = ActionInserted
	}
	done := change{event: &e, target: c.target}
	f, err := a.try(ctx, &done)
	if err != nil {
		return "", err
	}
	if f == nil {
		a.done.count([]change{*c})
		return action, nil
	}
	if endpoint.SQLState(f.err) == "23505" || endpoint.SQLState(f.err) == "23P01" {
		return "", nil
	}
	return "", a.changeError(c, f)
}

// fullRow is the new row with values that were not sent taken from the old row, if all are known.
func (c *change) fullRow() (tuple, bool) {
	row := append(tuple(nil), c.new...)
	for i := range row {
		if isUnchanged(row[i]) && c.oldKind == oldRow {
			row[i] = c.old[i]
		}
	}
	return row, row.complete()
}

// find returns the destination's row that the change addresses, as JSON; nil when there is none.
func (a *applier) find(ctx context.Context, c *change) (json.RawMessage, error) {
	w := &writer{t: c.target}
	condition := w.where(careful)
	values := c.addressing()
	args := make([][]byte, len(w.params))
	for i, p := range w.params {
		args[i] = values[p.column]
	}
	return a.row(ctx, c.target, condition, args, w.types)
}

// findOther returns the row that has what the violated constraint wants to be unique; nil where that is not a matter of plain
// columns.
func (a *applier) findOther(ctx context.Context, c *change, cause error) (json.RawMessage, error) {
	var pg *pgconn.PgError
	if !errors.As(cause, &pg) || pg.ConstraintName == "" || c.kind == kindDelete {
		return nil, nil
	}
	rows, err := a.dst.conn.Query(ctx, `SELECT a.attname FROM pg_catalog.pg_index i
		JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
		CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) AS k (attnum)
		LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		WHERE i.indexprs IS NULL AND i.indisunique AND n.nspname = $1 AND x.relname = $2`, pg.SchemaName, pg.ConstraintName)
	if err != nil {
		return nil, fmt.Errorf("look for the conflicting row: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for the conflicting row: %w", err)
	}
	w := &writer{t: c.target}
	var args [][]byte
	for i := range c.target.columns {
		for _, name := range names {
			if c.target.columns[i].omitted || name != c.target.columns[i].plain || isUnchanged(c.new[i]) {
				continue
			}
			if len(args) > 0 {
				w.add(" AND ")
			}
			w.add("t.", c.target.columns[i].name, "::text OPERATOR(pg_catalog.=) ", w.value(i, false), "::text")
			args = append(args, c.new[i])
		}
	}
	if len(args) == 0 || len(args) != len(names) {
		return nil, nil
	}
	return a.row(ctx, c.target, w.sql.String(), args, w.types)
}

// row reads one row as JSON.
func (a *applier) row(ctx context.Context, t *target, condition string, args [][]byte, types []uint32) (json.RawMessage, error) {
	sql := "SELECT pg_catalog.row_to_json(t)::text FROM " + t.only + t.name.String() + " AS t WHERE " + condition + " LIMIT 1"
	result := a.dst.pg.ExecParams(ctx, sql, args, types, nil, nil).Read()
	if result.Err != nil {
		return nil, fmt.Errorf("look for the conflicting row of %s: %w", t.name, result.Err)
	}
	if len(result.Rows) == 0 {
		return nil, nil
	}
	return json.RawMessage(result.Rows[0][0]), nil
}

// addressing are the values by which the row is found.
func (c *change) addressing() tuple {
	if c.oldKind == oldNone {
		return c.new
	}
	return c.old
}

// describe names the source table.
func (c *change) describe() schema.Name {
	if c.kind == kindTruncate {
		return c.truncated[0].relation.name
	}
	return c.relation.name
}

// keyJSON shows the columns that address the row.
func (c *change) keyJSON() json.RawMessage {
	columns := c.target.key
	if c.target.whole || len(columns) == 0 {
		columns = nil
		for i := range c.target.columns {
			if !c.target.columns[i].omitted {
				columns = append(columns, i)
			}
		}
	}
	return c.object(columns, c.addressing())
}

// rowJSON shows what the source sent of the row: the new one, or the old one of a delete.
func (c *change) rowJSON() json.RawMessage {
	row := c.new
	if c.kind == kindDelete {
		row = c.old
	}
	var columns []int
	for i, col := range c.relation.columns {
		if c.kind == kindDelete && c.oldKind == oldKey && !col.key {
			continue
		}
		columns = append(columns, i)
	}
	return c.object(columns, row)
}

// object writes known values as an object of texts.
func (c *change) object(columns []int, row tuple) json.RawMessage {
	out := []byte{'{'}
	for _, i := range columns {
		if isUnchanged(row[i]) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',', ' ')
		}
		out = appendJSON(out, c.relation.columns[i].name)
		out = append(out, ':', ' ')
		if row[i] == nil {
			out = append(out, "null"...)
		} else {
			out = appendJSON(out, string(row[i]))
		}
	}
	return append(out, '}')
}

func appendJSON(out []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(out, "null"...)
	}
	return append(out, text...)
}
