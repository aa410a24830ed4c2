-- How the transaction of a repair ended can be learnt from the destination, and what it repaired is compared again.

ALTER TABLE pgsyncd.repair
    ADD mark text NOT NULL DEFAULT '',
    ADD tables text[] NOT NULL DEFAULT '{}',
    ADD check_run_id bigint,
    DROP CONSTRAINT repair_state_check,
    ADD CONSTRAINT repair_state_check CHECK (state IN ('writing', 'committed', 'undone', 'unknown'));
UPDATE pgsyncd.repair SET state = 'unknown' WHERE state = 'writing';
ALTER TABLE pgsyncd.repair ALTER mark DROP DEFAULT;
CREATE INDEX repair_writing ON pgsyncd.repair (id) WHERE state = 'writing';
COMMENT ON COLUMN pgsyncd.repair.state IS 'writing until the outcome of the COMMIT is known, then committed or undone; unknown of repairs without a mark';
COMMENT ON COLUMN pgsyncd.repair.mark IS 'What the transaction wrote into the ledger of the destination';
COMMENT ON COLUMN pgsyncd.repair.tables IS 'Source tables whose rows were repaired';
COMMENT ON COLUMN pgsyncd.repair.check_run_id IS 'Run that compares these again, queued when the outcome was known';

CREATE OR REPLACE VIEW sync.sync_repairs AS
SELECT r.id AS repair_id, t.name AS task, r.run_id, w.source_table AS "table", w.destination_table, w.kind, w.key, w.statement,
       CASE WHEN r.state = 'committed' OR w.statement IS NULL OR w.outcome <> 'repaired' THEN w.outcome
            WHEN r.state = 'undone' THEN 'not repaired: the transaction was rolled back'
            WHEN r.state = 'writing' THEN 'not known yet: the transaction has not ended, or the destination could not be asked since whether it was committed'
            ELSE 'not known: the transaction had not ended when the daemon was last told of it' END AS outcome,
       w.before_row, w.after_row, r.user_name AS repaired_by, r.started_at AS "time", r.check_run_id
FROM pgsyncd.task t JOIN pgsyncd.repair r ON r.task_id = t.id JOIN pgsyncd.repair_row w ON w.repair_id = r.id;
COMMENT ON COLUMN sync.sync_repairs.check_run_id IS 'Comparison of the repaired tables that was queued when the transaction was known to be committed; null if it was not';
