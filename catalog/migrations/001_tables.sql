-- The daemon's own tables. Nobody but the daemon reads them; what users see are the views of schema sync.

COMMENT ON TABLE pgsyncd.schema_version IS 'Number of the last migration that was applied';
COMMENT ON COLUMN pgsyncd.schema_version.version IS 'The number';

CREATE TABLE pgsyncd.setting (
    name  text PRIMARY KEY,
    value text NOT NULL
);
COMMENT ON TABLE pgsyncd.setting IS 'Facts about the catalog itself';
COMMENT ON COLUMN pgsyncd.setting.name IS 'Name of the fact';
COMMENT ON COLUMN pgsyncd.setting.value IS 'Its value';

CREATE TABLE pgsyncd.task (
    id                uuid PRIMARY KEY,
    name              text NOT NULL UNIQUE,
    mode              text NOT NULL CHECK (mode IN ('full', 'full and incremental', 'incremental')),
    scope             text NOT NULL,
    definition        jsonb NOT NULL,
    sql               text NOT NULL,
    source            bytea NOT NULL,
    destination       bytea NOT NULL,
    source_text       text NOT NULL,
    destination_text  text NOT NULL,
    options           jsonb NOT NULL,
    certificates      bytea,
    tags              jsonb NOT NULL,
    flow              jsonb NOT NULL,
    mappings          jsonb NOT NULL,
    description       text NOT NULL,
    start_at          timestamptz,
    confirm           text[] NOT NULL,
    delay_threshold   interval NOT NULL,
    history_retention interval NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    created_by        text NOT NULL,
    state             text NOT NULL CHECK (state IN ('creating', 'creation failed', 'configuration', 'pending start',
        'starting', 'start failed', 'full synchronization', 'full synchronization failed',
        'incremental synchronization', 'incremental synchronization failed', 'modifying task',
        'modifying task failed', 'fault rectification', 'paused', 'task stopping', 'completing',
        'stopping task failed', 'completed')),
    desired           text NOT NULL CHECK (desired IN ('none', 'run', 'pause', 'stop', 'force stop')),
    since             timestamptz NOT NULL DEFAULT now(),
    error             text NOT NULL DEFAULT '',
    error_detail      text NOT NULL DEFAULT '',
    error_hint        text NOT NULL DEFAULT '',
    retries           integer NOT NULL DEFAULT 0,
    runtime           jsonb
) WITH (fillfactor = 70);
COMMENT ON TABLE pgsyncd.task IS 'Synchronization tasks: what was asked, what is, and what the runner noted';
COMMENT ON COLUMN pgsyncd.task.id IS 'Identity for life, also in the destination';
COMMENT ON COLUMN pgsyncd.task.name IS 'Name, which may change';
COMMENT ON COLUMN pgsyncd.task.mode IS 'Phases of the task';
COMMENT ON COLUMN pgsyncd.task.scope IS 'The FOR clause for display';
COMMENT ON COLUMN pgsyncd.task.definition IS 'The selection of objects as the daemon stores it';
COMMENT ON COLUMN pgsyncd.task.sql IS 'Canonical CREATE SYNC TASK without secrets';
COMMENT ON COLUMN pgsyncd.task.source IS 'Encrypted connection string of the source';
COMMENT ON COLUMN pgsyncd.task.destination IS 'Encrypted connection string of the destination';
COMMENT ON COLUMN pgsyncd.task.source_text IS 'Redacted connection string of the source';
COMMENT ON COLUMN pgsyncd.task.destination_text IS 'Redacted connection string of the destination';
COMMENT ON COLUMN pgsyncd.task.options IS 'Options that were set, certificates redacted';
COMMENT ON COLUMN pgsyncd.task.certificates IS 'Encrypted options that hold certificates';
COMMENT ON COLUMN pgsyncd.task.tags IS 'Tags';
COMMENT ON COLUMN pgsyncd.task.flow IS 'Limit of the full phase, an empty object for none';
COMMENT ON COLUMN pgsyncd.task.mappings IS 'Names that the definition changes, in parts';
COMMENT ON COLUMN pgsyncd.task.description IS 'Comment of the operator';
COMMENT ON COLUMN pgsyncd.task.start_at IS 'When a pending task starts';
COMMENT ON COLUMN pgsyncd.task.confirm IS 'Confirmed precheck items, * for all';
COMMENT ON COLUMN pgsyncd.task.delay_threshold IS 'Option delay_threshold in effect';
COMMENT ON COLUMN pgsyncd.task.history_retention IS 'Option history_retention in effect';
COMMENT ON COLUMN pgsyncd.task.created_at IS 'Time of creation';
COMMENT ON COLUMN pgsyncd.task.created_by IS 'User who created it';
COMMENT ON COLUMN pgsyncd.task.state IS 'Observed state';
COMMENT ON COLUMN pgsyncd.task.desired IS 'What the operator asked for';
COMMENT ON COLUMN pgsyncd.task.since IS 'When the state began';
COMMENT ON COLUMN pgsyncd.task.error IS 'Cause of the state, if it is a failure or fault';
COMMENT ON COLUMN pgsyncd.task.error_detail IS 'Detail of the cause';
COMMENT ON COLUMN pgsyncd.task.error_hint IS 'What to do about it';
COMMENT ON COLUMN pgsyncd.task.retries IS 'Faults since the last start or recovery';
COMMENT ON COLUMN pgsyncd.task.runtime IS 'Notes of the runner: slot, publication, phase';

