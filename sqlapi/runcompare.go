package sqlapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/schema"
)

// compare queues a comparison, or makes a schedule for it.
func (e *Engine) compare(ctx context.Context, s *Session, c *Compare) ([][]*string, error) {
	t, err := e.find(ctx, c.Task)
	if err != nil {
		return nil, err
	}
	var tables []string
	for _, n := range c.Tables {
		name := schema.Name{Schema: n.Schema, Name: n.Name}
		if name.Schema == "" {
			name.Schema = "public"
		}
		tables = append(tables, name.String())
	}
	if c.At == "" && c.Cron == "" {
		if err := hasData(t); err != nil {
			return nil, err
		}
		id, err := e.cfg.Catalog.AddCompare(ctx, catalog.CompareRun{TaskID: t.ID, Type: string(c.Type), Options: c.Options, Tables: tables})
		if err != nil {
			return nil, err
		}
		e.cfg.Comparisons.Wake()
		return [][]*string{cells(strconv.FormatInt(id, 10))}, nil
	}
	schedule := catalog.Schedule{
		Name: c.Schedule, TaskID: t.ID, Type: string(c.Type), Cron: c.Cron, TimeZone: c.TimeZone,
		Enabled: true, Tables: tables, Options: c.Options,
	}
	next, zone, err := e.firstRun(t, c)
	if err != nil {
		return nil, err
	}
	schedule.NextRun, schedule.TimeZone = &next, zone
	if schedule.Name == "" {
		schedule.Name = fmt.Sprintf("%s-%s-%s", t.Name, c.Type, newToken()[:6])
	}
	if err := e.cfg.Catalog.AddSchedule(ctx, schedule); err != nil {
		if errors.Is(err, catalog.ErrExists) {
			return nil, Errorf(CodeDuplicate, "schedule %q already exists", schedule.Name).
				WithHint("ALTER COMPARE SCHEDULE %[1]s EVERY '…'; changes its times, DROP COMPARE SCHEDULE %[1]s; ends it and keeps its results.",
					quoteIdentifier(schedule.Name))
		}
		return nil, err
	}
	if next.Before(time.Now()) {
		s.Notice(Notice{
			Message: fmt.Sprintf("the time %s has passed: task %q is compared now", next.Format(timeOfNotice), t.Name),
			Hint:    fmt.Sprintf("SELECT run_id, state FROM sync_compares WHERE schedule = %s;", quoteLiteral(schedule.Name)),
		})
	}
	e.cfg.Comparisons.Wake()
	return [][]*string{cells(schedule.Name, next.Format(time.RFC3339Nano))}, nil
}

// beforeData are the states in which the destination does not have the task's data yet.
var beforeData = []catalog.State{
	catalog.StateCreating, catalog.StateCreationFailed, catalog.StateConfiguration, catalog.StatePendingStart,
	catalog.StateStarting, catalog.StateStartFailed, catalog.StateFull, catalog.StateFullFailed,
}

// hasData refuses to compare a task now whose data cannot be complete: the run would do no more than fail.
func hasData(t catalog.Task) error {
	if !slices.Contains(beforeData, t.State) {
		return nil
	}
	e := wrongState(&catalog.StateError{Task: t.Name, State: t.State, Event: "compare", Possible: catalog.Possible(t.State)})
	e.Detail += " Its data is not complete yet."
	if t.State == catalog.StateStarting || t.State == catalog.StateFull {
		end := catalog.StateIncremental
		if t.Mode == catalog.ModeFull {
			end = catalog.StateCompleted
		}
		e.Hint = fmt.Sprintf("WAIT FOR SYNC TASK %s TO REACH '%s';", quoteIdentifier(t.Name), end)
	}
	return e
}

// firstRun is when a schedule begins, and the name of its time zone: without one of its own it is the task's.
func (e *Engine) firstRun(t catalog.Task, c *Compare) (time.Time, string, error) {
	options, err := catalog.ParseTaskOptions(t.Options)
	if err != nil {
		return time.Time{}, "", err
	}
	zone := options.TimeZone
	if c.TimeZone != "" {
		zone = catalog.Zone(c.TimeZone)
	}
	if c.At != "" {
		at, err := ParseTimestamp(c.At, zone.Location(), time.Now())
		return at, zone.Name(), err
	}
	if zone.Name() == "" {
		return time.Time{}, "", invalid("the daemon's time zone has no name").WithHint("Add TIME ZONE, or set option time_zone of the task.")
	}
	next, err := compare.Next(c.Cron, zone.Location(), time.Now())
	if err != nil {
		return next, "", invalid("%s", err)
	}
	return next, zone.Name(), nil
}

func (e *Engine) cancelCompare(ctx context.Context, stmt *CancelCompare) error {
	run, err := e.cfg.Catalog.Compare(ctx, stmt.Run)
	if errors.Is(err, catalog.ErrNotFound) {
		return noComparison(stmt.Run)
	}
	if err != nil {
		return err
	}
	if run.State != compare.StateQueued && run.State != compare.StateRunning {
		return Errorf(CodeWrongState, "comparison %d has ended already", stmt.Run).WithDetail("It is %s.", run.State)
	}
	return e.cfg.Catalog.CancelCompare(ctx, stmt.Run)
}

func noSchedule(name string) *Error {
	return Errorf(CodeUndefined, "schedule %q does not exist", name).WithHint("SELECT schedule FROM sync_schedules;")
}

func (e *Engine) alterSchedule(ctx context.Context, stmt *AlterSchedule) error {
	err := e.cfg.Catalog.UpdateSchedule(ctx, stmt.Name, func(s *catalog.Schedule) error {
		if stmt.RenameTo != "" {
			s.Name = stmt.RenameTo
			return nil
		}
		if stmt.Cron != "" {
			s.Cron = stmt.Cron
			if stmt.TimeZone != "" {
				s.TimeZone = stmt.TimeZone
			}
		}
		if stmt.Enable != nil {
			s.Enabled = *stmt.Enable
		}
		if s.Cron == "" {
			if stmt.Enable != nil && *stmt.Enable && (s.NextRun == nil || s.NextRun.Before(time.Now())) {
				return Errorf(CodeWrongState, "schedule %q was for one time, which is over", s.Name)
			}
			return nil
		}
		location, err := time.LoadLocation(s.TimeZone)
		if err != nil {
			return invalid("time zone %q not recognized", s.TimeZone)
		}
		next, err := compare.Next(s.Cron, location, time.Now())
		if err != nil {
			return invalid("%s", err)
		}
		s.NextRun = &next
		return nil
	})
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return noSchedule(stmt.Name)
	case errors.Is(err, catalog.ErrExists):
		return Errorf(CodeDuplicate, "schedule %q already exists", stmt.RenameTo).WithHint("SELECT schedule FROM sync_schedules;")
	}
	e.cfg.Comparisons.Wake()
	return err
}

func (e *Engine) dropSchedule(ctx context.Context, s *Session, stmt *DropSchedule) error {
	err := e.cfg.Catalog.DropSchedule(ctx, stmt.Name)
	if !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	if stmt.IfExists {
		s.Notice(Notice{Message: noSchedule(stmt.Name).Message + ", skipping"})
		return nil
	}
	return noSchedule(stmt.Name)
}
