-- What lies behind enums, domains and built-in arrays; typelem counts only for true arrays, not for types such as point. The
-- receive functions of int2vector and oidvector refuse an empty one.
SELECT t.oid, t.typtype::text, t.typbasetype, CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0 END
  FROM pg_catalog.pg_type t
 WHERE t.typtype IN ('d', 'e') OR (t.oid < 10000 AND t.typlen = -1 AND t.typelem <> 0 AND t.typname NOT IN ('int2vector', 'oidvector'))
