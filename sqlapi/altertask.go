package sqlapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"pgsyncd/catalog"
)

// alterTask changes a task's description.
func (e *Engine) alterTask(ctx context.Context, s *Session, stmt *AlterTask) error {
	tasks, err := e.resolve(ctx, s, Targets{Names: []string{stmt.Name}}, stmt.IfExists)
	if err != nil || len(tasks) == 0 {
		return err
	}
	t := tasks[0]
	if start, ok := stmt.Action.(SetStart); ok {
		return e.setStart(ctx, s, t, start.Start)
	}
	err = e.cfg.Catalog.UpdateTask(ctx, t.ID, func(t *catalog.Task) error {
		t.ChangedBy = s.User
		return e.alter(s, t, stmt.Action)
	})
	if errors.Is(err, catalog.ErrExists) {
		rename, _ := stmt.Action.(Rename)
		return Errorf(CodeDuplicate, "task %q already exists", rename.To)
	}
	e.cfg.Supervisor.Wake()
	if flowed, ok := stmt.Action.(SetFlow); ok && err == nil {
		err = e.cfg.Catalog.Log(ctx, t.Name, catalog.LevelInfo, "flow", "flow limit changed by "+s.User+": "+flow(flowed.Flow), "")
	}
	return err
}

func (e *Engine) alter(s *Session, t *catalog.Task, action AlterAction) error {
	switch a := action.(type) {
	case Rename:
		t.Name = a.To
	case SetComment:
		t.Description = a.Text
	case SetTag:
		return setTag(t, a.Tag)
	case DropTag:
		if _, ok := t.Tags[a.Key]; !ok {
			return Errorf(CodeUndefined, "task %q has no tag %q", t.Name, a.Key)
		}
		delete(t.Tags, a.Key)
	case SetOptions:
		if err := setOptions(t, a.Options); err != nil {
			return err
		}
		return fitsMode(t)
	case ResetOptions:
		return resetOptions(t, a.Names)
	case SetEndpoint:
		if err := mustRest(t, "connection strings"); err != nil {
			return err
		}
		return e.setEndpoint(s, t, a.Side, a.Conninfo)
	case SetPassword:
		conninfo := t.Source
		if a.Side == Destination {
			conninfo = t.Destination
		}
		return e.setEndpoint(s, t, a.Side, withPassword(conninfo, a.Password))
	case SetMode:
		if err := mustBeNew(t, "the mode"); err != nil {
			return err
		}
		t.Mode = string(a.Mode)
		return fitsMode(t)
	case SetScope:
		if err := mustBeNew(t, "the objects"); err != nil {
			return err
		}
		return restate(t, func(c *CreateTask) { c.Scope = a.Scope })
	case SetAccounts:
		if err := mustBeNew(t, "the accounts"); err != nil {
			return err
		}
		if err := restate(t, func(c *CreateTask) { c.Accounts = a.Accounts }); err != nil {
			return err
		}
		return fitsMode(t)
	case SetFlow:
		t.Flow = a.Flow
	default:
		return unsupported(fmt.Sprintf("%T", action))
	}
	return nil
}

// restate changes the clauses that the stored statement alone holds, and the selection with it.
func restate(t *catalog.Task, change func(*CreateTask)) error {
	c, err := definition(*t)
	if err != nil {
		return err
	}
	change(c)
	c.Options = nil
	t.SQL = Print(c, PrintOptions{})
	return setSelection(t, c.Scope, c.Accounts)
}

func setTag(t *catalog.Task, tag Tag) error {
	if t.Tags == nil {
		t.Tags = map[string]string{}
	}
	t.Tags[tag.Key] = tag.Value
	if len(t.Tags) > maxTags {
		return invalid("a task has at most %d tags", maxTags)
	}
	return nil
}

func setOptions(t *catalog.Task, options map[string]string) error {
	merged := maps.Clone(t.Options)
	if merged == nil {
		merged = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if err := mustBeChangeable(t, name); err != nil {
			return err
		}
		merged[name] = options[name]
	}
	if _, err := catalog.ParseTaskOptions(merged); err != nil {
		return err
	}
	t.Options = merged
	return nil
}

func resetOptions(t *catalog.Task, names []string) error {
	for _, name := range names {
		if err := mustBeChangeable(t, name); err != nil {
			return err
		}
		delete(t.Options, name)
	}
	return nil
}

func mustBeChangeable(t *catalog.Task, name string) error {
	for _, o := range catalog.TaskOptionList() {
		if o.Name == name && !o.Changeable(t.State) {
			return Errorf(CodeWrongState, "option %q cannot be changed now", name).WithDetail("The task is in state %q.", t.State).
				WithHint("SELECT option, changeable_now FROM sync_parameters WHERE task = %s;", quoteLiteral(t.Name))
		}
	}
	return nil
}

// mustBeNew refuses what can only be changed before a task has ever started.
func mustBeNew(t *catalog.Task, what string) error {
	switch t.State {
	case catalog.StateConfiguration, catalog.StatePendingStart:
		return nil
	case catalog.StateStartFailed:
		if len(t.Runtime) == 0 {
			return nil
		}
	default:
	}
	return Errorf(CodeWrongState, "%s of task %q cannot be changed now", what, t.Name).
		WithDetail("The task is in state %q.", t.State).WithHint("Create another task.")
}

// mustRest refuses what cannot be changed while a task works.
func mustRest(t *catalog.Task, what string) error {
	switch t.State {
	case catalog.StateConfiguration, catalog.StatePendingStart, catalog.StateStartFailed, catalog.StatePaused,
		catalog.StateFullFailed, catalog.StateIncrementalFailed, catalog.StateFault, catalog.StateStoppingFailed:
		return nil
	default:
		return Errorf(CodeWrongState, "%s of task %q cannot be changed now", what, t.Name).
			WithDetail("The task is in state %q.", t.State).WithHint("PAUSE SYNC TASK %s; first.", quoteIdentifier(t.Name))
	}
}

func (e *Engine) setStart(ctx context.Context, s *Session, t catalog.Task, start Start) error {
	options, err := catalog.ParseTaskOptions(t.Options)
	if err != nil {
		return err
	}
	at, err := startTime(start, options)
	if err != nil {
		return err
	}
	switch {
	case start.When == Now:
		return e.fire(ctx, s, t, catalog.EventStart, catalog.Change{})
	case start.When == At:
		noticePast(s, t.Name, *at)
		return e.fire(ctx, s, t, catalog.EventSchedule, catalog.Change{StartAt: at})
	case t.State == catalog.StateConfiguration:
		return nil
	default:
		return e.fire(ctx, s, t, catalog.EventUnschedule, catalog.Change{})
	}
}

// withPassword adds a password to a connection string of either form; of a keyword given twice the last counts.
func withPassword(conninfo, password Secret) Secret {
	text := conninfo.Reveal()
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		separator := "?"
		if strings.Contains(text, "?") {
			separator = "&"
		}
		return Secret(text + separator + "password=" + url.QueryEscape(password.Reveal()))
	}
	return Secret(text + " password='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password.Reveal()) + "'")
}
