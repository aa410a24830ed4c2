-- What repairs did, and the rows as they were before.

CREATE TABLE pgsyncd.repair (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id    uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    run_id     bigint NOT NULL,
    user_name  text NOT NULL,
    state      text NOT NULL CHECK (state IN ('writing', 'committed', 'undone')),
    started_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX repair_task ON pgsyncd.repair (task_id, started_at);
COMMENT ON TABLE pgsyncd.repair IS 'Repairs, each one transaction of the destination';
COMMENT ON COLUMN pgsyncd.repair.id IS 'Number of the repair';
COMMENT ON COLUMN pgsyncd.repair.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.repair.run_id IS 'Run that found the rows, which may be forgotten by now';
COMMENT ON COLUMN pgsyncd.repair.user_name IS 'User who asked for it';
COMMENT ON COLUMN pgsyncd.repair.state IS 'writing until the outcome of the COMMIT is known, then committed or undone';
COMMENT ON COLUMN pgsyncd.repair.started_at IS 'When it began';

CREATE TABLE pgsyncd.repair_row (
    repair_id         bigint NOT NULL REFERENCES pgsyncd.repair ON DELETE CASCADE,
    number            bigint NOT NULL,
    source_table      text NOT NULL,
    destination_table text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('missing', 'extra', 'different')),
    key               jsonb,
    statement         text,
    outcome           text NOT NULL,
    before_row       jsonb,
    after_row        jsonb,
    PRIMARY KEY (repair_id, number)
);
COMMENT ON TABLE pgsyncd.repair_row IS 'Rows that repairs dealt with';
COMMENT ON COLUMN pgsyncd.repair_row.repair_id IS 'Repair';
COMMENT ON COLUMN pgsyncd.repair_row.number IS 'Place in the list of the repair';
COMMENT ON COLUMN pgsyncd.repair_row.source_table IS 'Table in the source, as in compare_row';
COMMENT ON COLUMN pgsyncd.repair_row.destination_table IS 'Table in the destination';
COMMENT ON COLUMN pgsyncd.repair_row.kind IS 'What the comparison had found';
COMMENT ON COLUMN pgsyncd.repair_row.key IS 'Values of the key, null for a table without one';
COMMENT ON COLUMN pgsyncd.repair_row.statement IS 'What was executed, null for nothing';
COMMENT ON COLUMN pgsyncd.repair_row.outcome IS 'repaired, or why not';
COMMENT ON COLUMN pgsyncd.repair_row.before_row IS 'Row of the destination that was changed or deleted, with all columns';
COMMENT ON COLUMN pgsyncd.repair_row.after_row IS 'Row of the source that took its place';

CREATE VIEW sync.sync_repairs AS
SELECT r.id AS repair_id, t.name AS task, r.run_id, w.source_table AS "table", w.destination_table, w.kind, w.key, w.statement,
       CASE WHEN r.state = 'committed' OR w.statement IS NULL OR w.outcome <> 'repaired' THEN w.outcome
            WHEN r.state = 'undone' THEN 'not repaired: the transaction was rolled back'
            ELSE 'not known: the transaction had not ended when the daemon was last told of it' END AS outcome,
       w.before_row, w.after_row, r.user_name AS repaired_by, r.started_at AS "time"
FROM pgsyncd.task t JOIN pgsyncd.repair r ON r.task_id = t.id JOIN pgsyncd.repair_row w ON w.repair_id = r.id;
COMMENT ON VIEW sync.sync_repairs IS 'Rows that REPAIR COMPARE dealt with, in the order of the statements; dry runs are not kept';
COMMENT ON COLUMN sync.sync_repairs.repair_id IS 'Number of the repair: of one transaction of the destination';
COMMENT ON COLUMN sync.sync_repairs.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_repairs.run_id IS 'Comparison that found the rows, which may be forgotten by now';
COMMENT ON COLUMN sync.sync_repairs."table" IS 'Table in the source, as in sync_compare_rows';
COMMENT ON COLUMN sync.sync_repairs.destination_table IS 'Table in the destination';
COMMENT ON COLUMN sync.sync_repairs.kind IS 'What the comparison had found: missing, extra, different';
COMMENT ON COLUMN sync.sync_repairs.key IS 'Values of the key; null for a table without one';
COMMENT ON COLUMN sync.sync_repairs.statement IS 'What was executed in the destination; null for nothing';
COMMENT ON COLUMN sync.sync_repairs.outcome IS 'repaired, or why not';
COMMENT ON COLUMN sync.sync_repairs.before_row IS 'The row of the destination that was changed or deleted as it was before, with all of its columns; values are texts or null; null where there was none';
COMMENT ON COLUMN sync.sync_repairs.after_row IS 'The row of the source that the destination was given, likewise';
COMMENT ON COLUMN sync.sync_repairs.repaired_by IS 'User who asked for it';
COMMENT ON COLUMN sync.sync_repairs."time" IS 'When the repair began';
