CREATE SCHEMA IF NOT EXISTS pgsyncd;

-- One row per task, updated by every apply transaction: room for HOT updates, vacuumed early.
CREATE TABLE IF NOT EXISTS pgsyncd.progress (
    task       uuid PRIMARY KEY,
    fence      bigint NOT NULL,
    slot       text NOT NULL,
    system_id  text NOT NULL,
    timeline   integer NOT NULL,
    lsn        pg_lsn NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE pgsyncd.progress IS 'how far each synchronization task has come in this database; written with the rows themselves';
COMMENT ON COLUMN pgsyncd.progress.fence IS 'rises with every new owner; writes of earlier owners are refused';
COMMENT ON COLUMN pgsyncd.progress.lsn IS 'end of the last source commit that is in this database';

CREATE TABLE IF NOT EXISTS pgsyncd.copied (
    task uuid NOT NULL,
    unit text NOT NULL,
    lsn  pg_lsn NOT NULL,
    PRIMARY KEY (task, unit)
);
COMMENT ON TABLE pgsyncd.copied IS 'finished copy units (INTO destination table) and the source tables that feed them; source commits that start before lsn are already in the copy';

CREATE TABLE IF NOT EXISTS pgsyncd.objects (
    task uuid NOT NULL,
    key  text NOT NULL,
    PRIMARY KEY (task, key)
);
COMMENT ON TABLE pgsyncd.objects IS 'objects created by each synchronization task';