CREATE TABLE pgsyncd.status (
    task_id              uuid PRIMARY KEY REFERENCES pgsyncd.task ON DELETE CASCADE,
    phase                text NOT NULL,
    progress_pct         double precision NOT NULL,
    structure_pct        double precision NOT NULL,
    data_pct             double precision NOT NULL,
    index_pct            double precision NOT NULL,
    tables_done          integer NOT NULL,
    tables_total         integer NOT NULL,
    rows_copied          bigint NOT NULL,
    bytes_copied         bigint NOT NULL,
    copy_bytes_per_s     bigint NOT NULL,
    eta_s                bigint,
    delay_ms             bigint,
    lag_bytes            bigint,
    source_lsn           text NOT NULL,
    received_lsn         text NOT NULL,
    applied_lsn          text NOT NULL,
    confirmed_lsn        text NOT NULL,
    slot_wal_bytes       bigint,
    rows_applied         bigint NOT NULL,
    transactions_applied bigint NOT NULL,
    rows_per_s           double precision NOT NULL,
    conflicts            bigint NOT NULL,
    ddls                 bigint NOT NULL,
    updated_at           timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE pgsyncd.status IS 'Live figures of a task, overwritten about once a second while it runs';
COMMENT ON COLUMN pgsyncd.status.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.status.phase IS 'What is being done';
COMMENT ON COLUMN pgsyncd.status.progress_pct IS 'Progress of the whole';
COMMENT ON COLUMN pgsyncd.status.structure_pct IS 'Progress of the definitions';
COMMENT ON COLUMN pgsyncd.status.data_pct IS 'Progress of the data';
COMMENT ON COLUMN pgsyncd.status.index_pct IS 'Progress of the indexes';
COMMENT ON COLUMN pgsyncd.status.tables_done IS 'Tables whose data is in';
COMMENT ON COLUMN pgsyncd.status.tables_total IS 'Tables of the task';
COMMENT ON COLUMN pgsyncd.status.rows_copied IS 'Rows of the full phase';
COMMENT ON COLUMN pgsyncd.status.bytes_copied IS 'Bytes of the full phase';
COMMENT ON COLUMN pgsyncd.status.copy_bytes_per_s IS 'Rate of the full phase';
COMMENT ON COLUMN pgsyncd.status.eta_s IS 'Forecast of the rest of the full phase';
COMMENT ON COLUMN pgsyncd.status.delay_ms IS 'Source commit to destination commit';
COMMENT ON COLUMN pgsyncd.status.lag_bytes IS 'WAL between the source and what is applied';
COMMENT ON COLUMN pgsyncd.status.source_lsn IS 'End of WAL on the source';
COMMENT ON COLUMN pgsyncd.status.received_lsn IS 'End of what was received';
COMMENT ON COLUMN pgsyncd.status.applied_lsn IS 'End of what was committed in the destination';
COMMENT ON COLUMN pgsyncd.status.confirmed_lsn IS 'What the source was told';
COMMENT ON COLUMN pgsyncd.status.slot_wal_bytes IS 'WAL that the slot retains';
COMMENT ON COLUMN pgsyncd.status.rows_applied IS 'Rows of the incremental phase';
COMMENT ON COLUMN pgsyncd.status.transactions_applied IS 'Transactions of the incremental phase';
COMMENT ON COLUMN pgsyncd.status.rows_per_s IS 'Rate of the incremental phase';
COMMENT ON COLUMN pgsyncd.status.conflicts IS 'Recorded conflicts';
COMMENT ON COLUMN pgsyncd.status.ddls IS 'Replicated DDL statements';
COMMENT ON COLUMN pgsyncd.status.updated_at IS 'Time of these figures';

CREATE TABLE pgsyncd.task_table (
    task_id            uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    source_schema      text NOT NULL,
    source_table       text NOT NULL,
    destination_schema text NOT NULL,
    destination_table  text NOT NULL,
    state              text NOT NULL CHECK (state IN ('pending', 'copying', 'copied', 'indexing', 'done',
        'synchronizing', 'failed')),
    rows_estimated     bigint NOT NULL,
    rows_copied        bigint NOT NULL,
    bytes_copied       bigint NOT NULL,
    inserts            bigint NOT NULL,
    updates            bigint NOT NULL,
    deletes            bigint NOT NULL,
    truncates          bigint NOT NULL,
    copy_lsn           text NOT NULL,
    error              text NOT NULL,
    started_at         timestamptz,
    finished_at        timestamptz,
    rows_ignored       bigint NOT NULL,
    PRIMARY KEY (task_id, source_schema, source_table)
) WITH (fillfactor = 50);
COMMENT ON TABLE pgsyncd.task_table IS 'Source tables of a task';
COMMENT ON COLUMN pgsyncd.task_table.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.task_table.source_schema IS 'Schema in the source';
COMMENT ON COLUMN pgsyncd.task_table.source_table IS 'Name in the source';
COMMENT ON COLUMN pgsyncd.task_table.destination_schema IS 'Schema in the destination';
COMMENT ON COLUMN pgsyncd.task_table.destination_table IS 'Name in the destination';
COMMENT ON COLUMN pgsyncd.task_table.state IS 'Where the table is in its course';
COMMENT ON COLUMN pgsyncd.task_table.rows_estimated IS 'Rows by the statistics of the source';
COMMENT ON COLUMN pgsyncd.task_table.rows_copied IS 'Rows of the full phase';
COMMENT ON COLUMN pgsyncd.task_table.bytes_copied IS 'Bytes of the full phase';
COMMENT ON COLUMN pgsyncd.task_table.inserts IS 'Rows inserted by the incremental phase';
COMMENT ON COLUMN pgsyncd.task_table.updates IS 'Rows updated by the incremental phase';
COMMENT ON COLUMN pgsyncd.task_table.deletes IS 'Rows deleted by the incremental phase';
COMMENT ON COLUMN pgsyncd.task_table.truncates IS 'TRUNCATEs of the incremental phase';
COMMENT ON COLUMN pgsyncd.task_table.copy_lsn IS 'Position of the snapshot that was copied';
COMMENT ON COLUMN pgsyncd.task_table.error IS 'Why it failed';
COMMENT ON COLUMN pgsyncd.task_table.started_at IS 'Begin of the copy';
COMMENT ON COLUMN pgsyncd.task_table.finished_at IS 'End of the copy, indexes included';
COMMENT ON COLUMN pgsyncd.task_table.rows_ignored IS 'Rows of the full phase that collided with others and were left out';

CREATE TABLE pgsyncd.task_object (
    task_id          uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    type             text NOT NULL,
    source_name      text NOT NULL,
    destination_name text NOT NULL,
    state            text NOT NULL,
    statement        text NOT NULL,
    error            text NOT NULL,
    PRIMARY KEY (task_id, type, source_name)
) WITH (fillfactor = 70);
COMMENT ON TABLE pgsyncd.task_object IS 'Objects of a task other than tables';
COMMENT ON COLUMN pgsyncd.task_object.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.task_object.type IS 'Kind of object';
COMMENT ON COLUMN pgsyncd.task_object.source_name IS 'Name in the source';
COMMENT ON COLUMN pgsyncd.task_object.destination_name IS 'Name in the destination';
COMMENT ON COLUMN pgsyncd.task_object.state IS 'Outcome so far';
COMMENT ON COLUMN pgsyncd.task_object.statement IS 'Statement run in the destination';
COMMENT ON COLUMN pgsyncd.task_object.error IS 'Why it failed';

CREATE TABLE pgsyncd.task_account (
    task_id      uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    role         text NOT NULL,
    synchronized boolean NOT NULL,
    remarks      text NOT NULL,
    PRIMARY KEY (task_id, role)
);
COMMENT ON TABLE pgsyncd.task_account IS 'Roles a task carries, or was asked to carry';
COMMENT ON COLUMN pgsyncd.task_account.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.task_account.role IS 'Name of the role';
COMMENT ON COLUMN pgsyncd.task_account.synchronized IS 'Whether the task has created it in the destination';
COMMENT ON COLUMN pgsyncd.task_account.remarks IS 'What was not carried, and why';

CREATE TABLE pgsyncd.precheck (
    task_id    uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    ordinal    integer NOT NULL,
    run_at     timestamptz NOT NULL DEFAULT now(),
    category   text NOT NULL,
    item       text NOT NULL,
    result     text NOT NULL CHECK (result IN ('passed', 'to confirm', 'failed')),
    found      text NOT NULL,
    suggestion text NOT NULL,
    confirmed  boolean NOT NULL,
    PRIMARY KEY (task_id, ordinal)
);
COMMENT ON TABLE pgsyncd.precheck IS 'Outcome of the last precheck of a task';
COMMENT ON COLUMN pgsyncd.precheck.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.precheck.ordinal IS 'Order of the checks';
COMMENT ON COLUMN pgsyncd.precheck.run_at IS 'Time of the precheck';
COMMENT ON COLUMN pgsyncd.precheck.category IS 'Group of checks';
COMMENT ON COLUMN pgsyncd.precheck.item IS 'What was checked';
COMMENT ON COLUMN pgsyncd.precheck.result IS 'passed, to confirm, failed';
COMMENT ON COLUMN pgsyncd.precheck.found IS 'What was found';
COMMENT ON COLUMN pgsyncd.precheck.suggestion IS 'What to do';
COMMENT ON COLUMN pgsyncd.precheck.confirmed IS 'Whether the operator confirmed it';

CREATE TABLE pgsyncd.log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time    timestamptz NOT NULL DEFAULT clock_timestamp(),
    task_id uuid REFERENCES pgsyncd.task ON DELETE CASCADE,
    task    text,
    level   text NOT NULL CHECK (level IN ('info', 'warning', 'error')),
    event   text NOT NULL,
    message text NOT NULL,
    detail  text NOT NULL
);
CREATE INDEX log_task_time ON pgsyncd.log (task_id, time);
CREATE INDEX log_time ON pgsyncd.log (time);
COMMENT ON TABLE pgsyncd.log IS 'What happened to tasks and the daemon';
COMMENT ON COLUMN pgsyncd.log.id IS 'Order of events';
COMMENT ON COLUMN pgsyncd.log.time IS 'Time of the event';
COMMENT ON COLUMN pgsyncd.log.task_id IS 'Task, while it exists';
COMMENT ON COLUMN pgsyncd.log.task IS 'Name of a task that exists no more';
COMMENT ON COLUMN pgsyncd.log.level IS 'info, warning, error';
COMMENT ON COLUMN pgsyncd.log.event IS 'Kind of event';
COMMENT ON COLUMN pgsyncd.log.message IS 'What happened';
COMMENT ON COLUMN pgsyncd.log.detail IS 'Detail, cause, hint';

