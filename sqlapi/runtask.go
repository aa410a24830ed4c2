package sqlapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
)

// createTask stores a task and starts or schedules it if that is asked for.
func (e *Engine) createTask(ctx context.Context, s *Session, c *CreateTask) error {
	options, err := catalog.ParseTaskOptions(c.Options)
	if err != nil {
		return err
	}
	t := catalog.Task{
		Name: c.Name, Mode: string(c.Mode), Options: c.Options, Flow: c.Flow, Description: c.Comment, CreatedBy: s.User, Tags: map[string]string{},
	}
	for _, tag := range c.Tags {
		t.Tags[tag.Key] = tag.Value
	}
	if err := e.setEndpoint(s, &t, Source, c.Source); err != nil {
		return err
	}
	if err := e.setEndpoint(s, &t, Destination, c.Destination); err != nil {
		return err
	}
	if err := setSelection(&t, c.Scope, c.Accounts); err != nil {
		return err
	}
	if err := fitsMode(&t); err != nil {
		return err
	}
	at, err := startTime(c.Start, options)
	if err != nil {
		return err
	}
	shown := *c
	shown.Source, shown.Destination, shown.Options = Secret(t.SourceText), Secret(t.DestinationText), nil
	t.SQL = Print(&shown, PrintOptions{})
	t, err = e.cfg.Catalog.CreateTask(ctx, t)
	if errors.Is(err, catalog.ErrExists) {
		exists := Errorf(CodeDuplicate, "task %q already exists", c.Name)
		if c.IfNotExists {
			s.Notice(Notice{Code: CodeDuplicate, Message: exists.Message + ", skipping"})
			return nil
		}
		return exists
	}
	if err != nil {
		return err
	}
	switch c.Start.When {
	case Now:
		err = e.fire(ctx, s, t, catalog.EventStart, catalog.Change{Confirm: confirmed(c.Start.Confirm)})
	case At:
		noticePast(s, t.Name, *at)
		err = e.fire(ctx, s, t, catalog.EventSchedule, catalog.Change{StartAt: at, Confirm: confirmed(c.Start.Confirm)})
	default:
		s.Notice(Notice{
			Message: fmt.Sprintf("task %q waits to be started", c.Name),
			Hint:    fmt.Sprintf("PRECHECK SYNC TASK %[1]s; then START SYNC TASK %[1]s;", quoteIdentifier(c.Name)),
		})
	}
	return err
}

// setEndpoint checks a connection string and makes it one side of a task.
func (e *Engine) setEndpoint(s *Session, t *catalog.Task, side Side, conninfo Secret) error {
	options, err := catalog.ParseTaskOptions(t.Options)
	if err != nil {
		return err
	}
	ca := options.SourceSSLCA
	if side == Destination {
		ca = options.DestinationSSLCA
	}
	ep, err := e.parseEndpoint(s, conninfo, string(ca))
	if err != nil {
		return sideError(side, err)
	}
	if side == Source {
		t.Source, t.SourceText = conninfo, ep.String()
	} else {
		t.Destination, t.DestinationText = conninfo, ep.String()
	}
	return nil
}

// sideError names the side whose connection string is wrong.
func sideError(side Side, err error) error {
	e := AsError(explain(err))
	return &Error{Code: e.Code, Message: string(side) + ": " + e.Message, Detail: e.Detail, Hint: e.Hint, Err: err}
}

// parseEndpoint reads a connection string with the rights of the session's user: the daemon may reach sockets that the user
// could not reach alone, so these are for administrators.
func (e *Engine) parseEndpoint(s *Session, conninfo Secret, ca string) (*endpoint.Endpoint, error) {
	ep, err := endpoint.Parse(conninfo.Reveal(), endpoint.Options{FilesDir: e.cfg.ConnInfoDir, AllowSocket: true, RootCA: ca})
	if err == nil && ep.IsSocket() && !s.Privilege.Allows(Admin) {
		return nil, Errorf(CodeDenied, "endpoints on Unix sockets need the privilege ADMIN").WithHint("Connect by TCP, with host=… .")
	}
	return ep, err
}

