-- Roles of every attribute. They belong to the cluster, so a cluster holds this database once.
CREATE ROLE every_owner CREATEDB CREATEROLE;
CREATE ROLE every_reader NOINHERIT;
CREATE ROLE every_login LOGIN PASSWORD 'Quite-secret-1' CONNECTION LIMIT 7 VALID UNTIL '2033-03-03 03:03:03+00';
CREATE ROLE "Every ""Rôle"".x" LOGIN;
CREATE ROLE every_super SUPERUSER;
CREATE ROLE every_replica REPLICATION LOGIN;
CREATE ROLE every_bypass BYPASSRLS;
COMMENT ON ROLE every_reader IS 'it''s a reader';
ALTER ROLE every_login SET search_path = 'fun', '$user', 'We ird';
ALTER ROLE every_login SET work_mem = '7MB';
ALTER ROLE "Every ""Rôle"".x" SET application_name = E'quote '' back\\slash';
GRANT every_reader TO every_login WITH ADMIN OPTION;
GRANT every_owner TO "Every ""Rôle"".x";
GRANT every_super TO every_reader;
GRANT every_owner TO every_super;
GRANT pg_monitor TO every_reader;
