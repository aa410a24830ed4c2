-- What a run could not decide is shown beside what differs, and a schedule that is disabled has no next run.

CREATE OR REPLACE VIEW sync.sync_compares AS
SELECT r.id AS run_id, t.name AS task, r.type, nullif(r.schedule, '') AS schedule, r.state, r.tables_total,
       r.tables_done, r.tables_different, r.rows_different, nullif(r.lsn, '') AS lsn, r.started_at, r.finished_at,
       nullif(r.error, '') AS error,
       (CASE r.type WHEN 'ACCOUNTS' THEN 0
           WHEN 'OBJECTS' THEN (SELECT count(*) FROM pgsyncd.compare_object o WHERE o.run_id = r.id AND o.result = 'undecided')
           ELSE (SELECT count(*) FROM pgsyncd.compare_table c WHERE c.run_id = r.id AND c.result IN ('undecided', 'failed')) END)::integer AS tables_undecided
FROM pgsyncd.task t JOIN pgsyncd.compare_run r ON r.task_id = t.id;
COMMENT ON COLUMN sync.sync_compares.tables_total IS 'Tables to compare; of OBJECTS and ACCOUNTS, objects and items';
COMMENT ON COLUMN sync.sync_compares.tables_done IS 'Tables, objects or items compared';
COMMENT ON COLUMN sync.sync_compares.tables_different IS 'Tables, objects or items that differ; extra objects are not counted';
COMMENT ON COLUMN sync.sync_compares.tables_undecided IS 'Tables or objects of which nothing can be said; their remarks say why';

CREATE OR REPLACE VIEW sync.sync_schedules AS
SELECT s.name AS schedule, t.name AS task, s.type, nullif(s.cron, '') AS cron, s.time_zone, s.enabled,
       CASE WHEN s.enabled THEN s.next_run END AS next_run, s.last_run_id
FROM pgsyncd.task t JOIN pgsyncd.schedule s ON s.task_id = t.id;
COMMENT ON COLUMN sync.sync_schedules.next_run IS 'Time of the next run; null while it is disabled';
