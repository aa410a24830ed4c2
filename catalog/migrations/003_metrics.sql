-- What is known of replication slots apart from what their tasks do, and figures of every minute.

CREATE TABLE pgsyncd.slot (
    task_id     uuid PRIMARY KEY REFERENCES pgsyncd.task ON DELETE CASCADE,
    source_lsn  pg_lsn NOT NULL,
    wal_bytes   bigint,
    limit_bytes bigint,
    eta_s       bigint,
    alarm       text NOT NULL CHECK (alarm IN ('', 'soon', 'exceeded')),
    updated_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE pgsyncd.slot IS 'The WAL of the source of each task with a slot, whether the task runs or not';
COMMENT ON COLUMN pgsyncd.slot.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.slot.source_lsn IS 'End of WAL on the source';
COMMENT ON COLUMN pgsyncd.slot.wal_bytes IS 'WAL that the slot retains, null without a slot';
COMMENT ON COLUMN pgsyncd.slot.limit_bytes IS 'What it may retain, null for no limit';
COMMENT ON COLUMN pgsyncd.slot.eta_s IS 'Forecast when it retains that';
COMMENT ON COLUMN pgsyncd.slot.alarm IS 'What was last said about it: soon, exceeded, or empty';
COMMENT ON COLUMN pgsyncd.slot.updated_at IS 'Time of these figures';

-- Sums and the time they were measured in, so that a minute in which a task was interrupted shows the rates of the rest.
CREATE TABLE pgsyncd.metric (
    task_id            uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    time               timestamptz NOT NULL,
    span_us            bigint NOT NULL,
    extract_bytes      bigint NOT NULL,
    extract_rows       bigint NOT NULL,
    commits            bigint NOT NULL,
    latency_us         bigint NOT NULL,
    apply_bytes        bigint NOT NULL,
    apply_rows         bigint NOT NULL,
    apply_transactions bigint NOT NULL,
    apply_ddls         bigint NOT NULL,
    batches            bigint NOT NULL,
    execute_us         bigint NOT NULL,
    commit_us          bigint NOT NULL,
    net_in_bytes       bigint NOT NULL,
    net_out_bytes      bigint NOT NULL,
    cpu_us             bigint NOT NULL,
    delay_ms           bigint,
    lag_bytes          bigint,
    slot_wal_bytes     bigint,
    streaming          boolean,
    workers            integer,
    memory_bytes       bigint,
    disk_bytes         bigint,
    PRIMARY KEY (task_id, time)
) WITH (fillfactor = 70);
COMMENT ON TABLE pgsyncd.metric IS 'What tasks did in each minute';
COMMENT ON COLUMN pgsyncd.metric.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.metric.time IS 'Begin of the minute';
COMMENT ON COLUMN pgsyncd.metric.span_us IS 'How long the sums were measured, in microseconds; 0 while the task did nothing';
COMMENT ON COLUMN pgsyncd.metric.extract_bytes IS 'Bytes read from the source';
COMMENT ON COLUMN pgsyncd.metric.extract_rows IS 'Rows read from the source';
COMMENT ON COLUMN pgsyncd.metric.commits IS 'Transactions that were received';
COMMENT ON COLUMN pgsyncd.metric.latency_us IS 'From their commit in the source to their receipt, sum';
COMMENT ON COLUMN pgsyncd.metric.apply_bytes IS 'Bytes of what was written to the destination';
COMMENT ON COLUMN pgsyncd.metric.apply_rows IS 'Rows written to the destination';
COMMENT ON COLUMN pgsyncd.metric.apply_transactions IS 'Transactions of the source that were applied';
COMMENT ON COLUMN pgsyncd.metric.apply_ddls IS 'DDL statements replicated';
COMMENT ON COLUMN pgsyncd.metric.batches IS 'Transactions of the destination';
COMMENT ON COLUMN pgsyncd.metric.execute_us IS 'Time of their statements, sum';
COMMENT ON COLUMN pgsyncd.metric.commit_us IS 'Time of their COMMIT, sum';
COMMENT ON COLUMN pgsyncd.metric.net_in_bytes IS 'Bytes received by the connections of the task';
COMMENT ON COLUMN pgsyncd.metric.net_out_bytes IS 'Bytes sent by the connections of the task';
COMMENT ON COLUMN pgsyncd.metric.cpu_us IS 'Processor time of the daemon';
COMMENT ON COLUMN pgsyncd.metric.delay_ms IS 'Greatest delay';
COMMENT ON COLUMN pgsyncd.metric.lag_bytes IS 'WAL between the source and what is applied, at last';
COMMENT ON COLUMN pgsyncd.metric.slot_wal_bytes IS 'WAL that the slot retains, at last';
COMMENT ON COLUMN pgsyncd.metric.streaming IS 'Whether a stream ran at last, null where none should';
COMMENT ON COLUMN pgsyncd.metric.workers IS 'Connections that copied or applied, at last';
COMMENT ON COLUMN pgsyncd.metric.memory_bytes IS 'Memory of the daemon, at last';
COMMENT ON COLUMN pgsyncd.metric.disk_bytes IS 'Size of the data directory, at last';

-- What a runner told of its progress last is not what is, once it has ended.
CREATE OR REPLACE VIEW sync.sync_status AS
SELECT t.name AS task, t.state,
       CASE WHEN t.state IN ('full synchronization', 'incremental synchronization') THEN nullif(s.phase, '') END AS phase,
       coalesce(s.progress_pct, 0)::numeric(5, 2) AS progress_pct,
       coalesce(s.structure_pct, 0)::numeric(5, 2) AS structure_pct,
       coalesce(s.data_pct, 0)::numeric(5, 2) AS data_pct,
       coalesce(s.index_pct, 0)::numeric(5, 2) AS index_pct,
       coalesce(s.tables_done, 0) AS tables_done, coalesce(s.tables_total, 0) AS tables_total,
       coalesce(s.rows_copied, 0) AS rows_copied, coalesce(s.bytes_copied, 0) AS bytes_copied,
       CASE WHEN t.state = 'full synchronization' THEN coalesce(s.copy_bytes_per_s, 0) ELSE 0 END AS copy_bytes_per_s,
       CASE WHEN t.state = 'full synchronization' THEN s.eta_s END AS eta_s,
       d.delay_ms, coalesce(d.delay_ms > extract(epoch FROM t.delay_threshold) * 1000, false) AS delay_exceeded,
       CASE WHEN w.fresh AND s.applied_lsn <> '' THEN greatest(pg_wal_lsn_diff(w.source_lsn, nullif(s.applied_lsn, '')::pg_lsn), 0)::bigint END AS lag_bytes,
       w.source_lsn::text AS source_lsn, nullif(s.received_lsn, '') AS received_lsn,
       nullif(s.applied_lsn, '') AS applied_lsn, nullif(s.confirmed_lsn, '') AS confirmed_lsn, CASE WHEN w.fresh THEN w.wal_bytes END AS slot_wal_bytes,
       coalesce(s.rows_applied, 0) AS rows_applied, coalesce(s.transactions_applied, 0) AS transactions_applied,
       CASE WHEN d.streams THEN coalesce(s.rows_per_s, 0) ELSE 0 END::numeric(20, 1) AS rows_per_s, coalesce(s.conflicts, 0) AS conflicts,
       coalesce(s.ddls, 0) AS ddls, t.retries, nullif(t.error, '') AS error, nullif(t.error_detail, '') AS error_detail,
       nullif(t.error_hint, '') AS error_hint, t.since, coalesce(s.updated_at, t.since) AS updated_at,
       w.limit_bytes AS slot_wal_limit_bytes, CASE WHEN w.fresh THEN w.eta_s END AS slot_wal_eta_s
FROM pgsyncd.task t LEFT JOIN pgsyncd.status s ON s.task_id = t.id
     LEFT JOIN (SELECT *, updated_at > now() - interval '1 minute' AS fresh FROM pgsyncd.slot) w ON w.task_id = t.id AND t.state <> 'completed'
     CROSS JOIN LATERAL (SELECT t.state IN ('incremental synchronization', 'modifying task', 'task stopping') AS streams,
         CASE WHEN t.state IN ('incremental synchronization', 'modifying task', 'fault rectification', 'task stopping') THEN s.delay_ms END AS delay_ms) d;
COMMENT ON COLUMN sync.sync_status.delay_ms IS 'Commit on the source to commit in the destination, in milliseconds, by one clock; what waits counts from its commit until now, and while a server is away all does; null where no stream should run, and before its first figures';
COMMENT ON COLUMN sync.sync_status.lag_bytes IS 'WAL between the end of the source and what is applied, in bytes; null before a stream has run, and while the source cannot be reached';
COMMENT ON COLUMN sync.sync_status.source_lsn IS 'End of WAL on the source when it was last looked at, which is also done while the task is paused or failed; null without a slot';
COMMENT ON COLUMN sync.sync_status.slot_wal_bytes IS 'WAL the replication slot retains on the source, in bytes; null without a slot, and while the source cannot be reached';
COMMENT ON COLUMN sync.sync_status.rows_per_s IS 'Current rate of the incremental phase, in rows per second; 0 when it is not under way';
COMMENT ON COLUMN sync.sync_status.copy_bytes_per_s IS 'Current rate of the full phase, in bytes per second; 0 when it is not under way';
COMMENT ON COLUMN sync.sync_status.slot_wal_limit_bytes IS 'WAL the slot may retain: the lesser of the option max_slot_wal and the source''s max_slot_wal_keep_size; null for no limit';
COMMENT ON COLUMN sync.sync_status.slot_wal_eta_s IS 'Forecast of when that limit is reached at the rate of the last minutes, in seconds; 0 when it is, null when it is not in sight or not known';

ALTER TABLE pgsyncd.status DROP COLUMN source_lsn, DROP COLUMN slot_wal_bytes, DROP COLUMN lag_bytes;

CREATE VIEW sync.sync_metrics AS
SELECT m.time, t.name AS task,
       round(m.extract_bytes / x.s)::bigint AS extract_bytes_per_s,
       round(m.extract_rows / x.s, 1) AS extract_rows_per_s,
       round(m.latency_us / 1000.0 / nullif(m.commits, 0), 1) AS extract_latency_ms,
       round(m.apply_bytes / x.s)::bigint AS apply_bytes_per_s,
       round(m.apply_rows / x.s, 1) AS apply_rows_per_s,
       CASE WHEN m.streaming IS NOT NULL THEN round(m.apply_transactions / x.s, 1) END AS apply_transactions_per_s,
       CASE WHEN m.streaming IS NOT NULL THEN round(m.apply_ddls / x.s, 1) END AS apply_ddls_per_s,
       m.delay_ms, m.lag_bytes, m.slot_wal_bytes,
       round(m.execute_us / 1000.0 / nullif(m.batches, 0), 1) AS apply_execute_ms,
       round(m.commit_us / 1000.0 / nullif(m.batches, 0), 1) AS apply_commit_ms,
       CASE WHEN NOT m.streaming THEN 'abnormal'
            WHEN m.streaming AND m.apply_ddls > 0 THEN 'DDL'
            WHEN m.streaming AND m.apply_rows > 0 THEN 'DML'
            WHEN m.streaming THEN 'idle' END AS apply_state,
       m.workers, round(m.cpu_us / 10000.0 / x.s, 1) AS cpu_pct, m.memory_bytes, m.disk_bytes,
       round(m.net_in_bytes / x.s)::bigint AS net_in_bytes_per_s,
       round(m.net_out_bytes / x.s)::bigint AS net_out_bytes_per_s
FROM pgsyncd.task t JOIN pgsyncd.metric m ON m.task_id = t.id
     CROSS JOIN LATERAL (SELECT nullif(m.span_us, 0) / 1000000.0 AS s) x;
COMMENT ON VIEW sync.sync_metrics IS 'What each task did in each minute, the one under way included; minutes in which nothing was to be measured have no row';
COMMENT ON COLUMN sync.sync_metrics.time IS 'Begin of the minute';
COMMENT ON COLUMN sync.sync_metrics.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_metrics.extract_bytes_per_s IS 'Bytes read from the source per second: COPY data, then messages of the output plug-in; rates are averages of the part of the minute in which the task worked, null where it did not';
COMMENT ON COLUMN sync.sync_metrics.extract_rows_per_s IS 'Rows copied, and changes received, per second';
COMMENT ON COLUMN sync.sync_metrics.extract_latency_ms IS 'Commit on the source to receipt by the daemon, by one clock, average over the transactions received; null when there were none';
COMMENT ON COLUMN sync.sync_metrics.apply_bytes_per_s IS 'Bytes of rows copied and of changes applied, as they were read, per second';
COMMENT ON COLUMN sync.sync_metrics.apply_rows_per_s IS 'Rows copied and changes applied per second';
COMMENT ON COLUMN sync.sync_metrics.apply_transactions_per_s IS 'Transactions of the source applied per second; null in the full phase';
COMMENT ON COLUMN sync.sync_metrics.apply_ddls_per_s IS 'DDL statements replicated per second; null in the full phase';
COMMENT ON COLUMN sync.sync_metrics.delay_ms IS 'Greatest delay_ms of sync_status in the minute';
COMMENT ON COLUMN sync.sync_metrics.lag_bytes IS 'WAL between the end of the source and what is applied at the end of the minute, in bytes; null without a stream';
COMMENT ON COLUMN sync.sync_metrics.slot_wal_bytes IS 'WAL the replication slot retains on the source at the end of the minute, in bytes; also while the task is paused or failed; null without a slot and while the source cannot be reached';
COMMENT ON COLUMN sync.sync_metrics.apply_execute_ms IS 'Time the statements of a transaction of the destination take, which may hold many of the source''s, average; null when there were none';
COMMENT ON COLUMN sync.sync_metrics.apply_commit_ms IS 'Time its COMMIT takes, likewise';
COMMENT ON COLUMN sync.sync_metrics.apply_state IS 'abnormal (no stream ran at the end of the minute, but should), DDL, DML (some was applied in it), idle; null while there is nothing to stream';
COMMENT ON COLUMN sync.sync_metrics.workers IS 'Connections that copy rows, or apply changes; null while the task stands still';
COMMENT ON COLUMN sync.sync_metrics.cpu_pct IS 'Processor time of the daemon, for all tasks together and without its catalog''s server, in percent of one core';
COMMENT ON COLUMN sync.sync_metrics.memory_bytes IS 'Resident memory of the daemon at the end of the minute, likewise; null where the operating system does not tell';
COMMENT ON COLUMN sync.sync_metrics.disk_bytes IS 'Size of the daemon''s data directory, which has its private catalog and what is spilled; looked at once a minute';
COMMENT ON COLUMN sync.sync_metrics.net_in_bytes_per_s IS 'Bytes that the task''s connections received from both servers per second, those of pg_dump excepted';
COMMENT ON COLUMN sync.sync_metrics.net_out_bytes_per_s IS 'Bytes that they sent';
