package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Status holds the live figures of one task. Percentages run from 0 to 100, LSNs are texts like "0/16B3748" and empty
// when unknown, nil means unknown.
type Status struct {
	Phase                                        string
	ProgressPct, StructurePct, DataPct, IndexPct float64
	TablesDone, TablesTotal                      int
	RowsCopied, BytesCopied, CopyBytesPerS       int64
	EtaS, DelayMs                                *int64
	ReceivedLSN, AppliedLSN, ConfirmedLSN        string
	RowsApplied, TransactionsApplied             int64
	RowsPerS                                     float64
	Conflicts, DDLs                              int64
	UpdatedAt                                    time.Time // when they were saved; not taken by SaveStatus
}

// TableStatus is the state of one source table. Counters are totals since the task's start.
type TableStatus struct {
	SourceSchema      string     `json:"source_schema"`
	SourceTable       string     `json:"source_table"`
	DestinationSchema string     `json:"destination_schema"`
	DestinationTable  string     `json:"destination_table"`
	State             string     `json:"state"` // pending, copying, copied, indexing, done, synchronizing, failed
	RowsEstimated     int64      `json:"rows_estimated"`
	RowsCopied        int64      `json:"rows_copied"`
	BytesCopied       int64      `json:"bytes_copied"`
	Inserts           int64      `json:"inserts"`
	Updates           int64      `json:"updates"`
	Deletes           int64      `json:"deletes"`
	Truncates         int64      `json:"truncates"`
	CopyLSN           string     `json:"copy_lsn"`
	Error             string     `json:"error"`
	StartedAt         *time.Time `json:"started_at"`
	FinishedAt        *time.Time `json:"finished_at"`
	RowsIgnored       int64      `json:"rows_ignored"`
}

// ObjectStatus is the state of one object other than a table.
type ObjectStatus struct {
	Type            string `json:"type"`
	SourceName      string `json:"source_name"`
	DestinationName string `json:"destination_name"`
	State           string `json:"state"`
	Statement       string `json:"statement"`
	Error           string `json:"error"`
}

// AccountStatus is what became of one role.
type AccountStatus struct {
	Role         string `json:"role"`
	Synchronized bool   `json:"synchronized"`
	Remarks      string `json:"remarks"` // what is not carried, and why
}

// PrecheckRow is the outcome of one check.
type PrecheckRow struct {
	Category   string `json:"category"`
	Item       string `json:"item"`
	Result     string `json:"result"` // passed, to confirm, failed
	Found      string `json:"found"`
	Suggestion string `json:"suggestion"`
	Confirmed  bool   `json:"confirmed"`
}

// Conflict is one row of the stream that did not fit the destination.
type Conflict struct {
	Time           time.Time       `json:"time"`
	Table          string          `json:"table"`
	Kind           string          `json:"kind"`
	Key            json.RawMessage `json:"key"`
	SourceRow      json.RawMessage `json:"source_row"`
	DestinationRow json.RawMessage `json:"destination_row"`
	LSN            string          `json:"lsn"`
	Action         string          `json:"action"`
}

// Leftover is an object that a force stop could not remove. It outlives its task.
type Leftover struct {
	Side       string `json:"side"` // source, destination
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	CleanupSQL string `json:"cleanup_sql"`
}

const saveStatus = `INSERT INTO pgsyncd.status (task_id, phase, progress_pct, structure_pct, data_pct, index_pct, tables_done,
	tables_total, rows_copied, bytes_copied, copy_bytes_per_s, eta_s, delay_ms, received_lsn, applied_lsn,
	confirmed_lsn, rows_applied, transactions_applied, rows_per_s, conflicts, ddls)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
	ON CONFLICT (task_id) DO UPDATE SET (phase, progress_pct, structure_pct, data_pct, index_pct, tables_done, tables_total,
	rows_copied, bytes_copied, copy_bytes_per_s, eta_s, delay_ms, received_lsn, applied_lsn, confirmed_lsn,
	rows_applied, transactions_applied, rows_per_s, conflicts, ddls, updated_at)
	= (excluded.phase, excluded.progress_pct, excluded.structure_pct, excluded.data_pct, excluded.index_pct,
	excluded.tables_done, excluded.tables_total, excluded.rows_copied, excluded.bytes_copied, excluded.copy_bytes_per_s,
	excluded.eta_s, excluded.delay_ms, excluded.received_lsn, excluded.applied_lsn,
	excluded.confirmed_lsn, excluded.rows_applied, excluded.transactions_applied, excluded.rows_per_s,
	excluded.conflicts, excluded.ddls, now())`

// SaveStatus replaces the live figures of a task. ErrNotFound if the task is gone.
func (c *Catalog) SaveStatus(ctx context.Context, id string, s Status) error {
	_, err := c.pool.Exec(ctx, saveStatus, id, s.Phase, percent(s.ProgressPct), percent(s.StructurePct), percent(s.DataPct),
		percent(s.IndexPct), s.TablesDone, s.TablesTotal, s.RowsCopied, s.BytesCopied, s.CopyBytesPerS, s.EtaS, s.DelayMs,
		s.ReceivedLSN, s.AppliedLSN, s.ConfirmedLSN, s.RowsApplied, s.TransactionsApplied, finite(s.RowsPerS), s.Conflicts, s.DDLs)
	if err != nil {
		return fmt.Errorf("save status of task %s: %w", id, meaning(err))
	}
	return nil
}

