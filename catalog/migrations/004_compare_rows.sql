-- Which rows of a table differ.

CREATE TABLE pgsyncd.compare_row (
    run_id          bigint NOT NULL REFERENCES pgsyncd.compare_run ON DELETE CASCADE,
    source_table    text NOT NULL,
    number          bigint NOT NULL,
    key             jsonb,
    kind            text NOT NULL CHECK (kind IN ('missing', 'extra', 'different')),
    columns         text[],
    source_row      jsonb,
    destination_row jsonb,
    shortened       boolean NOT NULL,
    PRIMARY KEY (run_id, source_table, number)
);
COMMENT ON TABLE pgsyncd.compare_row IS 'Rows that differ';
COMMENT ON COLUMN pgsyncd.compare_row.run_id IS 'Run';
COMMENT ON COLUMN pgsyncd.compare_row.source_table IS 'Table in the source, as in compare_table';
COMMENT ON COLUMN pgsyncd.compare_row.number IS 'Place in the list of the table';
COMMENT ON COLUMN pgsyncd.compare_row.key IS 'Values of the key, null for a table without one';
COMMENT ON COLUMN pgsyncd.compare_row.kind IS 'missing in the destination, extra there, or different';
COMMENT ON COLUMN pgsyncd.compare_row.columns IS 'Columns that differ, null unless kind is different';
COMMENT ON COLUMN pgsyncd.compare_row.source_row IS 'Row in the source, null if there is none';
COMMENT ON COLUMN pgsyncd.compare_row.destination_row IS 'Row in the destination, null if there is none';
COMMENT ON COLUMN pgsyncd.compare_row.shortened IS 'Whether a value in it is not whole';

-- Rows of a table whose comparison has not ended are not shown.
CREATE VIEW sync.sync_compare_rows AS
SELECT r.run_id, r.source_table AS "table", r.key, r.kind, r.columns, r.source_row, r.destination_row, t.name AS task, r.shortened
FROM pgsyncd.compare_row r JOIN pgsyncd.compare_table c USING (run_id, source_table) JOIN pgsyncd.compare_run n ON n.id = r.run_id
     JOIN pgsyncd.task t ON t.id = n.task_id
WHERE c.result = 'different';
COMMENT ON VIEW sync.sync_compare_rows IS 'Rows that a comparison of values found to differ, at most max_reported_rows of each table; columns have the names of the destination, values are texts or null';
COMMENT ON COLUMN sync.sync_compare_rows.run_id IS 'Number of the run';
COMMENT ON COLUMN sync.sync_compare_rows."table" IS 'Table in the source, as in sync_compare_tables';
COMMENT ON COLUMN sync.sync_compare_rows.key IS 'Values of the primary key, else of the replica identity; null for a table without either';
COMMENT ON COLUMN sync.sync_compare_rows.kind IS 'missing (in the destination), extra (only there), different (same key, other values)';
COMMENT ON COLUMN sync.sync_compare_rows.columns IS 'Columns whose values differ; null unless kind is different';
COMMENT ON COLUMN sync.sync_compare_rows.source_row IS 'Row in the source; null if there is none';
COMMENT ON COLUMN sync.sync_compare_rows.destination_row IS 'Row in the destination; null if there is none';
COMMENT ON COLUMN sync.sync_compare_rows.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_compare_rows.shortened IS 'Whether a value is not whole: longer than 65,536 characters, or with bytes that are no text in UTF8';

COMMENT ON COLUMN sync.sync_compare_tables.rows_missing IS 'Rows missing in the destination; null where not known';
COMMENT ON COLUMN sync.sync_compare_tables.rows_extra IS 'Rows only in the destination; null where not known';
COMMENT ON COLUMN sync.sync_compare_tables.rows_different IS 'Rows with the same key and other values; null where not known';
