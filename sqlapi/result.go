package sqlapi

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pgsyncd/sync/endpoint"
)

// releaseTimeout bounds the removal of a session's results.
const releaseTimeout = 10 * time.Second

// column is one column of a result that the engine makes itself; all cells are kept as text.
type column struct{ name, typ string }

var (
	testColumns     = []column{{"endpoint", "text"}, {"item", "text"}, {"result", "text"}, {"found", "text"}, {"suggestion", "text"}}
	compareColumns  = []column{{"run_id", "int8"}}
	scheduleColumns = []column{{"schedule", "text"}, {"next_run", "timestamptz"}}
	createColumns   = []column{{"statement", "text"}}
	helpColumns     = []column{{"statement", "text"}, {"synopsis", "text"}, {"description", "text"}}
)

// resultQuery is the SELECT that yields a statement's rows: from a view where the rows are state, else from the result that the
// engine keeps under the token. It is known before the statement runs, so that a client can describe it.
func resultQuery(stmt Statement, token string) string {
	switch stmt := stmt.(type) {
	case *ShowTasks:
		return `SELECT task, mode, state, source, destination, description FROM sync.sync_tasks ORDER BY task`
	case *ShowTask:
		return `SELECT t.*, s.progress_pct, s.delay_ms, s.lag_bytes, s.conflicts, s.retries, s.error, s.error_detail, s.error_hint, s.since
			FROM sync.sync_tasks t JOIN sync.sync_status s USING (task) WHERE task = ` + quoteLiteral(stmt.Name)
	case *ShowObjects:
		name := quoteLiteral(stmt.Name)
		return `SELECT 'TABLE' AS type, source_schema || '.' || source_table AS source_name,
				destination_schema || '.' || destination_table AS destination_name, state, error
			FROM sync.sync_tables WHERE task = ` + name + `
			UNION ALL SELECT type, source_name, destination_name, state, error FROM sync.sync_objects
			WHERE task = ` + name + ` AND type <> 'TABLE' ORDER BY 1, 2`
	case *PrecheckTask:
		return `SELECT category, item, result, found, suggestion, confirmed FROM sync.sync_prechecks WHERE task = ` + quoteLiteral(stmt.Name)
	case *TestTask, *TestConnection:
		return tokenQuery(token, testColumns)
	case *Compare:
		if stmt.At != "" || stmt.Cron != "" {
			return tokenQuery(token, scheduleColumns)
		}
		return tokenQuery(token, compareColumns)
	case *RepairCompare:
		return tokenQuery(token, repairColumns)
	case *ShowReport:
		return tokenQuery(token, reportColumns)
	case *ShowCreate:
		return tokenQuery(token, createColumns)
	case *ShowHelp:
		return tokenQuery(token, helpColumns)
	}
	panic(fmt.Sprintf("%T returns no rows", stmt))
}

func tokenQuery(token string, columns []column) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = fmt.Sprintf("cells[%d]::pg_catalog.%s AS %s", i+1, c.typ, c.name)
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM sync.statement_result('" + token + "') ORDER BY ordinal"
}

// cells makes a row of texts; an empty one becomes NULL.
func cells(texts ...string) []*string {
	row := make([]*string, len(texts))
	for i, t := range texts {
		if t != "" {
			row[i] = &t
		}
	}
	return row
}

// showHelp lists the statements, or those whose name contains the given words.
func showHelp(stmt *ShowHelp) ([][]*string, error) {
	rows := [][]*string{}
	for _, f := range forms {
		if strings.Contains(f.Tag, strings.ToUpper(strings.TrimSpace(stmt.About))) {
			description := f.Description
			if _, refused := notYetForms[f]; refused {
				description = "Not supported by this version. " + description
			}
			rows = append(rows, cells(f.Tag, f.Synopsis, description))
		}
	}
	if len(rows) == 0 {
		return nil, Errorf(CodeUndefined, "there is no statement %q", stmt.About).WithHint("SHOW SYNC HELP; lists all of them.")
	}
	return rows, nil
}

// showCreate prints the statement that makes the same task again, passwords and certificates apart.
func (e *Engine) showCreate(ctx context.Context, stmt *ShowCreate) ([][]*string, error) {
	t, err := e.find(ctx, stmt.Name)
	if err != nil {
		return nil, err
	}
	create, err := definition(t)
	if err != nil {
		return nil, err
	}
	for _, side := range []struct{ shown, kept *Secret }{{&create.Source, &t.Source}, {&create.Destination, &t.Destination}} {
		public, err := endpoint.Public(side.kept.Reveal())
		if err != nil {
			return nil, err
		}
		*side.shown = Secret(public)
	}
	return [][]*string{cells(Print(create, PrintOptions{}) + ";")}, nil
}
