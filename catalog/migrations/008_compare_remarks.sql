-- Objects of which one side cannot be read are undecided, and it is said why.

ALTER TABLE pgsyncd.compare_object
    ADD remarks text NOT NULL DEFAULT '',
    DROP CONSTRAINT compare_object_result_check,
    ADD CONSTRAINT compare_object_result_check CHECK (result IN ('equal', 'different', 'missing', 'extra', 'undecided'));
COMMENT ON COLUMN pgsyncd.compare_object.result IS 'equal, different, missing, extra, undecided';
COMMENT ON COLUMN pgsyncd.compare_object.remarks IS 'Why it is undecided, or empty';

CREATE OR REPLACE VIEW sync.sync_compare_objects AS
SELECT o.run_id, t.name AS task, o.type, o.name, o.result, o.source_definition, o.destination_definition, o.destination_name, nullif(o.remarks, '') AS remarks
FROM pgsyncd.task t JOIN pgsyncd.compare_run r ON r.task_id = t.id JOIN pgsyncd.compare_object o ON o.run_id = r.id;
COMMENT ON COLUMN sync.sync_compare_objects.result IS 'equal, different, missing (in the destination), extra (only there), undecided';
COMMENT ON COLUMN sync.sync_compare_objects.remarks IS 'Why it is undecided, and what to grant; else null';
