-- What users see. Column lists are a contract: later versions add columns at the end and take none away.

CREATE VIEW sync.sync_tasks AS
SELECT name AS task, mode, scope, source_text AS source, destination_text AS destination, state, description, start_at,
       created_at, created_by, options, tags,
       CASE
           WHEN definition -> 'accounts' -> 'all' = 'true' THEN 'ALL'
           ELSE coalesce('(' || (SELECT string_agg(quote_ident(role), ', ' ORDER BY n)
               FROM jsonb_array_elements_text(definition -> 'accounts' -> 'roles') WITH ORDINALITY AS r(role, n)) || ')', 'NONE')
       END AS accounts,
       coalesce('LIMIT ' || (flow ->> 'mb_per_second') || ' MB PER SECOND' || coalesce(' BETWEEN ' || (
           SELECT string_agg(format('''%s:%s'' AND ''%s:%s''', to_char((w ->> 'from')::int / 60, 'FM00'), to_char((w ->> 'from')::int % 60, 'FM00'),
               to_char((w ->> 'to')::int / 60, 'FM00'), to_char((w ->> 'to')::int % 60, 'FM00')), ', ' ORDER BY n)
           FROM jsonb_array_elements(flow -> 'windows') WITH ORDINALITY AS x(w, n)), ''), 'UNLIMITED') AS flow
FROM pgsyncd.task;
COMMENT ON VIEW sync.sync_tasks IS 'Synchronization tasks';
COMMENT ON COLUMN sync.sync_tasks.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_tasks.mode IS 'Phases: full, full and incremental, incremental';
COMMENT ON COLUMN sync.sync_tasks.scope IS 'Which objects are synchronized';
COMMENT ON COLUMN sync.sync_tasks.source IS 'Connection string of the source, redacted';
COMMENT ON COLUMN sync.sync_tasks.destination IS 'Connection string of the destination, redacted';
COMMENT ON COLUMN sync.sync_tasks.state IS 'State of the task';
COMMENT ON COLUMN sync.sync_tasks.description IS 'Comment of the operator';
COMMENT ON COLUMN sync.sync_tasks.start_at IS 'When a pending task starts';
COMMENT ON COLUMN sync.sync_tasks.created_at IS 'When the task was created';
COMMENT ON COLUMN sync.sync_tasks.created_by IS 'User who created the task';
COMMENT ON COLUMN sync.sync_tasks.options IS 'Options that were set; see sync_parameters for all';
COMMENT ON COLUMN sync.sync_tasks.tags IS 'Tags of the task';
COMMENT ON COLUMN sync.sync_tasks.accounts IS 'Which roles are carried: ALL, NONE, or their names';
COMMENT ON COLUMN sync.sync_tasks.flow IS 'Limit of the full phase, as the clause FLOW gives it';

CREATE VIEW sync.sync_status AS
SELECT t.name AS task, t.state,
       CASE WHEN t.state IN ('full synchronization', 'incremental synchronization') THEN nullif(s.phase, '') END AS phase,
       coalesce(s.progress_pct, 0)::numeric(5, 2) AS progress_pct,
       coalesce(s.structure_pct, 0)::numeric(5, 2) AS structure_pct,
       coalesce(s.data_pct, 0)::numeric(5, 2) AS data_pct,
       coalesce(s.index_pct, 0)::numeric(5, 2) AS index_pct,
       coalesce(s.tables_done, 0) AS tables_done, coalesce(s.tables_total, 0) AS tables_total,
       coalesce(s.rows_copied, 0) AS rows_copied, coalesce(s.bytes_copied, 0) AS bytes_copied,
       coalesce(s.copy_bytes_per_s, 0) AS copy_bytes_per_s, s.eta_s, s.delay_ms,
       coalesce(s.delay_ms > extract(epoch FROM t.delay_threshold) * 1000, false) AS delay_exceeded,
       s.lag_bytes, nullif(s.source_lsn, '') AS source_lsn, nullif(s.received_lsn, '') AS received_lsn,
       nullif(s.applied_lsn, '') AS applied_lsn, nullif(s.confirmed_lsn, '') AS confirmed_lsn, s.slot_wal_bytes,
       coalesce(s.rows_applied, 0) AS rows_applied, coalesce(s.transactions_applied, 0) AS transactions_applied,
       coalesce(s.rows_per_s, 0)::numeric(20, 1) AS rows_per_s, coalesce(s.conflicts, 0) AS conflicts,
       coalesce(s.ddls, 0) AS ddls, t.retries, nullif(t.error, '') AS error, nullif(t.error_detail, '') AS error_detail,
       nullif(t.error_hint, '') AS error_hint, t.since, coalesce(s.updated_at, t.since) AS updated_at
