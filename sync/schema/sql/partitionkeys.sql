-- Those of the columns $2 of the relations $1 that a partition key has, by itself or in an expression. There the column depends on
-- its own table, so that it cannot be dropped alone.
SELECT a.attrelid, a.attname::text
  FROM unnest($1::oid[], $2::int2[]) AS c (relation, number)
  JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.relation
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.number
 WHERE c.number = ANY (p.partattrs::int2[])
    OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 1259 AND d.objid = c.relation AND d.objsubid = c.number
                  AND d.refclassid = 1259 AND d.refobjid = c.relation AND d.refobjsubid = 0 AND d.deptype = 'i')
 ORDER BY 1, 2
