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
// names no time to come.
func Next(expression string, location *time.Location, now time.Time) (time.Time, error) {
	schedule, err := cron.ParseStandard(expression)
	if err != nil {
		return time.Time{}, fmt.Errorf("cron expression %q: %w", expression, err)
	}
	next := schedule.Next(now.In(location))
	if next.IsZero() {
		return time.Time{}, fmt.Errorf("cron expression %q names no time to come", expression)
	}
	return next, nil
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