FROM pgsyncd.task t LEFT JOIN pgsyncd.status s ON s.task_id = t.id;
COMMENT ON VIEW sync.sync_status IS 'State and live figures of each task, at most a second old';
COMMENT ON COLUMN sync.sync_status.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_status.state IS 'State of the task';
COMMENT ON COLUMN sync.sync_status.phase IS 'What is being done while rows are copied or changes are streamed; null otherwise';
COMMENT ON COLUMN sync.sync_status.progress_pct IS 'Progress of the full phase as a whole, in percent';
COMMENT ON COLUMN sync.sync_status.structure_pct IS 'Definitions created, in percent';
COMMENT ON COLUMN sync.sync_status.data_pct IS 'Data copied, in percent';
COMMENT ON COLUMN sync.sync_status.index_pct IS 'Indexes and constraints built, in percent';
COMMENT ON COLUMN sync.sync_status.tables_done IS 'Tables whose data is copied';
COMMENT ON COLUMN sync.sync_status.tables_total IS 'Tables of the task';
COMMENT ON COLUMN sync.sync_status.rows_copied IS 'Rows copied in the full phase';
COMMENT ON COLUMN sync.sync_status.bytes_copied IS 'Bytes copied in the full phase';
COMMENT ON COLUMN sync.sync_status.copy_bytes_per_s IS 'Current rate of the full phase, in bytes per second';
COMMENT ON COLUMN sync.sync_status.eta_s IS 'Forecast of the rest of the full phase, in seconds; null when unknown';
COMMENT ON COLUMN sync.sync_status.delay_ms IS 'Commit on the source to commit in the destination, in milliseconds';
COMMENT ON COLUMN sync.sync_status.delay_exceeded IS 'Whether the delay is above the option delay_threshold';
COMMENT ON COLUMN sync.sync_status.lag_bytes IS 'WAL between the end of the source and what is applied, in bytes';
COMMENT ON COLUMN sync.sync_status.source_lsn IS 'End of WAL on the source';
COMMENT ON COLUMN sync.sync_status.received_lsn IS 'End of the WAL that was received';
COMMENT ON COLUMN sync.sync_status.applied_lsn IS 'End of the last transaction committed in the destination';
COMMENT ON COLUMN sync.sync_status.confirmed_lsn IS 'Position acknowledged to the source';
COMMENT ON COLUMN sync.sync_status.slot_wal_bytes IS 'WAL the replication slot retains on the source, in bytes';
COMMENT ON COLUMN sync.sync_status.rows_applied IS 'Rows applied in the incremental phase';
COMMENT ON COLUMN sync.sync_status.transactions_applied IS 'Transactions applied in the incremental phase';
COMMENT ON COLUMN sync.sync_status.rows_per_s IS 'Current rate of the incremental phase, in rows per second';
COMMENT ON COLUMN sync.sync_status.conflicts IS 'Conflicts recorded in sync_conflicts';
COMMENT ON COLUMN sync.sync_status.ddls IS 'DDL statements replicated';
COMMENT ON COLUMN sync.sync_status.retries IS 'Faults since the last start or recovery';
COMMENT ON COLUMN sync.sync_status.error IS 'Cause of a failure or fault';
COMMENT ON COLUMN sync.sync_status.error_detail IS 'Detail of the cause';
COMMENT ON COLUMN sync.sync_status.error_hint IS 'What to do about it';
COMMENT ON COLUMN sync.sync_status.since IS 'When the state began';
COMMENT ON COLUMN sync.sync_status.updated_at IS 'Time of the figures';

CREATE VIEW sync.sync_progress AS
SELECT task, coalesce(phase, state) AS phase,
       '[' || rpad(repeat('#', floor(least(progress_pct, 100) / 5)::integer), 20, '.') || '] '
           || to_char(progress_pct, 'FM990.0') || ' %' AS bar,
       CASE WHEN state = 'incremental synchronization' THEN to_char(rows_per_s, 'FM999999999990') || ' rows/s'
            WHEN state = 'full synchronization' THEN pg_size_pretty(copy_bytes_per_s) || '/s' END AS rate,
       CASE WHEN state = 'full synchronization' THEN make_interval(secs => eta_s) END AS eta
