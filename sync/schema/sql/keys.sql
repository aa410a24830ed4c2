-- The columns of primary keys and of indexes that are a replica identity. A deferrable or invalid index identifies nothing.
SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate AND i.indisvalid AS usable,
       ARRAY(SELECT a.attname::text
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.n <= {keyatts} ORDER BY k.n)
  FROM pg_catalog.pg_index i
 WHERE i.indrelid = ANY ($1) AND (i.indisprimary OR i.indisreplident)
