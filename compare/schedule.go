package compare

import (
	"context"
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
	for wall := wallTime(now); ; {
		if wall = spec.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if at := firstReading(wall, location); at.After(now) {
			return at
		}
	}
}

// wallTime is what the clock on the wall shows, as a time in UTC.
func wallTime(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// firstReading is the first moment at which the clock shows wall or, where it skips that, something later.
func firstReading(wall time.Time, location *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, location)
	start, end := t.ZoneBounds()
	switch s := wallTime(t); {
	case s.After(wall): // skipped, and taken for later
		return start
	case s.Before(wall): // skipped, and taken for earlier
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

// clockSlack is how far the clock may be set back before schedules follow it. Below that they wait until it is as far as it was, and
// what has run does not run again; above it, the time of the next run may be one that a wrong clock made up.
const clockSlack = time.Hour

// fireDue queues a run for every schedule whose time has come. Times that were missed while no daemon ran count once.
func (s *Service) fireDue(ctx context.Context, now time.Time) error {
	schedules, err := s.cfg.Catalog.EnabledSchedules(ctx)
	if err != nil {
		return err
	}
	for _, d := range schedules {
		if err := s.fireOne(ctx, d, now); err != nil {
			s.cfg.Logger.Warn("fire schedule", "schedule", d.Name, "error", err)
		}
	}
	return nil
}

func (s *Service) fireOne(ctx context.Context, d catalog.Schedule, now time.Time) error {
	due := !d.NextRun.After(now)
	if !due && d.Cron == "" {
		return nil
	}
	var next time.Time // none: a schedule for one time is done
	if d.Cron != "" {
		location, err := time.LoadLocation(d.TimeZone)
		if err != nil {
			return fmt.Errorf("time zone %q: %w", d.TimeZone, err)
		}
		if next, err = Next(d.Cron, location, now); err != nil {
			return err
		}
		if !due {
			return s.setBack(ctx, d, location, next, now)
		}
	}
	fired, err := s.cfg.Catalog.FireSchedule(ctx, d, next)
	if err != nil || fired.Overlap == nil {
		return err
	}
	task, err := s.cfg.Catalog.TaskByID(ctx, d.TaskID)
	if err != nil {
		return err
	}
	return s.cfg.Catalog.Log(ctx, task.Name, "warning", "comparison skipped",
		fmt.Sprintf("schedule %s: run %d has not ended yet", d.Name, *fired.Overlap), "")
}

// setBack takes a schedule back to its next run when the clock was set back, after which that would be too far in the future.
func (s *Service) setBack(ctx context.Context, d catalog.Schedule, location *time.Location, next, now time.Time) error {
	later, err := Next(d.Cron, location, now.Add(clockSlack))
	if err != nil || !d.NextRun.After(later) {
		return err
	}
	s.cfg.Logger.Warn("the clock was set back; schedule follows", "schedule", d.Name, "next", next, "was", *d.NextRun)
	return s.cfg.Catalog.MoveSchedule(ctx, d, next)
}