// setSelection makes the clauses FOR and ACCOUNTS what the task synchronizes.
func setSelection(t *catalog.Task, s Scope, a Accounts) error {
	selection, err := selectionOf(s, a)
	if err != nil {
		return err
	}
	t.Scope, t.Mappings = "FOR "+scope(s), mappings(selection)
	t.Definition, err = json.Marshal(selection)
	return err
}

// definition is the CREATE SYNC TASK of a task as it is now, with connection strings that show no secret.
func definition(t catalog.Task) (*CreateTask, error) {
	stmt, err := Parse(t.SQL)
	if err != nil {
		return nil, fmt.Errorf("stored definition of task %s: %w", t.Name, err)
	}
	c, ok := stmt.(*CreateTask)
	if !ok {
		return nil, fmt.Errorf("stored definition of task %s is a %s", t.Name, FormOf(stmt).Tag)
	}
	c.Name, c.IfNotExists, c.Mode, c.Comment = t.Name, false, Mode(t.Mode), t.Description
	c.Source, c.Destination = Secret(t.SourceText), Secret(t.DestinationText)
	c.Options, c.Flow, c.Start, c.Tags = publicOptions(t.Options), t.Flow, Start{When: Manual}, nil
	if t.State == catalog.StatePendingStart && t.StartAt != nil {
		c.Start = Start{When: At, At: t.StartAt.UTC().Format("2006-01-02 15:04:05.999999+00"), Confirm: Confirm{Items: t.Confirm}}
		if slices.Contains(t.Confirm, catalog.ConfirmAll) {
			c.Start.Confirm = Confirm{All: true}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.Tags)) {
		c.Tags = append(c.Tags, Tag{key, t.Tags[key]})
	}
	return c, nil
}

// publicOptions leaves out options that are never shown.
func publicOptions(options map[string]string) map[string]string {
	public := maps.Clone(options)
	for _, o := range catalog.TaskOptionList() {
		if o.Secret {
			delete(public, o.Name)
		}
	}
	return public
}

func confirmed(c Confirm) []string {
	if c.All {
		return []string{catalog.ConfirmAll}
	}
	if c.Items == nil {
		return []string{}
	}
	return c.Items
}

// startTime is the time of START AT, nil for other starts.
func startTime(start Start, options catalog.TaskOptions) (*time.Time, error) {
	if start.When != At {
		return nil, nil
	}
	at, err := ParseTimestamp(start.At, options.TimeZone.Location(), time.Now())
	if err != nil {
		return nil, err
	}
	return &at, nil
}

// timeOfNotice is how a notice shows a time.
const timeOfNotice = "2006-01-02 15:04:05 -07:00"

// noticePast tells whoever schedules a task that its time is over.
func noticePast(s *Session, task string, at time.Time) {
	if at.Before(time.Now()) {
		s.Notice(Notice{
			Message: fmt.Sprintf("the time %s has passed: task %q starts now", at.Format(timeOfNotice), task),
			Hint:    fmt.Sprintf("PAUSE SYNC TASK %s; if it is not to.", quoteIdentifier(task)),
		})
	}
}

func (e *Engine) fire(ctx context.Context, s *Session, t catalog.Task, ev catalog.Event, ch catalog.Change) error {
	ch.By = s.User
	_, err := e.cfg.Catalog.Fire(ctx, t.ID, ev, ch)
	e.cfg.Supervisor.Wake()
	return err
}

// fireAll raises an event for every target. All of them are checked before the first is touched.
func (e *Engine) fireAll(ctx context.Context, s *Session, targets Targets, ev catalog.Event) error {
	return e.forEach(ctx, s, targets, false, ev, func(t catalog.Task) error { return e.fire(ctx, s, t, ev, catalog.Change{}) })
}

func (e *Engine) forEach(ctx context.Context, s *Session, targets Targets, ifExists bool, ev catalog.Event, act func(catalog.Task) error) error {
	tasks, err := e.resolve(ctx, s, targets, ifExists)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if _, ok := catalog.Next(t.State, ev); !ok {
			return &catalog.StateError{Task: t.Name, State: t.State, Event: ev, Possible: catalog.Possible(t.State)}
		}
	}
	for _, t := range tasks {
		if err := act(t); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) startTasks(ctx context.Context, s *Session, stmt *StartTasks) error {
	ev := catalog.EventStart
	if stmt.At != "" {
		ev = catalog.EventSchedule
	}
	return e.forEach(ctx, s, stmt.Targets, stmt.IfExists, ev, func(t catalog.Task) error {
		ch := catalog.Change{Confirm: confirmed(stmt.Confirm)}
		if stmt.At != "" {
			options, err := catalog.ParseTaskOptions(t.Options)
			if err != nil {
				return err
			}
			if ch.StartAt, err = startTime(Start{When: At, At: stmt.At}, options); err != nil {
				return err
			}
			noticePast(s, t.Name, *ch.StartAt)
		}
		return e.fire(ctx, s, t, ev, ch)
	})
}

