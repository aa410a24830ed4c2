-- Every row changed, some moved, deleted and added.
DO $$
DECLARE
  t regclass;
  key name;
  shape text;
BEGIN
  FOR t, key, shape IN
    SELECT c.oid, a.attname, format_type(a.atttypid, NULL)
      FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attidentity = '' AND c.oid >= 16384 AND a.atttypid IN (20, 23) ORDER BY c.oid
  LOOP
    EXECUTE format('SET LOCAL session_replication_role = replica; UPDATE %s SET %I = %2$I + 100', t, key);
  END LOOP;
END $$;
SET session_replication_role = replica;
UPDATE "quo""te's"."""" SET """" = '\', """""" = 99 WHERE "'" = 1;
DELETE FROM "quo""te's"."""" WHERE "'" = 2;
UPDATE "1digit"."Parti.tioned" SET "K" = CASE "K" WHEN 101 THEN 1 ELSE 3 END;
UPDATE "back\slash"."\" SET "\\" = '\\', "\N" = NULL;
UPDATE "select"."table" SET "new" = "old" + "excluded", "t" = NULL;
UPDATE "$$"."$1" SET "%s" = '%s', ":name" = '$1', "?" = '{}';
INSERT INTO "new
line"."new
	line" VALUES (2, E'\r\n');
INSERT INTO " "."Base" VALUES (5);
DELETE FROM "CASE"."case";
TRUNCATE "a.b"."c";