// Status returns the live figures of a task as last saved; all zero when none were.
func (c *Catalog) Status(ctx context.Context, id string) (Status, error) {
	rows, err := c.pool.Query(ctx, `SELECT phase, progress_pct, structure_pct, data_pct, index_pct, tables_done, tables_total,
		rows_copied, bytes_copied, copy_bytes_per_s, eta_s, delay_ms, received_lsn, applied_lsn, confirmed_lsn,
		rows_applied, transactions_applied, rows_per_s, conflicts, ddls, updated_at FROM pgsyncd.status WHERE task_id = $1`, id)
	if err != nil {
		return Status{}, fmt.Errorf("status of task %s: %w", id, err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Status])
	if errors.Is(err, pgx.ErrNoRows) {
		return Status{}, nil
	}
	if err != nil {
		return Status{}, fmt.Errorf("status of task %s: %w", id, err)
	}
	return s, nil
}

// percent keeps a quotient of estimates within 0 and 100; of nothing it is 0.
func percent(f float64) float64 { return min(max(finite(f), 0), 100) }

// finite is 0 for a quotient by zero.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

const saveTables = `INSERT INTO pgsyncd.task_table (task_id, source_schema, source_table, destination_schema, destination_table,
	state, rows_estimated, rows_copied, bytes_copied, inserts, updates, deletes, truncates, copy_lsn, error, started_at, finished_at,
	rows_ignored)
	SELECT $1, source_schema, source_table, destination_schema, destination_table, state, rows_estimated, rows_copied,
	bytes_copied, inserts, updates, deletes, truncates, copy_lsn, error, started_at, finished_at, rows_ignored
	FROM jsonb_populate_recordset(NULL::pgsyncd.task_table, $2)
	ON CONFLICT (task_id, source_schema, source_table) DO UPDATE SET (destination_schema, destination_table, state,
	rows_estimated, rows_copied, bytes_copied, inserts, updates, deletes, truncates, copy_lsn, error, started_at, finished_at,
	rows_ignored) = (excluded.destination_schema, excluded.destination_table, excluded.state, excluded.rows_estimated, excluded.rows_copied,
	excluded.bytes_copied, excluded.inserts, excluded.updates, excluded.deletes, excluded.truncates, excluded.copy_lsn,
	excluded.error, excluded.started_at, excluded.finished_at, excluded.rows_ignored)`

// SaveTables adds or replaces the states of tables; those of other tables of the task stay.
func (c *Catalog) SaveTables(ctx context.Context, id string, tables []TableStatus) error {
	cleaned := slices.Clone(tables)
	for i := range cleaned {
		cleaned[i].Error = Brief(cleaned[i].Error)
	}
	return c.saveRows(ctx, "tables", saveTables, id, cleaned)
}

// Tables lists the states of a task's tables, by source name.
func (c *Catalog) Tables(ctx context.Context, id string) ([]TableStatus, error) {
	rows, err := c.pool.Query(ctx, `SELECT source_schema, source_table, destination_schema, destination_table, state,
		rows_estimated, rows_copied, bytes_copied, inserts, updates, deletes, truncates, copy_lsn, error, started_at, finished_at,
		rows_ignored FROM pgsyncd.task_table WHERE task_id = $1 ORDER BY 1, 2`, id)
	if err != nil {
		return nil, fmt.Errorf("tables of task %s: %w", id, err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[TableStatus])
	if err != nil {
		return nil, fmt.Errorf("tables of task %s: %w", id, err)
	}
	return tables, nil
}

const saveObjects = `INSERT INTO pgsyncd.task_object (task_id, type, source_name, destination_name, state, statement, error)
	SELECT $1, type, source_name, destination_name, state, statement, error
	FROM jsonb_populate_recordset(NULL::pgsyncd.task_object, $2)
	ON CONFLICT (task_id, type, source_name) DO UPDATE SET (destination_name, state, statement, error)
	= (excluded.destination_name, excluded.state, excluded.statement, excluded.error)`

// SaveObjects adds or replaces the states of objects; type and source name identify one within the task.
func (c *Catalog) SaveObjects(ctx context.Context, id string, objects []ObjectStatus) error {
	cleaned := slices.Clone(objects)
	for i := range cleaned {
		cleaned[i].Statement, cleaned[i].Error = plain(cleaned[i].Statement), Brief(cleaned[i].Error)
	}
	return c.saveRows(ctx, "objects", saveObjects, id, cleaned)
}

const saveAccounts = `INSERT INTO pgsyncd.task_account (task_id, role, synchronized, remarks)
	SELECT $1, role, synchronized, remarks FROM jsonb_populate_recordset(NULL::pgsyncd.task_account, $2)
	ON CONFLICT (task_id, role) DO UPDATE SET (synchronized, remarks) = (excluded.synchronized, excluded.remarks)`

// SaveAccounts adds or replaces what became of roles; those of other roles of the task stay.
func (c *Catalog) SaveAccounts(ctx context.Context, id string, accounts []AccountStatus) error {
	cleaned := slices.Clone(accounts)
	for i := range cleaned {
		cleaned[i].Remarks = plain(cleaned[i].Remarks)
	}
	return c.saveRows(ctx, "accounts", saveAccounts, id, cleaned)
}

// Accounts lists what became of a task's roles, by name.
func (c *Catalog) Accounts(ctx context.Context, id string) ([]AccountStatus, error) {
	rows, err := c.pool.Query(ctx, "SELECT role, synchronized, remarks FROM pgsyncd.task_account WHERE task_id = $1 ORDER BY role", id)
	if err != nil {
		return nil, fmt.Errorf("accounts of task %s: %w", id, err)
	}
	accounts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[AccountStatus])
	if err != nil {
		return nil, fmt.Errorf("accounts of task %s: %w", id, err)
	}
	return accounts, nil
}

