-- One row per object: its name, and what there is to say of it.
SELECT 'Relation: ' || c.oid::regclass,
       concat_ws(', ', CASE WHEN c.relkind IN ('r', 'm') THEN (SELECT amname FROM pg_am WHERE oid = c.relam) END,
                 CASE WHEN NOT c.relispopulated THEN 'not populated' END, CASE WHEN NOT i.indisvalid THEN 'invalid' END,
                 CASE WHEN i.indisclustered THEN 'clustered' END, CASE WHEN i.indisreplident THEN 'replica identity' END,
                 CASE WHEN NOT i.indimmediate THEN 'deferrable' END,
                 CASE WHEN c.relkind = 'S' THEN -- the values are in a relation of its own
                   (xpath('/row/v/text()', query_to_xml('SELECT concat_ws('' '', last_value, is_called) AS v FROM ' || c.oid::regclass,
                                                        false, true, '')))[1]::text END)
  FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
 WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'S', 'i', 'I') AND c.relnamespace::regnamespace::text NOT LIKE 'pg\_%'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 1259 AND d.deptype = 'e')
UNION ALL
SELECT 'Large object: ' || m.oid,
       concat_ws(', ', md5(lo_get(m.oid)), 'owner ' || m.lomowner::regrole, m.lomacl::text, obj_description(m.oid, 'pg_largeobject'))
  FROM pg_largeobject_metadata m
UNION ALL
SELECT 'Access method: ' || amname, amhandler::text || amtype::text FROM pg_am WHERE oid >= 16384
UNION ALL
SELECT 'Extension: ' || extname, extversion || ' in ' || extnamespace::regnamespace FROM pg_extension
