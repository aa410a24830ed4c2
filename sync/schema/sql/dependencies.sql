-- What uses the relations $1, their row types, or the columns $3 of the relations $2. A view depends through its rule, a
-- constraint through its index.
WITH gone (class, oid, relation) AS (
	SELECT 1259::oid, r.oid, r.oid FROM unnest($1::oid[]) AS r (oid)
	UNION ALL
	SELECT 1247::oid, t.oid, t.typrelid FROM pg_catalog.pg_type t WHERE t.typrelid = ANY ($1::oid[])
	UNION ALL
	SELECT 1247::oid, t.typarray, t.typrelid FROM pg_catalog.pg_type t WHERE t.typrelid = ANY ($1::oid[]) AND t.typarray <> 0
), used (class, oid, sub, relation, number) AS (
	SELECT d.classid, d.objid, d.objsubid, g.relation, 0
	  FROM gone g JOIN pg_catalog.pg_depend d ON d.refclassid = g.class AND d.refobjid = g.oid
	 WHERE d.deptype IN ('n', 'a', 'i')
	UNION
	SELECT d.classid, d.objid, d.objsubid, d.refobjid, d.refobjsubid
	  FROM unnest($2::oid[], $3::int2[]) AS c (relation, number)
	  JOIN pg_catalog.pg_depend d ON d.refclassid = 1259 AND d.refobjid = c.relation AND d.refobjsubid = c.number
	 WHERE d.deptype IN ('n', 'a', 'i')
)
SELECT CASE WHEN r.rulename = '_RETURN' THEN 1259::oid WHEN c.oid IS NOT NULL THEN 2606::oid ELSE u.class END,
       CASE WHEN r.rulename = '_RETURN' THEN r.ev_class WHEN c.oid IS NOT NULL THEN c.oid ELSE u.oid END,
       u.sub::int2, u.relation, coalesce(a.attname::text, '')
  FROM used u
  LEFT JOIN pg_catalog.pg_rewrite r ON u.class = 2618 AND r.oid = u.oid
  LEFT JOIN pg_catalog.pg_constraint c ON u.class = 1259 AND c.conindid = u.oid AND c.contype IN ('p', 'u', 'x')
  LEFT JOIN pg_catalog.pg_attribute a ON u.number > 0 AND a.attrelid = u.relation AND a.attnum = u.number
 ORDER BY 1, 2, 4, 5