// saveRows hands rows to a statement as one JSON array, beside the task's id.
func (c *Catalog) saveRows(ctx context.Context, what, sql, id string, rows any) error {
	text, err := jsonArray(rows)
	if err == nil {
		_, err = c.pool.Exec(ctx, sql, id, text)
	}
	if err != nil {
		return fmt.Errorf("save %s of task %s: %w", what, id, meaning(err))
	}
	return nil
}

// jsonArray is the JSON of a slice, also of a nil one.
func jsonArray(rows any) (string, error) {
	text, err := json.Marshal(rows)
	if string(text) == "null" {
		return "[]", err
	}
	return string(text), err
}

// ClearProgress forgets the live figures, tables, objects and accounts of a task that begins anew.
func (c *Catalog) ClearProgress(ctx context.Context, id string) error {
	err := c.inTx(ctx, func(tx pgx.Tx) error {
		for _, table := range []string{"status", "slot", "task_table", "task_object", "task_account"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+pgx.Identifier{"pgsyncd", table}.Sanitize()+" WHERE task_id = $1", id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("clear progress of task %s: %w", id, err)
	}
	return nil
}

// SavePrechecks replaces the checks of the last precheck.
func (c *Catalog) SavePrechecks(ctx context.Context, id string, checks []PrecheckRow) error {
	cleaned := slices.Clone(checks)
	for i := range cleaned {
		cleaned[i].Found, cleaned[i].Suggestion = plain(cleaned[i].Found), plain(cleaned[i].Suggestion)
	}
	text, err := jsonArray(cleaned)
	if err == nil {
		err = c.inTx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "DELETE FROM pgsyncd.precheck WHERE task_id = $1", id); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO pgsyncd.precheck (task_id, ordinal, category, item, result, found, suggestion, confirmed)
				SELECT $1, n, r.category, r.item, r.result, r.found, r.suggestion, r.confirmed
				FROM jsonb_array_elements($2) WITH ORDINALITY AS e(check_row, n),
				jsonb_populate_record(NULL::pgsyncd.precheck, e.check_row) AS r`, id, text)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("save prechecks of task %s: %w", id, meaning(err))
	}
	return nil
}

const addConflicts = `INSERT INTO pgsyncd.conflict (task_id, time, table_name, kind, key, source_row, destination_row, lsn, action)
	SELECT $1, time, "table", kind, key, source_row, destination_row, lsn, action
	FROM jsonb_to_recordset($2) AS c(time timestamptz, "table" text, kind text, key jsonb, source_row jsonb,
	destination_row jsonb, lsn text, action text)`

// AddConflicts appends to the conflicts of a task.
func (c *Catalog) AddConflicts(ctx context.Context, id string, conflicts []Conflict) error {
	return c.saveRows(ctx, "conflicts", addConflicts, id, conflicts)
}

// SaveLeftovers replaces what a force stop of the task left behind. It stays when the task is dropped.
func (c *Catalog) SaveLeftovers(ctx context.Context, id, task string, leftovers []Leftover) error {
	text, err := jsonArray(leftovers)
	if err == nil {
		err = c.inTx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "DELETE FROM pgsyncd.leftover WHERE task_id = $1", id); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO pgsyncd.leftover (task_id, task, side, kind, name, cleanup_sql)
				SELECT $1, $2, side, kind, name, cleanup_sql FROM jsonb_to_recordset($3)
				AS l(side text, kind text, name text, cleanup_sql text)`, id, task, text)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("save leftovers of task %q: %w", task, err)
	}
	return nil
}

// ForgetLeftovers removes what is listed under the name of a task that exists no more, and returns how many objects that were.
func (c *Catalog) ForgetLeftovers(ctx context.Context, task string) (int64, error) {
	tag, err := c.pool.Exec(ctx, `DELETE FROM pgsyncd.leftover l WHERE task = $1
		AND NOT EXISTS (SELECT FROM pgsyncd.task t WHERE t.id = l.task_id)`, task)
	if err != nil {
		return 0, fmt.Errorf("forget leftovers of task %q: %w", task, err)
	}
	return tag.RowsAffected(), nil
}