FROM sync.sync_status
ORDER BY task;
COMMENT ON VIEW sync.sync_progress IS 'Progress of each task as a bar, made for \watch';
COMMENT ON COLUMN sync.sync_progress.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_progress.phase IS 'What is being done';
COMMENT ON COLUMN sync.sync_progress.bar IS 'Progress of the full phase';
COMMENT ON COLUMN sync.sync_progress.rate IS 'Bytes per second of the full phase, rows per second of the incremental phase; null when neither is under way';
COMMENT ON COLUMN sync.sync_progress.eta IS 'Forecast of the rest of the full phase';

CREATE VIEW sync.sync_tables AS
SELECT t.name AS task, s.source_schema, s.source_table, s.destination_schema, s.destination_table, s.state,
       s.rows_estimated, s.rows_copied, s.bytes_copied, s.inserts, s.updates, s.deletes, s.truncates,
       nullif(s.copy_lsn, '') AS copy_lsn, nullif(s.error, '') AS error, s.started_at, s.finished_at, s.rows_ignored
FROM pgsyncd.task t JOIN pgsyncd.task_table s ON s.task_id = t.id;
COMMENT ON VIEW sync.sync_tables IS 'Tables of each task';
COMMENT ON COLUMN sync.sync_tables.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_tables.source_schema IS 'Schema in the source';
COMMENT ON COLUMN sync.sync_tables.source_table IS 'Name in the source';
COMMENT ON COLUMN sync.sync_tables.destination_schema IS 'Schema in the destination';
COMMENT ON COLUMN sync.sync_tables.destination_table IS 'Name in the destination';
COMMENT ON COLUMN sync.sync_tables.state IS 'pending, copying, copied, indexing, done, synchronizing, failed';
COMMENT ON COLUMN sync.sync_tables.rows_estimated IS 'Rows by the statistics of the source';
COMMENT ON COLUMN sync.sync_tables.rows_copied IS 'Rows copied in the full phase';
COMMENT ON COLUMN sync.sync_tables.bytes_copied IS 'Bytes copied in the full phase';
COMMENT ON COLUMN sync.sync_tables.inserts IS 'Rows inserted in the incremental phase';
COMMENT ON COLUMN sync.sync_tables.updates IS 'Rows updated in the incremental phase';
COMMENT ON COLUMN sync.sync_tables.deletes IS 'Rows deleted in the incremental phase';
COMMENT ON COLUMN sync.sync_tables.truncates IS 'TRUNCATEs of the incremental phase';
COMMENT ON COLUMN sync.sync_tables.copy_lsn IS 'Position of the snapshot that was copied';
COMMENT ON COLUMN sync.sync_tables.error IS 'Why the table failed';
COMMENT ON COLUMN sync.sync_tables.started_at IS 'When its copy began';
COMMENT ON COLUMN sync.sync_tables.finished_at IS 'When its copy ended, indexes included';
COMMENT ON COLUMN sync.sync_tables.rows_ignored IS 'Rows of the full phase that collided with others and were left out; see the option full_conflicts';

CREATE VIEW sync.sync_objects AS
SELECT t.name AS task, o.type, o.source_name, nullif(o.destination_name, '') AS destination_name, o.state, nullif(o.statement, '') AS statement,
       nullif(o.error, '') AS error
FROM pgsyncd.task t JOIN pgsyncd.task_object o ON o.task_id = t.id;
COMMENT ON VIEW sync.sync_objects IS 'Objects of each task other than tables';
COMMENT ON COLUMN sync.sync_objects.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_objects.type IS 'Kind of object';
COMMENT ON COLUMN sync.sync_objects.source_name IS 'Name in the source';
COMMENT ON COLUMN sync.sync_objects.destination_name IS 'Name in the destination';
COMMENT ON COLUMN sync.sync_objects.state IS 'created, existed (taken as it is), failed, excluded (never created; error says why)';
COMMENT ON COLUMN sync.sync_objects.statement IS 'Statement run in the destination';
COMMENT ON COLUMN sync.sync_objects.error IS 'Why the object failed or is excluded';