CREATE TABLE pgsyncd.conflict (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id         uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    time            timestamptz NOT NULL,
    table_name      text NOT NULL,
    kind            text NOT NULL,
    key             jsonb,
    source_row      jsonb,
    destination_row jsonb,
    lsn             text NOT NULL,
    action          text NOT NULL
);
CREATE INDEX conflict_task_time ON pgsyncd.conflict (task_id, time);
COMMENT ON TABLE pgsyncd.conflict IS 'Changes that did not fit the destination';
COMMENT ON COLUMN pgsyncd.conflict.id IS 'Order of conflicts';
COMMENT ON COLUMN pgsyncd.conflict.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.conflict.time IS 'When it was found';
COMMENT ON COLUMN pgsyncd.conflict.table_name IS 'Source table';
COMMENT ON COLUMN pgsyncd.conflict.kind IS 'What did not fit';
COMMENT ON COLUMN pgsyncd.conflict.key IS 'Key of the row';
COMMENT ON COLUMN pgsyncd.conflict.source_row IS 'The row the stream brought';
COMMENT ON COLUMN pgsyncd.conflict.destination_row IS 'The row that was there';
COMMENT ON COLUMN pgsyncd.conflict.lsn IS 'Commit of the change on the source';
COMMENT ON COLUMN pgsyncd.conflict.action IS 'What was done';

