-- Every relation that may hold, show or feed rows, with the reason why it is left out where that follows from the relation itself.
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relfilenode, {partition} AS is_partition,
       CASE WHEN c.reltuples > 0 AND c.relpages > 0 AND c.relkind = 'r'
            THEN coalesce(c.reltuples::float8 / c.relpages * pg_catalog.pg_relation_size(c.oid)
                          / pg_catalog.current_setting('block_size')::int, 0) ELSE 0 END AS rows,
       CASE WHEN c.relkind = 'r' AND c.relpersistence <> 't' THEN coalesce(pg_catalog.pg_table_size(c.oid), 0) ELSE 0 END AS bytes,
       c.relispopulated,
       (SELECT e.extname
          FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
           AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e' LIMIT 1) AS extension
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
   AND c.oid >= 16384
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgsyncd')
   AND n.nspname NOT LIKE 'pg\_toast\_temp\_%'
 ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C"