-- What the definition says is known from the beginning, the names of other objects once the full phase has made them.
CREATE VIEW sync.sync_mappings AS
SELECT t.name AS task, m.kind, m.source_name, m.destination_name
FROM pgsyncd.task t CROSS JOIN LATERAL (
    SELECT d.kind, (SELECT string_agg(quote_ident(part), '.' ORDER BY n) FROM unnest(d.source) WITH ORDINALITY AS p(part, n)),
           (SELECT string_agg(quote_ident(part), '.' ORDER BY n) FROM unnest(d.destination) WITH ORDINALITY AS p(part, n))
    FROM jsonb_to_recordset(t.mappings) AS d(kind text, source text[], destination text[])
    UNION
    SELECT 'table', quote_ident(source_schema) || '.' || quote_ident(source_table),
           quote_ident(destination_schema) || '.' || quote_ident(destination_table)
    FROM pgsyncd.task_table
    WHERE task_id = t.id AND (source_schema, source_table) IS DISTINCT FROM (destination_schema, destination_table)
    UNION
    SELECT CASE WHEN type LIKE '%CONSTRAINT' THEN 'constraint' ELSE lower(type) END, source_name, destination_name
    FROM pgsyncd.task_object
    WHERE task_id = t.id AND destination_name NOT IN ('', source_name)
          AND type IN ('VIEW', 'MATERIALIZED VIEW', 'SEQUENCE', 'INDEX', 'CONSTRAINT', 'CHECK CONSTRAINT', 'FK CONSTRAINT')
) AS m(kind, source_name, destination_name);
COMMENT ON VIEW sync.sync_mappings IS 'Names that differ between source and destination';
COMMENT ON COLUMN sync.sync_mappings.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_mappings.kind IS 'schema, table, view, materialized view, sequence, column, index, constraint';
COMMENT ON COLUMN sync.sync_mappings.source_name IS 'Name in the source';
COMMENT ON COLUMN sync.sync_mappings.destination_name IS 'Name in the destination';

CREATE VIEW sync.sync_accounts AS
SELECT t.name AS task, a.role, a.synchronized, nullif(a.remarks, '') AS remarks
FROM pgsyncd.task t JOIN pgsyncd.task_account a ON a.task_id = t.id;
COMMENT ON VIEW sync.sync_accounts IS 'Roles of each task, as the clause ACCOUNTS chose them';
COMMENT ON COLUMN sync.sync_accounts.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_accounts.role IS 'Name of the role';
COMMENT ON COLUMN sync.sync_accounts.synchronized IS 'Whether the task has created the role in the destination';
COMMENT ON COLUMN sync.sync_accounts.remarks IS 'What is not carried, and why';

CREATE VIEW sync.sync_prechecks AS
SELECT t.name AS task, p.run_at, p.category, p.item, p.result, p.found, nullif(p.suggestion, '') AS suggestion,
       p.confirmed
FROM pgsyncd.task t JOIN pgsyncd.precheck p ON p.task_id = t.id
ORDER BY t.name, p.ordinal;
COMMENT ON VIEW sync.sync_prechecks IS 'Checks of the last precheck of each task';
COMMENT ON COLUMN sync.sync_prechecks.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_prechecks.run_at IS 'Time of the precheck';
COMMENT ON COLUMN sync.sync_prechecks.category IS 'Group of checks';
COMMENT ON COLUMN sync.sync_prechecks.item IS 'What was checked; the name to confirm';
COMMENT ON COLUMN sync.sync_prechecks.result IS 'passed, to confirm, failed';
COMMENT ON COLUMN sync.sync_prechecks.found IS 'What was found';
COMMENT ON COLUMN sync.sync_prechecks.suggestion IS 'What to do about it';
COMMENT ON COLUMN sync.sync_prechecks.confirmed IS 'Whether an operator confirmed it';

CREATE VIEW sync.sync_log AS
SELECT l.time, coalesce(t.name, l.task) AS task, l.level, l.event, l.message, nullif(l.detail, '') AS detail
FROM pgsyncd.log l LEFT JOIN pgsyncd.task t ON t.id = l.task_id;
COMMENT ON VIEW sync.sync_log IS 'What happened to the tasks and the daemon';
COMMENT ON COLUMN sync.sync_log.time IS 'Time of the event';
COMMENT ON COLUMN sync.sync_log.task IS 'Name of the task; null for the daemon itself';
COMMENT ON COLUMN sync.sync_log.level IS 'info, warning, error';
COMMENT ON COLUMN sync.sync_log.event IS 'Kind of event';
COMMENT ON COLUMN sync.sync_log.message IS 'What happened';
COMMENT ON COLUMN sync.sync_log.detail IS 'Detail, cause and hint';

CREATE VIEW sync.sync_conflicts AS
SELECT c.time, t.name AS task, c.table_name AS "table", c.kind, c.key, c.source_row, c.destination_row,
       nullif(c.lsn, '') AS lsn, c.action