CREATE TABLE pgsyncd.leftover (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id     uuid NOT NULL,
    task        text NOT NULL,
    side        text NOT NULL CHECK (side IN ('source', 'destination')),
    kind        text NOT NULL,
    name        text NOT NULL,
    cleanup_sql text NOT NULL,
    time        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX leftover_task ON pgsyncd.leftover (task_id);
COMMENT ON TABLE pgsyncd.leftover IS 'What a force stop could not remove; outlives its task';
COMMENT ON COLUMN pgsyncd.leftover.id IS 'Order of clean-up';
COMMENT ON COLUMN pgsyncd.leftover.task_id IS 'Task, which may exist no more';
COMMENT ON COLUMN pgsyncd.leftover.task IS 'Name of the task at that time';
COMMENT ON COLUMN pgsyncd.leftover.side IS 'source, destination';
COMMENT ON COLUMN pgsyncd.leftover.kind IS 'Kind of object';
COMMENT ON COLUMN pgsyncd.leftover.name IS 'Name of the object';
COMMENT ON COLUMN pgsyncd.leftover.cleanup_sql IS 'Statement that removes or corrects it';
COMMENT ON COLUMN pgsyncd.leftover.time IS 'When the task was stopped by force';

CREATE TABLE pgsyncd.option (
    name          text PRIMARY KEY,
    ordinal       integer NOT NULL,
    default_value text,
    changeable_in text[] NOT NULL,
    description   text NOT NULL
);
COMMENT ON TABLE pgsyncd.option IS 'Options of a task, as this version of the daemon knows them';
COMMENT ON COLUMN pgsyncd.option.name IS 'Name';
COMMENT ON COLUMN pgsyncd.option.ordinal IS 'Order of display';
COMMENT ON COLUMN pgsyncd.option.default_value IS 'Value where none is set';
COMMENT ON COLUMN pgsyncd.option.changeable_in IS 'States of a task in which it can change';
COMMENT ON COLUMN pgsyncd.option.description IS 'Meaning';

CREATE TABLE pgsyncd.option_history (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id    uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    time       timestamptz NOT NULL DEFAULT now(),
    option     text NOT NULL,
    old_value  text,
    new_value  text,
    changed_by text NOT NULL
);
CREATE INDEX option_history_task_time ON pgsyncd.option_history (task_id, time);
COMMENT ON TABLE pgsyncd.option_history IS 'Changes of options';
COMMENT ON COLUMN pgsyncd.option_history.id IS 'Order of changes';
COMMENT ON COLUMN pgsyncd.option_history.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.option_history.time IS 'Time of the change';
COMMENT ON COLUMN pgsyncd.option_history.option IS 'Option';
COMMENT ON COLUMN pgsyncd.option_history.old_value IS 'Value before, null for the default';
COMMENT ON COLUMN pgsyncd.option_history.new_value IS 'Value after, null for the default';
COMMENT ON COLUMN pgsyncd.option_history.changed_by IS 'User who changed it';

CREATE TABLE pgsyncd.schedule (
    name        text PRIMARY KEY,
    task_id     uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    type        text NOT NULL,
    cron        text NOT NULL,
    time_zone   text NOT NULL,
    enabled     boolean NOT NULL,
    tables      text[],
    options     jsonb NOT NULL,
    next_run    timestamptz,
    last_run_id bigint
);
CREATE INDEX schedule_task ON pgsyncd.schedule (task_id);
COMMENT ON TABLE pgsyncd.schedule IS 'Comparisons that start by themselves';
COMMENT ON COLUMN pgsyncd.schedule.name IS 'Name';
COMMENT ON COLUMN pgsyncd.schedule.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.schedule.type IS 'Kind of comparison';
COMMENT ON COLUMN pgsyncd.schedule.cron IS 'Cron expression, empty for a single run';
COMMENT ON COLUMN pgsyncd.schedule.time_zone IS 'Time zone of the cron expression';
COMMENT ON COLUMN pgsyncd.schedule.enabled IS 'Whether it starts runs';
COMMENT ON COLUMN pgsyncd.schedule.tables IS 'Source tables, null for all';
COMMENT ON COLUMN pgsyncd.schedule.options IS 'Options of the runs';
COMMENT ON COLUMN pgsyncd.schedule.next_run IS 'Time of the next run';
COMMENT ON COLUMN pgsyncd.schedule.last_run_id IS 'Last run it started';

CREATE TABLE pgsyncd.compare_run (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id          uuid NOT NULL REFERENCES pgsyncd.task ON DELETE CASCADE,
    type             text NOT NULL,
    schedule         text NOT NULL,
    state            text NOT NULL CHECK (state IN ('queued', 'running', 'finished', 'failed', 'cancelled')),
    options          jsonb NOT NULL,
    tables           text[],
    tables_total     integer NOT NULL DEFAULT 0,
    tables_done      integer NOT NULL DEFAULT 0,
    tables_different integer NOT NULL DEFAULT 0,
    rows_different   bigint NOT NULL DEFAULT 0,
    lsn              text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    error            text NOT NULL DEFAULT ''
) WITH (fillfactor = 70);
CREATE INDEX compare_run_task ON pgsyncd.compare_run (task_id);
CREATE INDEX compare_run_queued ON pgsyncd.compare_run (id) WHERE state = 'queued';
COMMENT ON TABLE pgsyncd.compare_run IS 'Runs of comparisons';
COMMENT ON COLUMN pgsyncd.compare_run.id IS 'Number of the run';
COMMENT ON COLUMN pgsyncd.compare_run.task_id IS 'Task';
COMMENT ON COLUMN pgsyncd.compare_run.type IS 'Kind of comparison';
COMMENT ON COLUMN pgsyncd.compare_run.schedule IS 'Schedule that started it, or empty';
COMMENT ON COLUMN pgsyncd.compare_run.state IS 'queued, running, finished, failed, cancelled';
COMMENT ON COLUMN pgsyncd.compare_run.options IS 'Options of the run';
COMMENT ON COLUMN pgsyncd.compare_run.tables IS 'Source tables, null for all';
COMMENT ON COLUMN pgsyncd.compare_run.tables_total IS 'Tables to compare';
COMMENT ON COLUMN pgsyncd.compare_run.tables_done IS 'Tables compared';
COMMENT ON COLUMN pgsyncd.compare_run.tables_different IS 'Tables that differ';
COMMENT ON COLUMN pgsyncd.compare_run.rows_different IS 'Rows missing, extra or different';
COMMENT ON COLUMN pgsyncd.compare_run.lsn IS 'Position on the source at which both sides were read';
COMMENT ON COLUMN pgsyncd.compare_run.created_at IS 'When it was asked for';
COMMENT ON COLUMN pgsyncd.compare_run.started_at IS 'When it began';
COMMENT ON COLUMN pgsyncd.compare_run.finished_at IS 'When it ended';
COMMENT ON COLUMN pgsyncd.compare_run.error IS 'Why it failed';

CREATE TABLE pgsyncd.compare_table (
    run_id            bigint NOT NULL REFERENCES pgsyncd.compare_run ON DELETE CASCADE,
    source_table      text NOT NULL,
    destination_table text NOT NULL,
    source_rows       bigint,
    destination_rows  bigint,
    result            text NOT NULL CHECK (result IN ('equal', 'different', 'undecided', 'failed')),
    rows_missing      bigint,
    rows_extra        bigint,
    rows_different    bigint,
    remarks           text NOT NULL,
    PRIMARY KEY (run_id, source_table)
);
COMMENT ON TABLE pgsyncd.compare_table IS 'Outcome of each table of a run';
COMMENT ON COLUMN pgsyncd.compare_table.run_id IS 'Run';
COMMENT ON COLUMN pgsyncd.compare_table.source_table IS 'Table in the source';
COMMENT ON COLUMN pgsyncd.compare_table.destination_table IS 'Table in the destination';
COMMENT ON COLUMN pgsyncd.compare_table.source_rows IS 'Rows in the source';
COMMENT ON COLUMN pgsyncd.compare_table.destination_rows IS 'Rows in the destination';
COMMENT ON COLUMN pgsyncd.compare_table.result IS 'equal, different, undecided, failed';
COMMENT ON COLUMN pgsyncd.compare_table.rows_missing IS 'Rows missing in the destination';
COMMENT ON COLUMN pgsyncd.compare_table.rows_extra IS 'Rows only in the destination';
COMMENT ON COLUMN pgsyncd.compare_table.rows_different IS 'Rows with other values';
COMMENT ON COLUMN pgsyncd.compare_table.remarks IS 'What there is to say about it';

CREATE TABLE pgsyncd.daemon_user (
    name       text PRIMARY KEY,
    role       text NOT NULL CHECK (role IN ('admin', 'operator', 'monitor')),
    verifier   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pgsyncd.daemon_user IS 'Users of the daemon';
COMMENT ON COLUMN pgsyncd.daemon_user.name IS 'Name';
COMMENT ON COLUMN pgsyncd.daemon_user.role IS 'Privilege: admin, operator, monitor';
COMMENT ON COLUMN pgsyncd.daemon_user.verifier IS 'SCRAM-SHA-256 verifier, empty where no password opens the door';
COMMENT ON COLUMN pgsyncd.daemon_user.created_at IS 'Time of creation';

-- Rows of a statement live from its execution until the client has fetched them; none of that survives a crash.
CREATE UNLOGGED TABLE pgsyncd.result (
    token      text NOT NULL,
    ordinal    integer NOT NULL,
    cells      text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token, ordinal)
);
COMMENT ON TABLE pgsyncd.result IS 'Rows returned by control statements';
COMMENT ON COLUMN pgsyncd.result.token IS 'Unguessable name of the result';
COMMENT ON COLUMN pgsyncd.result.ordinal IS 'Number of the row';
COMMENT ON COLUMN pgsyncd.result.cells IS 'Values of the row';
COMMENT ON COLUMN pgsyncd.result.created_at IS 'Time of execution';
