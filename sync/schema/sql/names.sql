-- The names that depend on a table's: indexes ('i', with whether a constraint owns them), and constraints that may be inherited ('c').
SELECT 'i', n.nspname, c.relname, i.indrelid,
       EXISTS (SELECT 1 FROM pg_catalog.pg_constraint o
                WHERE o.conindid = i.indexrelid AND o.conrelid = i.indrelid AND o.contype IN ('p', 'u', 'x'))
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid >= 16384
UNION ALL
SELECT 'c', '', o.conname, o.conrelid, false
  FROM pg_catalog.pg_constraint o
 WHERE o.conrelid >= 16384 AND o.contype IN ('c', 'n')