FROM pgsyncd.task t JOIN pgsyncd.conflict c ON c.task_id = t.id;
COMMENT ON VIEW sync.sync_conflicts IS 'Changes that did not fit the destination';
COMMENT ON COLUMN sync.sync_conflicts.time IS 'When the conflict was found';
COMMENT ON COLUMN sync.sync_conflicts.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_conflicts."table" IS 'Table in the source';
COMMENT ON COLUMN sync.sync_conflicts.kind IS 'What did not fit';
COMMENT ON COLUMN sync.sync_conflicts.key IS 'Key of the row';
COMMENT ON COLUMN sync.sync_conflicts.source_row IS 'The row the stream brought';
COMMENT ON COLUMN sync.sync_conflicts.destination_row IS 'The row that was there';
COMMENT ON COLUMN sync.sync_conflicts.lsn IS 'Commit of the change on the source';
COMMENT ON COLUMN sync.sync_conflicts.action IS 'What was done';

CREATE VIEW sync.sync_parameters AS
SELECT t.name AS task, o.name AS option, coalesce(t.options ->> o.name, o.default_value) AS value, o.default_value,
       t.state = ANY (o.changeable_in) AS changeable_now, o.description
FROM pgsyncd.task t CROSS JOIN pgsyncd.option o
ORDER BY t.name, o.ordinal;
COMMENT ON VIEW sync.sync_parameters IS 'Options of each task';
COMMENT ON COLUMN sync.sync_parameters.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_parameters.option IS 'Name of the option';
COMMENT ON COLUMN sync.sync_parameters.value IS 'Value in effect; null for none';
COMMENT ON COLUMN sync.sync_parameters.default_value IS 'Value where none is set; null for none';
COMMENT ON COLUMN sync.sync_parameters.changeable_now IS 'Whether it can change in the current state of the task';
COMMENT ON COLUMN sync.sync_parameters.description IS 'Meaning of the option';

CREATE VIEW sync.sync_parameter_history AS
SELECT h.time, t.name AS task, h.option, h.old_value, h.new_value, h.changed_by
FROM pgsyncd.task t JOIN pgsyncd.option_history h ON h.task_id = t.id;
COMMENT ON VIEW sync.sync_parameter_history IS 'Changes of options';
COMMENT ON COLUMN sync.sync_parameter_history.time IS 'Time of the change';
COMMENT ON COLUMN sync.sync_parameter_history.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_parameter_history.option IS 'Name of the option';
COMMENT ON COLUMN sync.sync_parameter_history.old_value IS 'Value before; null for the default';
COMMENT ON COLUMN sync.sync_parameter_history.new_value IS 'Value after; null for the default';
COMMENT ON COLUMN sync.sync_parameter_history.changed_by IS 'User who changed it';

CREATE VIEW sync.sync_compares AS
SELECT r.id AS run_id, t.name AS task, r.type, nullif(r.schedule, '') AS schedule, r.state, r.tables_total,
       r.tables_done, r.tables_different, r.rows_different, nullif(r.lsn, '') AS lsn, r.started_at, r.finished_at,
       nullif(r.error, '') AS error
FROM pgsyncd.task t JOIN pgsyncd.compare_run r ON r.task_id = t.id;
COMMENT ON VIEW sync.sync_compares IS 'Runs of comparisons';
COMMENT ON COLUMN sync.sync_compares.run_id IS 'Number of the run';
COMMENT ON COLUMN sync.sync_compares.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_compares.type IS 'Kind of comparison';
COMMENT ON COLUMN sync.sync_compares.schedule IS 'Schedule that started it; null for a statement';
COMMENT ON COLUMN sync.sync_compares.state IS 'queued, running, finished, failed, cancelled';
COMMENT ON COLUMN sync.sync_compares.tables_total IS 'Tables to compare';
COMMENT ON COLUMN sync.sync_compares.tables_done IS 'Tables compared';
COMMENT ON COLUMN sync.sync_compares.tables_different IS 'Tables that differ';
COMMENT ON COLUMN sync.sync_compares.rows_different IS 'Rows missing, extra or different';
COMMENT ON COLUMN sync.sync_compares.lsn IS 'Position on the source at which both sides were read';
COMMENT ON COLUMN sync.sync_compares.started_at IS 'When the run began';
COMMENT ON COLUMN sync.sync_compares.finished_at IS 'When the run ended';
COMMENT ON COLUMN sync.sync_compares.error IS 'Why the run failed';

CREATE VIEW sync.sync_compare_tables AS
SELECT c.run_id, t.name AS task, c.source_table, c.destination_table, c.source_rows, c.destination_rows, c.result,
       c.rows_missing, c.rows_extra, c.rows_different, nullif(c.remarks, '') AS remarks
