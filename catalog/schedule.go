package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Schedule starts comparisons at the times of a cron expression, or once when Cron is empty.
type Schedule struct {
	Name      string
	TaskID    string
	Type      string
	Cron      string
	TimeZone  string
	Enabled   bool
	Tables    []string
	Options   map[string]string
	NextRun   *time.Time
	LastRunID *int64
}

const scheduleColumns = `name, task_id::text, type, cron, time_zone, enabled, tables, options, next_run, last_run_id`

// AddSchedule stores a new schedule. ErrExists if the name is taken, ErrNotFound if the task is gone.
func (c *Catalog) AddSchedule(ctx context.Context, s Schedule) error {
	_, err := c.pool.Exec(ctx, "INSERT INTO pgsyncd.schedule ("+insertScheduleColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		s.values()...)
	if err != nil {
		return fmt.Errorf("create schedule %q: %w", s.Name, meaning(err))
	}
	return nil
}

const insertScheduleColumns = `name, task_id, type, cron, time_zone, enabled, tables, options, next_run, last_run_id`

func (s Schedule) values() []any {
	return []any{
		s.Name, s.TaskID, s.Type, s.Cron, s.TimeZone, s.Enabled, s.Tables, notNil(s.Options), s.NextRun, s.LastRunID,
	}
}

// Schedule finds a schedule by its name. ErrNotFound if there is none.
func (c *Catalog) Schedule(ctx context.Context, name string) (Schedule, error) {
	s, err := oneSchedule(ctx, c.pool, "name = $1", name)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", name, err)
	}
	return s, nil
}

func oneSchedule(ctx context.Context, q querier, condition, name string) (Schedule, error) {
	rows, err := q.Query(ctx, "SELECT "+scheduleColumns+" FROM pgsyncd.schedule WHERE "+condition, name)
	if err != nil {
		return Schedule{}, err
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Schedule])
	return s, meaning(err)
}

// Schedules lists all schedules by name.
func (c *Catalog) Schedules(ctx context.Context) ([]Schedule, error) {
	return c.listSchedules(ctx, "true")
}

// EnabledSchedules lists the schedules that have a next run.
func (c *Catalog) EnabledSchedules(ctx context.Context) ([]Schedule, error) {
	return c.listSchedules(ctx, "enabled AND next_run IS NOT NULL")
}

func (c *Catalog) listSchedules(ctx context.Context, condition string, args ...any) ([]Schedule, error) {
	rows, err := c.pool.Query(ctx, "SELECT "+scheduleColumns+" FROM pgsyncd.schedule WHERE "+condition+" ORDER BY name", args...)
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	schedules, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Schedule])
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	return schedules, nil
}

// UpdateSchedule changes a schedule under a row lock. An error of change is returned as it is and nothing is written.
func (c *Catalog) UpdateSchedule(ctx context.Context, name string, change func(*Schedule) error) error {
	return c.inTx(ctx, func(tx pgx.Tx) error {
		s, err := oneSchedule(ctx, tx, "name = $1 FOR UPDATE", name)
		if err != nil {
			return fmt.Errorf("update schedule %q: %w", name, err)
		}
		if err := change(&s); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE pgsyncd.schedule SET ("+insertScheduleColumns+
			") = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) WHERE name = $11", append(s.values(), name)...)
		if err != nil {
			return fmt.Errorf("update schedule %q: %w", name, meaning(err))
		}
		return nil
	})
}

// DropSchedule removes a schedule; its runs stay. ErrNotFound if there is none.
func (c *Catalog) DropSchedule(ctx context.Context, name string) error {
	tag, err := c.pool.Exec(ctx, "DELETE FROM pgsyncd.schedule WHERE name = $1", name)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("drop schedule %q: %w", name, err)
	}
	return nil
}

// Firing is what became of a time at which a schedule was to start a run; neither field is set when the time was not the caller's.
type Firing struct {
	RunID   *int64 // the run that was queued
	Overlap *int64 // the schedule's last run, which has not ended yet, so that none was queued
}

// FireSchedule moves a schedule from its expected next run to the one after, or disables it when next is zero, and queues a run for
// it, both or neither. When another daemon was faster or the schedule was changed, this run is not the caller's to start and
// nothing happens.
func (c *Catalog) FireSchedule(ctx context.Context, s Schedule, next time.Time) (Firing, error) {
	var fired Firing
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		moved, err := moveSchedule(ctx, tx, s, next)
		if err != nil || !moved {
			return err
		}
		var last int64
		err = tx.QueryRow(ctx, `SELECT r.id FROM pgsyncd.schedule s JOIN pgsyncd.compare_run r ON r.id = s.last_run_id
			WHERE s.name = $1 AND r.state IN ('queued', 'running')`, s.Name).Scan(&last)
		if err == nil {
			fired.Overlap = &last
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		id, err := addCompare(ctx, tx, CompareRun{TaskID: s.TaskID, Type: s.Type, Schedule: s.Name, Options: s.Options, Tables: s.Tables})
		if err != nil {
			return err
		}
		fired.RunID = &id
		_, err = tx.Exec(ctx, "UPDATE pgsyncd.schedule SET last_run_id = $2 WHERE name = $1", s.Name, id)
		return err
	})
	if err != nil {
		return Firing{}, fmt.Errorf("fire schedule %q: %w", s.Name, err)
	}
	return fired, nil
}

// MoveSchedule gives a schedule another time for its next run, unless that is not what the caller knows any more.
func (c *Catalog) MoveSchedule(ctx context.Context, s Schedule, next time.Time) error {
	if _, err := moveSchedule(ctx, c.pool, s, next); err != nil {
		return fmt.Errorf("move schedule %q: %w", s.Name, err)
	}
	return nil
}

// execer is a transaction or a pool.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func moveSchedule(ctx context.Context, e execer, s Schedule, next time.Time) (bool, error) {
	var after *time.Time
	if !next.IsZero() {
		after = &next
	}
	tag, err := e.Exec(ctx, `UPDATE pgsyncd.schedule SET next_run = $3, enabled = $3::timestamptz IS NOT NULL
		WHERE name = $1 AND next_run = $2 AND enabled`, s.Name, s.NextRun, after)
	return err == nil && tag.RowsAffected() == 1, err
}
