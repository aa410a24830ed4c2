-- Objects that are never synchronized, other than relations.
SELECT 1255::oid, p.oid, 'FUNCTION', n.nspname, p.proname || '(' || coalesce(pg_catalog.pg_get_function_identity_arguments(p.oid), '?') || ')',
       CASE WHEN p.prolang IN (12, 13) THEN 'written in C'
            WHEN p.proleakproof THEN 'leakproof functions are not synchronized'
            ELSE 'functions with a planner support function are not synchronized' END
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid >= 16384 AND (p.prolang IN (12, 13) AND NOT {aggregate} OR p.proleakproof OR {support})
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT 1247::oid, t.oid, 'TYPE', n.nspname, t.typname, 'base types are not synchronized'
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE t.oid >= 16384 AND t.typtype = 'b' AND NOT (t.typlen = -1 AND t.typelem <> 0)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 1247 AND d.objid = t.oid AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT 2605::oid, c.oid, 'CAST', '',
       'CAST (' || pg_catalog.format_type(c.castsource, NULL) || ' AS ' || pg_catalog.format_type(c.casttarget, NULL) || ')',
       'binary-coercible casts are not synchronized'
  FROM pg_catalog.pg_cast c
 WHERE c.oid >= 16384 AND c.castmethod = 'b'
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 2605 AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT 2328::oid, f.oid, 'FOREIGN DATA WRAPPER', '', f.fdwname, 'foreign-data wrappers are not synchronized'
  FROM pg_catalog.pg_foreign_data_wrapper f
 WHERE f.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 2328 AND d.objid = f.oid AND d.deptype = 'e')
UNION ALL
SELECT 1417::oid, s.oid, 'SERVER', '', s.srvname, 'foreign servers are not synchronized'
  FROM pg_catalog.pg_foreign_server s
UNION ALL
SELECT 1418::oid, u.umid, 'USER MAPPING', '', u.usename || ' SERVER ' || u.srvname, 'user mappings are not synchronized'
  FROM pg_catalog.pg_user_mappings u
UNION ALL
SELECT 2615::oid, n.oid, 'SCHEMA', '', n.nspname, 'schema "' || replace(n.nspname::text, '"', '""') || '" is not synchronized'
  FROM pg_catalog.pg_namespace n
 WHERE n.nspname IN ('sys', 'utl_raw') OR n.nspname LIKE 'dbms\_%'
UNION ALL
SELECT 1213::oid, t.oid, 'TABLESPACE', '', t.spcname, 'tablespaces are not synchronized: what is in them goes to the default one of the destination'
  FROM pg_catalog.pg_tablespace t
 WHERE t.oid >= 16384
   AND (t.oid = (SELECT d.dattablespace FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
        OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.reltablespace = t.oid))
{publications}
 ORDER BY 3, 4, 5
