-- One row per role and thing to say of it.
SELECT 'Role: ' || rolname,
       concat_ws(', ', CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN NOT rolinherit THEN 'NOINHERIT' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
                 CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolcanlogin THEN 'LOGIN' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
                 CASE WHEN rolbypassrls THEN 'BYPASSRLS' END, 'limit ' || rolconnlimit, 'password ' || md5(rolpassword),
                 'until ' || (rolvaliduntil AT TIME ZONE 'UTC'), shobj_description(oid, 'pg_authid'))
  FROM pg_authid WHERE oid >= 16384
UNION ALL
SELECT 'Setting: ' || setrole::regrole || CASE WHEN setdatabase <> 0 THEN ' in the database' ELSE '' END, setconfig::text
  FROM pg_db_role_setting WHERE setrole >= 16384
UNION ALL
SELECT 'Member: ' || member::regrole || ' of ' || roleid::regrole, CASE WHEN admin_option THEN 'WITH ADMIN OPTION' ELSE '' END
  FROM pg_auth_members WHERE member >= 16384
