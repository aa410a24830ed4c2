-- Owners, grants on every kind of object, default privileges.
ALTER SCHEMA fun OWNER TO every_owner;
ALTER TABLE tab.everything OWNER TO every_owner;
ALTER TABLE tab.tree OWNER TO "Every ""Rôle"".x";
ALTER TABLE tab.no_key OWNER TO every_super;
ALTER TABLE part.orders OWNER TO every_owner; -- its partitions keep theirs
ALTER SEQUENCE tab.small OWNER TO every_owner;
ALTER VIEW view.rich OWNER TO every_owner;
ALTER MATERIALIZED VIEW view.by_key OWNER TO every_owner;
ALTER TYPE typ.mood OWNER TO every_owner;
ALTER DOMAIN typ.positive OWNER TO every_owner;
ALTER TYPE typ.timerange OWNER TO every_owner;
ALTER FUNCTION fun.atomic(int, int) OWNER TO every_owner;
ALTER PROCEDURE fun.proc(int, text) OWNER TO every_owner;
ALTER AGGREGATE fun.join_all(text) OWNER TO every_owner;
ALTER OPERATOR fun.=== (typ.pair, typ.pair) OWNER TO every_owner;
ALTER OPERATOR CLASS fun.by_a USING btree OWNER TO every_owner;
ALTER OPERATOR FAMILY fun.by_a USING btree OWNER TO every_owner;
ALTER COLLATION typ.bytewise OWNER TO every_owner;
ALTER CONVERSION typ.to_latin OWNER TO every_owner;
ALTER TEXT SEARCH DICTIONARY typ.plain OWNER TO every_owner;
ALTER TEXT SEARCH CONFIGURATION typ.finder OWNER TO every_owner;
ALTER STATISTICS tab.some OWNER TO every_owner;
ALTER LARGE OBJECT 4711 OWNER TO every_owner;

GRANT USAGE, CREATE ON SCHEMA tab TO every_reader WITH GRANT OPTION;
GRANT ALL ON SCHEMA public TO every_reader;
GRANT USAGE ON SCHEMA view, tab TO every_owner;
GRANT SELECT ON view.grouped TO every_owner; -- of which it owns a materialized view
GRANT SELECT, INSERT ON tab.everything TO every_reader WITH GRANT OPTION;
GRANT SELECT (id, "cöl ""umn"), UPDATE (name) ON tab.everything TO every_login, PUBLIC;
GRANT REFERENCES (a) ON tab.target TO "Every ""Rôle"".x";
REVOKE ALL ON tab.everything FROM every_owner;
GRANT ALL ON ALL TABLES IN SCHEMA part TO "Every ""Rôle"".x";
GRANT TRIGGER, TRUNCATE ON tab.tree TO every_login;
GRANT SELECT ON view.rich, view.by_key, view.next TO every_reader;
GRANT SELECT (a) ON view.first TO every_reader;
GRANT USAGE ON SEQUENCE tab.small TO every_reader;
REVOKE EXECUTE ON FUNCTION fun.plain(int, int, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fun.overloaded(int[]), fun."Quo""ted Fun.ction"(text, int) TO every_reader;
GRANT EXECUTE ON PROCEDURE fun.proc(int, text) TO every_login;
GRANT EXECUTE ON FUNCTION fun.join_all(text) TO every_login;
REVOKE USAGE ON TYPE typ.mood FROM PUBLIC;
GRANT USAGE ON DOMAIN typ.positive TO every_login WITH GRANT OPTION;
GRANT USAGE ON TYPE typ.timerange, typ.pair, tab.person TO every_reader;
GRANT SELECT ON LARGE OBJECT 4711 TO every_reader;
GRANT SELECT, UPDATE ON LARGE OBJECT 4712 TO every_login;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO every_owner;
REVOKE EXECUTE ON FUNCTION ext.digest(text, text) FROM PUBLIC; -- a member of an extension
SET ROLE every_reader; -- a grantor who is not the owner
GRANT SELECT ON tab.everything TO every_login;
GRANT USAGE ON SCHEMA tab TO every_login;
RESET ROLE;

ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO every_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE every_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE every_owner IN SCHEMA tab GRANT ALL ON TABLES TO every_login WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE "Every ""Rôle"".x" IN SCHEMA "Mixed Case" GRANT USAGE ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE every_owner GRANT USAGE ON SCHEMAS TO every_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE every_owner GRANT USAGE ON TYPES TO every_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE every_super GRANT ALL ON TABLES TO every_login;
