package catalog

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// documented are the relations and columns that users are promised.
var documented = map[string]string{
	"sync_tasks": "task mode scope source destination state description start_at created_at created_by options tags accounts flow",
	"sync_status": "task state phase progress_pct structure_pct data_pct index_pct tables_done tables_total rows_copied " +
		"bytes_copied copy_bytes_per_s eta_s delay_ms delay_exceeded lag_bytes source_lsn received_lsn applied_lsn confirmed_lsn " +
		"slot_wal_bytes rows_applied transactions_applied rows_per_s conflicts ddls retries error error_detail error_hint since updated_at " +
		"slot_wal_limit_bytes slot_wal_eta_s",
	"sync_progress": "task phase bar rate eta",
	"sync_tables": "task source_schema source_table destination_schema destination_table state rows_estimated rows_copied " +
		"bytes_copied inserts updates deletes truncates copy_lsn error started_at finished_at rows_ignored",
	"sync_objects":   "task type source_name destination_name state statement error",
	"sync_mappings":  "task kind source_name destination_name",
	"sync_accounts":  "task role synchronized remarks",
	"sync_prechecks": "task run_at category item result found suggestion confirmed",
	"sync_log":       "time task level event message detail",
	"sync_conflicts": "time task table kind key source_row destination_row lsn action",
	"sync_metrics": "time task extract_bytes_per_s extract_rows_per_s extract_latency_ms apply_bytes_per_s apply_rows_per_s " +
		"apply_transactions_per_s apply_ddls_per_s delay_ms lag_bytes slot_wal_bytes apply_execute_ms apply_commit_ms apply_state workers " +
		"cpu_pct memory_bytes disk_bytes net_in_bytes_per_s net_out_bytes_per_s",
	"sync_parameters":        "task option value default_value changeable_now description",
	"sync_parameter_history": "time task option old_value new_value changed_by",
	"sync_compares": "run_id task type schedule state tables_total tables_done tables_different rows_different lsn started_at " +
		"finished_at error tables_undecided",
	"sync_compare_tables": "run_id task source_table destination_table source_rows destination_rows result rows_missing " +
		"rows_extra rows_different remarks",
	"sync_compare_objects":  "run_id task type name result source_definition destination_definition destination_name remarks",
	"sync_compare_accounts": "run_id task role item result source_value destination_value",
	"sync_compare_rows":     "run_id table key kind columns source_row destination_row task shortened",
	"sync_schedules":        "schedule task type cron time_zone enabled next_run last_run_id",
	"sync_repairs":          "repair_id task run_id table destination_table kind key statement outcome before_row after_row repaired_by time check_run_id",
	"sync_leftovers":        "task side kind name cleanup_sql time",
	"sync_users":            "name role created_at",
}

func TestRelationsAreAsDocumented(t *testing.T) {
	t.Parallel()
	c := setup(t)
	rows, err := c.pool.Query(t.Context(), `SELECT c.relname, string_agg(a.attname, ' ' ORDER BY a.attnum)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'sync'::regnamespace GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	var name, columns string
	if _, err := pgx.ForEachRow(rows, []any{&name, &columns}, func() error {
		found[name] = columns
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(documented, found); diff != "" {
		t.Error(diff)
	}
}

func TestEverythingHasAComment(t *testing.T) {
	t.Parallel()
	c := setup(t)
	bare := query(t, c.pool, `SELECT c.oid::regclass || coalesce('.' || a.attname, '')
		FROM pg_class c LEFT JOIN LATERAL (SELECT 0 AS attnum, NULL AS attname UNION ALL
			SELECT attnum, attname FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) a ON true
		WHERE c.relnamespace IN ('sync'::regnamespace, 'pgsyncd'::regnamespace) AND c.relkind IN ('r', 'v')
		AND coalesce(col_description(c.oid, a.attnum), CASE a.attnum WHEN 0 THEN obj_description(c.oid, 'pg_class') END) IS NULL`)
	if len(bare) > 0 {
		t.Errorf("without comment: %s", strings.Join(bare, ", "))
	}
	if bare := query(t, c.pool, `SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'sync'::regnamespace
		AND obj_description(oid, 'pg_proc') IS NULL`); len(bare) > 0 {
		t.Errorf("without comment: %s", strings.Join(bare, ", "))
	}
}

func TestOnlyBuiltInTypes(t *testing.T) {
	t.Parallel()
	c := setup(t)
	if other := query(t, c.pool, `SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
		JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'sync'::regnamespace
		AND (y.typnamespace <> 'pg_catalog'::regnamespace OR y.typname IN ('pg_lsn', 'timestamp'))`); len(other) > 0 {
		t.Errorf("%s", strings.Join(other, ", "))
	}
}

func query(t *testing.T, q querier, sql string, args ...any) []string {
	t.Helper()
	rows, err := q.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
	return values
}
