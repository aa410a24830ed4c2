-- Definitions and accounts that differ.

CREATE TABLE pgsyncd.compare_object (
    run_id                 bigint NOT NULL REFERENCES pgsyncd.compare_run ON DELETE CASCADE,
    number                 integer NOT NULL,
    type                   text NOT NULL,
    name                   text NOT NULL,
    destination_name       text NOT NULL,
    result                 text NOT NULL CHECK (result IN ('equal', 'different', 'missing', 'extra')),
    source_definition      text,
    destination_definition text,
    PRIMARY KEY (run_id, number)
);
COMMENT ON TABLE pgsyncd.compare_object IS 'Outcome of each object of a run';
COMMENT ON COLUMN pgsyncd.compare_object.run_id IS 'Run';
COMMENT ON COLUMN pgsyncd.compare_object.number IS 'Place in the list of the run';
COMMENT ON COLUMN pgsyncd.compare_object.type IS 'Kind of object';
COMMENT ON COLUMN pgsyncd.compare_object.name IS 'Name in the source; of an extra object, in the destination';
COMMENT ON COLUMN pgsyncd.compare_object.destination_name IS 'Name in the destination';
COMMENT ON COLUMN pgsyncd.compare_object.result IS 'equal, different, missing, extra';
COMMENT ON COLUMN pgsyncd.compare_object.source_definition IS 'What the source demands of the destination, null if nothing or if the sides are equal';
COMMENT ON COLUMN pgsyncd.compare_object.destination_definition IS 'What the destination has, null if nothing or if the sides are equal';

CREATE TABLE pgsyncd.compare_account (
    run_id            bigint NOT NULL REFERENCES pgsyncd.compare_run ON DELETE CASCADE,
    number            integer NOT NULL,
    role              text NOT NULL,
    item              text NOT NULL,
    result            text NOT NULL CHECK (result IN ('equal', 'different', 'missing', 'extra')),
    source_value      text,
    destination_value text,
    PRIMARY KEY (run_id, number)
);
COMMENT ON TABLE pgsyncd.compare_account IS 'Outcome of each item of each role of a run';
COMMENT ON COLUMN pgsyncd.compare_account.run_id IS 'Run';
COMMENT ON COLUMN pgsyncd.compare_account.number IS 'Place in the list of the run';
COMMENT ON COLUMN pgsyncd.compare_account.role IS 'Role, or PUBLIC';
COMMENT ON COLUMN pgsyncd.compare_account.item IS 'What of the role is compared';
COMMENT ON COLUMN pgsyncd.compare_account.result IS 'equal, different, missing, extra';
COMMENT ON COLUMN pgsyncd.compare_account.source_value IS 'What the source has, null if nothing';
COMMENT ON COLUMN pgsyncd.compare_account.destination_value IS 'What the destination has, null if nothing';

CREATE VIEW sync.sync_compare_objects AS
SELECT o.run_id, t.name AS task, o.type, o.name, o.result, o.source_definition, o.destination_definition, o.destination_name
FROM pgsyncd.task t JOIN pgsyncd.compare_run r ON r.task_id = t.id JOIN pgsyncd.compare_object o ON o.run_id = r.id;
COMMENT ON VIEW sync.sync_compare_objects IS 'Outcome of each object of a comparison of objects';
COMMENT ON COLUMN sync.sync_compare_objects.run_id IS 'Number of the run';
COMMENT ON COLUMN sync.sync_compare_objects.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_compare_objects.type IS 'Kind of object as in pg_dump; COMMENT, SECURITY LABEL, OWNER and ACL (its privileges) are what an object has';
COMMENT ON COLUMN sync.sync_compare_objects.name IS 'Name in the source; of an extra object, in the destination';
COMMENT ON COLUMN sync.sync_compare_objects.result IS 'equal, different, missing (in the destination), extra (only there)';
COMMENT ON COLUMN sync.sync_compare_objects.source_definition IS 'Definition that the source demands, under the names of the destination; null if there is none or the sides are equal';
COMMENT ON COLUMN sync.sync_compare_objects.destination_definition IS 'Definition in the destination; null if there is none or the sides are equal';
COMMENT ON COLUMN sync.sync_compare_objects.destination_name IS 'Name in the destination';

CREATE VIEW sync.sync_compare_accounts AS
SELECT a.run_id, t.name AS task, a.role, a.item, a.result, a.source_value, a.destination_value
FROM pgsyncd.task t JOIN pgsyncd.compare_run r ON r.task_id = t.id JOIN pgsyncd.compare_account a ON a.run_id = r.id;
COMMENT ON VIEW sync.sync_compare_accounts IS 'Outcome of each item of each role of a comparison of accounts';
COMMENT ON COLUMN sync.sync_compare_accounts.run_id IS 'Number of the run';
COMMENT ON COLUMN sync.sync_compare_accounts.task IS 'Name of the task';
COMMENT ON COLUMN sync.sync_compare_accounts.role IS 'Role, or PUBLIC';
COMMENT ON COLUMN sync.sync_compare_accounts.item IS 'What of the role is compared: an attribute, a setting, a membership, its privileges on an object';
COMMENT ON COLUMN sync.sync_compare_accounts.result IS 'equal, different, missing (in the destination), extra (only there)';
COMMENT ON COLUMN sync.sync_compare_accounts.source_value IS 'What the source has; null if nothing';
COMMENT ON COLUMN sync.sync_compare_accounts.destination_value IS 'What the destination has; null if nothing';

COMMENT ON COLUMN sync.sync_compares.tables_total IS 'Tables to compare; of OBJECTS and ACCOUNTS, objects and items';
COMMENT ON COLUMN sync.sync_compares.tables_done IS 'Tables, objects or items compared';
COMMENT ON COLUMN sync.sync_compares.tables_different IS 'Tables, objects or items that differ; extra objects are not counted';
