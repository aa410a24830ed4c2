package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pgsyncd/testenv"

	"github.com/jackc/pgx/v5"
)

const (
	patience  = 5 * time.Minute // for a comparison
	killEvery = 25              // comparisons; the daemon is killed in one of so many
)

// outcome is what a comparison found of a table.
type outcome struct {
	Table, Result             string
	Remarks                   *string
	Missing, Extra, Different *int64
}

func (o outcome) String() string {
	text := o.Table + " " + o.Result
	if o.Remarks != nil {
		text += " (" + *o.Remarks + ")"
	}
	if o.Missing != nil && o.Extra != nil && o.Different != nil {
		text += fmt.Sprintf(": %d missing, %d extra, %d different", *o.Missing, *o.Extra, *o.Different)
	}
	return text
}

// compareAll compares as often as asked; all tables must be equal each time.
func (s *soak) compareAll(ctx context.Context) error {
	tables := 0
	for n := range s.runs {
		kind := "VALUES"
		if n%4 == 3 {
			kind = "ROWS"
		}
		kill := n%killEvery == killEvery-1
		began := time.Now()
		results, err := s.compare(ctx, kind, kill)
		s.say("comparison %d: %s of %d tables took %.1fs", n+1, kind, len(results), time.Since(began).Seconds())
		if err != nil {
			return fmt.Errorf("comparison %d of %d: %w", n+1, s.runs, err)
		}
		tables += len(results)
		var wrong []string
		for _, r := range results {
			if r.Result != "equal" {
				wrong = append(wrong, r.String())
			}
		}
		if wrong != nil {
			return fmt.Errorf("comparison %d of %d: %s", n+1, s.runs, strings.Join(wrong, "; "))
		}
	}
	s.say("%d comparisons of %d tables in all: everything equal; %d did not find both sides at one position, the daemon was killed %d times", s.runs, tables, s.apart, s.killed)
	return nil
}

// compare runs a comparison to its end. With kill, the daemon is killed while it runs.
func (s *soak) compare(ctx context.Context, kind string, kill bool) ([]outcome, error) {
	var id int64
	err := testenv.Session(ctx, s.Daemon.SocketString(), func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "COMPARE SYNC TASK shop "+kind, pgx.QueryExecModeSimpleProtocol).Scan(&id)
	})
	if err != nil {
		return nil, err
	}
	if kill {
		if err := testenv.Sleep(ctx, time.Duration(s.rand.IntN(1500))*time.Millisecond); err != nil {
			return nil, err
		}
		if err := errors.Join(s.Daemon.Kill9(), s.Daemon.Start(ctx)); err != nil {
			return nil, err
		}
		s.killed++
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var results []outcome
	err = testenv.Session(ctx, s.Daemon.SocketString(), func(c *pgx.Conn) error {
		for {
			var state, failure string
			var exact bool
			if err := c.QueryRow(ctx, "SELECT state, coalesce(error, ''), coalesce(lsn, '') <> '' FROM sync_compares WHERE run_id = $1", id).Scan(&state, &failure, &exact); err != nil {
				return err
			}
			switch state {
			case "queued", "running":
			case "finished":
				if !exact {
					s.apart++
				}
				rows, err := c.Query(ctx, `SELECT source_table, result, remarks, rows_missing, rows_extra, rows_different
					FROM sync_compare_tables WHERE run_id = $1`, id)
				if err != nil {
					return err
				}
				results, err = pgx.CollectRows(rows, pgx.RowToStructByPos[outcome])
				return err
			default:
				return fmt.Errorf("it is %s: %s", state, failure)
			}
			if err := testenv.Sleep(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	})
	return results, err
}

// plant makes differences in tables that nobody writes to in these places, and looks whether they are found.
func (s *soak) plant(ctx context.Context) error {
	err := testenv.Execute(ctx, s.Destination.ConnString("shop"), `SET session_replication_role = replica;
		UPDATE crm.customers SET name = name || ' ' WHERE id = (SELECT min(id) FROM crm.customers);
		INSERT INTO audit.events SELECT '1999-01-01', 'planted', 'twice', NULL FROM generate_series(1, 2);
		DELETE FROM pgbench_branches WHERE bid = -1; INSERT INTO pgbench_branches VALUES (-1, 0, NULL)`)
	if err != nil {
		return fmt.Errorf("plant differences: %w", err)
	}
	results, err := s.compare(ctx, "VALUES", false)
	if err != nil {
		return err
	}
	want := map[string]string{
		`"crm"."customers"`:           `"crm"."customers" different: 0 missing, 0 extra, 1 different`,
		`"audit"."events"`:            `"audit"."events" different: 0 missing, 2 extra, 0 different`,
		`"public"."pgbench_branches"`: `"public"."pgbench_branches" different: 0 missing, 1 extra, 0 different`,
	}
	var wrong []string
	for _, r := range results {
		expected := r.Table + " equal"
		if w, planted := want[r.Table]; planted {
			expected = w
		}
		if r.String() != expected {
			wrong = append(wrong, r.String())
		}
	}
	if wrong != nil {
		return fmt.Errorf("after differences were planted: %s", strings.Join(wrong, "; "))
	}
	s.say("%d planted differences were found, and nothing else", len(want))
	return nil
}