func (e *Engine) stopTasks(ctx context.Context, s *Session, stmt *StopTasks) error {
	if stmt.Force {
		return e.fireAll(ctx, s, stmt.Targets, catalog.EventForceStop)
	}
	return e.fireAll(ctx, s, stmt.Targets, catalog.EventStop)
}

// dropTasks erases tasks. With FORCE, tasks that still work are ended first; without, one that does keeps all of them.
func (e *Engine) dropTasks(ctx context.Context, s *Session, stmt *DropTasks) error {
	targets, err := e.forgetLeftovers(ctx, s, stmt.Targets)
	if err != nil || targets.Tag == nil && len(targets.Names) == 0 {
		return err
	}
	drop := func(t catalog.Task) error { return e.fire(ctx, s, t, catalog.EventDrop, catalog.Change{}) }
	if !stmt.Force {
		err := e.forEach(ctx, s, targets, stmt.IfExists, catalog.EventDrop, drop)
		if state, ok := errors.AsType[*catalog.StateError](err); ok {
			wrong := wrongState(state)
			return wrong.WithHint("%s Or, to end it in any state: DROP SYNC TASK %s FORCE;", wrong.Hint, quoteIdentifier(state.Task))
		}
		return err
	}
	tasks, err := e.resolve(ctx, s, targets, stmt.IfExists)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if err := e.endByForce(ctx, s, t); err != nil {
			return err
		}
		if err := drop(t); err != nil {
			return err
		}
	}
	return nil
}

// forgetLeftovers returns the targets without the names of tasks that are gone and left something that is still listed, and clears
// that list: whoever drops a task once more has seen to it.
func (e *Engine) forgetLeftovers(ctx context.Context, s *Session, targets Targets) (Targets, error) {
	rest := Targets{Tag: targets.Tag}
	for _, name := range targets.Names {
		_, err := e.cfg.Catalog.Task(ctx, name)
		forgotten := int64(0)
		if errors.Is(err, catalog.ErrNotFound) {
			forgotten, err = e.cfg.Catalog.ForgetLeftovers(ctx, name)
		}
		switch {
		case err != nil:
			return rest, err
		case forgotten == 0:
			rest.Names = append(rest.Names, name)
		default:
			s.Notice(Notice{Message: fmt.Sprintf("task %q is gone already; the %d objects it left are no longer listed in sync_leftovers", name, forgotten)})
		}
	}
	return rest, nil
}

// endByForce force-stops a task that cannot be dropped as it is, and waits for the end.
func (e *Engine) endByForce(ctx context.Context, s *Session, t catalog.Task) error {
	if _, ok := catalog.Next(t.State, catalog.EventForceStop); !ok {
		return nil
	}
	if err := e.fire(ctx, s, t, catalog.EventForceStop, catalog.Change{}); err != nil {
		return err
	}
	for {
		changed := e.cfg.Supervisor.Changed()
		now, err := e.cfg.Catalog.TaskByID(ctx, t.ID)
		if err != nil {
			return err
		}
		switch now.State {
		case catalog.StateCompleted:
			s.Notice(Notice{
				Message: fmt.Sprintf("task %q was stopped by force", t.Name),
				Hint: fmt.Sprintf("What it may have left: SELECT * FROM sync_leftovers WHERE task = %s; when that is cleaned up: DROP SYNC TASK %s;",
					quoteLiteral(t.Name), quoteIdentifier(t.Name)),
			})
			return nil
		case catalog.StateStoppingFailed:
			return Errorf(CodeWrongState, "task %q could not be stopped: %s", t.Name, now.Error).WithDetail("%s", now.ErrorDetail)
		default:
		}
		if err := pause(ctx, changed); err != nil {
			return err
		}
	}
}
