package sqlapi

import (
	"context"
	"encoding/json"
	"fmt"

	"pgsyncd/catalog"
	pgsync "pgsyncd/sync"
	"pgsyncd/sync/schema"
)

// Values of existing_objects that go with some modes and statements only.
const (
	existingAppend  = "append"
	existingReplace = "replace"
)

// fitsMode refuses what contradicts MODE INCREMENTAL, which makes nothing in the destination.
func fitsMode(t *catalog.Task) error {
	if t.Mode != catalog.ModeIncremental {
		return nil
	}
	options, err := catalog.ParseTaskOptions(t.Options)
	if err != nil {
		return err
	}
	var selection schema.Selection
	if err := json.Unmarshal(t.Definition, &selection); err != nil {
		return fmt.Errorf("read selection of task %s: %w", t.Name, err)
	}
	const hint = "MODE INCREMENTAL streams into tables that the destination has already, with their rows. MODE FULL AND INCREMENTAL makes them."
	switch {
	case options.ExistingObjects == existingReplace:
		return invalid("existing_objects = replace does not go with MODE INCREMENTAL").WithHint("%s", hint)
	case options.CreateDatabase:
		return invalid("create_database does not go with MODE INCREMENTAL").WithHint("%s", hint)
	case !selection.Accounts.None():
		return invalid("ACCOUNTS does not go with MODE INCREMENTAL").WithHint("%s", hint)
	}
	return nil
}

// resetTasks has tasks begin anew.
func (e *Engine) resetTasks(ctx context.Context, s *Session, stmt *ResetTasks) error {
	return e.forEach(ctx, s, stmt.Targets, false, catalog.EventReset, func(t catalog.Task) error {
		options, err := catalog.ParseTaskOptions(t.Options)
		if err != nil {
			return err
		}
		name := quoteIdentifier(t.Name)
		switch {
		case t.Mode == catalog.ModeIncremental && stmt.ClearDestination:
			return invalid("task %q has made nothing in the destination that could be cleared", t.Name).
				WithHint("RESET SYNC TASK %s; begins anew with what the destination has then.", name)
		case t.Mode != catalog.ModeIncremental && options.ExistingObjects == existingAppend:
			return Errorf(CodeWrongState, "cannot reset task %q: it adds rows to those of others", t.Name).
				WithDetail("Its rows cannot be told from those that others put into the same tables (existing_objects = append).").
				WithHint("STOP SYNC TASK %[1]s FORCE; DROP SYNC TASK %[1]s; delete its rows from the destination and create the task again.", name)
		}
		notes, err := pgsync.ResetNotes(t, stmt.ClearDestination)
		if err != nil {
			return err
		}
		return e.fire(ctx, s, t, catalog.EventReset, catalog.Change{Runtime: notes})
	})
}
