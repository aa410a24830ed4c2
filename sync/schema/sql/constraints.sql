-- The primary keys and unique constraints of the relations $1, with what their indexes are made of. Operator classes and sort orders are
-- always the default ones.
SELECT c.oid, c.conname, c.contype = 'p', c.condeferrable, c.condeferred, {nullsnotdistinct}, coalesce(x.reloptions, '{}'),
       ARRAY(SELECT a.attname::text
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.n <= {keyatts} ORDER BY k.n),
       ARRAY(SELECT a.attname::text
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.n > {keyatts} ORDER BY k.n)
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_index i ON i.indexrelid = c.conindid
  JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
 WHERE c.conrelid = ANY ($1) AND c.contype IN ('p', 'u') AND NOT {period}