FROM pgsyncd.task t JOIN pgsyncd.compare_run r ON r.task_id = t.id JOIN pgsyncd.compare_table c ON c.run_id = r.id;
COMMENT ON VIEW sync.sync_compare_tables IS 'Outcome of each table of a comparison';
COMMENT ON COLUMN sync.sync_compare_tables.run_id IS 'Number of the run';
COMMENT ON COLUMN sync.sync_compare_tables.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_compare_tables.source_table IS 'Table in the source';
COMMENT ON COLUMN sync.sync_compare_tables.destination_table IS 'Table in the destination';
COMMENT ON COLUMN sync.sync_compare_tables.source_rows IS 'Rows in the source';
COMMENT ON COLUMN sync.sync_compare_tables.destination_rows IS 'Rows in the destination';
COMMENT ON COLUMN sync.sync_compare_tables.result IS 'equal, different, undecided, failed';
COMMENT ON COLUMN sync.sync_compare_tables.rows_missing IS 'Rows missing in the destination; null where only counted';
COMMENT ON COLUMN sync.sync_compare_tables.rows_extra IS 'Rows only in the destination; null where only counted';
COMMENT ON COLUMN sync.sync_compare_tables.rows_different IS 'Rows with other values; null where only counted';
COMMENT ON COLUMN sync.sync_compare_tables.remarks IS 'What there is to say about it';

CREATE VIEW sync.sync_schedules AS
SELECT s.name AS schedule, t.name AS task, s.type, nullif(s.cron, '') AS cron, s.time_zone, s.enabled, s.next_run,
       s.last_run_id
FROM pgsyncd.task t JOIN pgsyncd.schedule s ON s.task_id = t.id;
COMMENT ON VIEW sync.sync_schedules IS 'Schedules of comparisons';
COMMENT ON COLUMN sync.sync_schedules.schedule IS 'Name of the schedule';
COMMENT ON COLUMN sync.sync_schedules.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_schedules.type IS 'Kind of comparison';
COMMENT ON COLUMN sync.sync_schedules.cron IS 'Cron expression; null for a single run';
COMMENT ON COLUMN sync.sync_schedules.time_zone IS 'Time zone of the cron expression';
COMMENT ON COLUMN sync.sync_schedules.enabled IS 'Whether it starts runs';
COMMENT ON COLUMN sync.sync_schedules.next_run IS 'Time of the next run';
COMMENT ON COLUMN sync.sync_schedules.last_run_id IS 'Last run it started';

CREATE VIEW sync.sync_leftovers AS
SELECT coalesce(t.name, l.task) AS task, l.side, l.kind, l.name, l.cleanup_sql, l.time
FROM pgsyncd.leftover l LEFT JOIN pgsyncd.task t ON t.id = l.task_id;
COMMENT ON VIEW sync.sync_leftovers IS 'Objects that a force stop could not remove';
COMMENT ON COLUMN sync.sync_leftovers.task IS 'Name of the task, which may exist no more';
COMMENT ON COLUMN sync.sync_leftovers.side IS 'source, destination';
COMMENT ON COLUMN sync.sync_leftovers.kind IS 'Kind of object';
COMMENT ON COLUMN sync.sync_leftovers.name IS 'Name of the object';
COMMENT ON COLUMN sync.sync_leftovers.cleanup_sql IS 'Statement that removes or corrects it, to be run on that side';
COMMENT ON COLUMN sync.sync_leftovers.time IS 'When the task was stopped by force';

CREATE VIEW sync.sync_users AS
SELECT name, role, created_at FROM pgsyncd.daemon_user;
COMMENT ON VIEW sync.sync_users IS 'Users of the daemon';
COMMENT ON COLUMN sync.sync_users.name IS 'Name of the user';
COMMENT ON COLUMN sync.sync_users.role IS 'Privilege: admin, operator, monitor';
COMMENT ON COLUMN sync.sync_users.created_at IS 'When the user was created';

CREATE FUNCTION sync.statement_result(token text) RETURNS TABLE (ordinal integer, cells text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'SELECT r.ordinal, r.cells FROM pgsyncd.result r WHERE r.token = statement_result.token ORDER BY r.ordinal';
COMMENT ON FUNCTION sync.statement_result(text) IS 'Rows of a statement of the daemon, for who knows its token';
REVOKE ALL ON FUNCTION sync.statement_result(text) FROM PUBLIC;
