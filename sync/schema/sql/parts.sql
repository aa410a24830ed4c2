-- What belongs to a relation, by catalog and OID.
SELECT 1259::oid, i.indexrelid, i.indrelid, 0::oid, i.indisreplident, '', 0::int2, false
  FROM pg_catalog.pg_index i WHERE i.indrelid >= 16384
UNION ALL
SELECT 2606::oid, c.oid, c.conrelid, c.confrelid, false, CASE WHEN c.contype = 'c' THEN c.conname::text ELSE '' END, 0::int2, false
  FROM pg_catalog.pg_constraint c WHERE c.conrelid >= 16384
UNION ALL
SELECT 2604::oid, d.oid, d.adrelid, 0, false, a.attname::text, d.adnum, {generated}::text <> ''
  FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE d.adrelid >= 16384
UNION ALL
SELECT 2618::oid, r.oid, r.ev_class, 0, false, '', 0::int2, false FROM pg_catalog.pg_rewrite r WHERE r.ev_class >= 16384
UNION ALL
SELECT 2620::oid, t.oid, t.tgrelid, 0, false, '', 0::int2, false FROM pg_catalog.pg_trigger t WHERE t.tgrelid >= 16384
{policies}
{statistics}
