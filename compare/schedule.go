package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgsyncd/catalog"

	"github.com/robfig/cron/v3"
)

// Next is the first time after now that a cron expression names in a time zone; it fails on an expression that is wrong or
// names no time to come. Where the clocks are set forward, a time that they skip is the moment of the change; where they are
// set back, a time that they show twice counts once, the first time, unless the expression is for every hour.
func Next(expression string, location *time.Location, now time.Time) (time.Time, error) {
	schedule, err := cron.ParseStandard(expression)
	if err != nil {
		return time.Time{}, fmt.Errorf("cron expression %q: %w", expression, err)
	}
	next := nextTime(schedule, location, now.In(location))
	if next.IsZero() {
		return time.Time{}, fmt.Errorf("cron expression %q names no time to come", expression)
	}
	return next, nil
}

// everyHour marks a field given as * in a cron.SpecSchedule.
const everyHour = 1 << 63

func nextTime(schedule cron.Schedule, location *time.Location, now time.Time) time.Time {
	spec, ok := schedule.(*cron.SpecSchedule)
	if ok && spec.Location != time.Local {
		location, now = spec.Location, now.In(spec.Location) // the expression begins with TZ=
	}
	if !ok || spec.Hour&everyHour != 0 {
		return schedule.Next(now)
	}
	// Cron's own rule skips the times of one hour a year and takes those of another twice. It is asked for a clock that is never
	// set instead, what it names is looked up on the real one.
	spec.Location = time.UTC
	for wall := reading(now); ; {
		if wall = spec.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if at := firstReading(wall, location); at.After(now) {
			return at
		}
	}
}

// reading is what the clock on the wall shows, as a time in UTC.
func reading(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// firstReading is the first moment at which the clock shows wall or, where it skips that, something later.
func firstReading(wall time.Time, location *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, location)
	start, end := t.ZoneBounds()
	switch shown := reading(t); {
	case shown.After(wall): // skipped, and taken for later
		return start
	case shown.Before(wall): // skipped, and taken for earlier
		return end
	case start.IsZero():
		return t
	}
	_, before := start.Add(-time.Second).Zone()
	if earlier := wall.Add(-time.Duration(before) * time.Second); earlier.Before(start) {
		return earlier.In(location)
	}
	return t
}

// fireDue queues a run for every schedule whose time has come. Times that were missed while no daemon ran count once.
func (s *Service) fireDue(ctx context.Context, now time.Time) error {
	due, err := s.cfg.Catalog.DueSchedules(ctx, now)
	if err != nil {
		return err
	}
	for _, d := range due {
		if err := s.fireOne(ctx, d, now); err != nil {
			s.cfg.Logger.Warn("fire schedule", "schedule", d.Name, "error", err)
		}
	}
	return nil
}

func (s *Service) fireOne(ctx context.Context, d catalog.Schedule, now time.Time) error {
	var next time.Time // none: a schedule for one time is done
	if d.Cron != "" {
		location, err := time.LoadLocation(d.TimeZone)
		if err != nil {
			return fmt.Errorf("time zone %q: %w", d.TimeZone, err)
		}
		if next, err = Next(d.Cron, location, now); err != nil {
			return err
		}
	}
	claimed, err := s.cfg.Catalog.ClaimSchedule(ctx, d.Name, *d.NextRun, next)
	if err != nil || !claimed {
		return err
	}
	if busy, err := s.busy(ctx, d); err != nil || busy {
		return err
	}
	id, err := s.cfg.Catalog.AddCompare(ctx, catalog.CompareRun{
		TaskID: d.TaskID, Type: d.Type, Schedule: d.Name, Options: d.Options, Tables: d.Tables,
	})
	if err != nil {
		return err
	}
	return s.cfg.Catalog.UpdateSchedule(ctx, d.Name, func(s *catalog.Schedule) error { s.LastRunID = &id; return nil })
}

// busy reports, and logs, that the schedule's last run has not ended: runs of one schedule never overlap.
func (s *Service) busy(ctx context.Context, d catalog.Schedule) (bool, error) {
	if d.LastRunID == nil {
		return false, nil
	}
	last, err := s.cfg.Catalog.Compare(ctx, *d.LastRunID)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case last.State != StateQueued && last.State != StateRunning:
		return false, nil
	}
	task, err := s.cfg.Catalog.TaskByID(ctx, d.TaskID)
	if err != nil {
		return true, err
	}
	return true, s.cfg.Catalog.Log(ctx, task.Name, "warning", "comparison skipped",
		fmt.Sprintf("schedule %s: run %d has not ended yet", d.Name, last.ID), "")
}
