-- Foreign keys and triggers that the partitions $1 have from their partitioned tables. pg_dump leaves them to those.
SELECT 2606::oid, c.oid, 'FK CONSTRAINT', c.conrelid, c.conname,
       'ADD CONSTRAINT ' || pg_catalog.quote_ident(c.conname) || ' ' || pg_catalog.pg_get_constraintdef(c.oid), '', 'O'
  FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_constraint p ON p.oid = c.conparentid
 WHERE c.contype = 'f' AND c.conrelid = ANY ($1) AND p.conrelid <> c.conrelid
{triggers}
 ORDER BY 3, 4, 5
