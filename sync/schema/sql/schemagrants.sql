-- Privileges on schemas that are not their owner's own. Grants come before those that others made with their grant option.
SELECT n.nspname, pg_catalog.pg_get_userbyid(n.nspowner), x.privilege_type, x.is_grantable,
       CASE WHEN x.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(x.grantee) END,
       CASE WHEN x.grantor = n.nspowner THEN NULL ELSE pg_catalog.pg_get_userbyid(x.grantor) END
  FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) x
 WHERE n.nspname = ANY ($1) AND x.grantee <> n.nspowner
 ORDER BY n.nspname::text COLLATE "C", x.grantor <> n.nspowner, x.grantor, x.grantee, x.privilege_type
