-- Changes of rows in every logged table, of every kind that its replica identity permits. No trigger fires.
SET session_replication_role = replica;
UPDATE tab.everything SET n = n + 1000, mood = NULL, pair = ROW(-n, '"\', ARRAY[NULL, 1e-2])::typ.pair, opens = '{}', attributes = 'k=>NULL, "q\"u"=>"\\"' WHERE n % 3 = 0;
UPDATE tab.everything SET id = -id WHERE n % 10 = 4;
UPDATE tab.everything SET big = (SELECT min(big) + max(big) FROM tab.everything) - big; -- swaps under a deferrable constraint
DELETE FROM tab.everything WHERE n % 11 = 5;
INSERT INTO tab.everything (n, name, uid, email, path, age, open, moods, doc) VALUES
  (0, 'late', NULL, 'late@x.org', '', 999, 'empty', '{}', NULL), (1, E'\x01', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '', 'a', 998, NULL, NULL, '<é/>');
INSERT INTO tab.identities (c) VALUES ('new');
UPDATE tab.identities SET b = b + 200 WHERE b < 0;
DELETE FROM tab.identity_full WHERE ctid = (SELECT min(ctid) FROM tab.identity_full WHERE a = 1);
UPDATE tab.identity_full SET b = 'one of two' WHERE ctid = (SELECT min(ctid) FROM tab.identity_full WHERE a IS NULL);
INSERT INTO tab.identity_none VALUES (2, 'y');
UPDATE tab.identity_index SET c = NULL, b = b + 100 WHERE a % 2 = 0;
DELETE FROM tab.identity_index WHERE a = 3;
INSERT INTO tab.no_key VALUES (1, 'another'), (1, 'another');
INSERT INTO tab.no_columns DEFAULT VALUES;
INSERT INTO tab.uses_shared DEFAULT VALUES;
UPDATE tab.regs SET b = 'version', c = 'typ.pair[]' WHERE a = 'tab.everything'::regclass;
UPDATE tab.regs SET a = 'tab.tree' WHERE a = 'pg_class'::regclass;
INSERT INTO tab.second_method VALUES (3);
UPDATE tab.typed SET "Shoe size" = 'NaN' WHERE name = 'Ann';
DELETE FROM "Mixed Case"."Täble.One" WHERE "Id" = 1;
UPDATE "Mixed Case"."Täble.One" SET "a.b" = E'tab\there', "c""d" = 7;
INSERT INTO tab.base VALUES (7, 'more');
INSERT INTO tab.other_base VALUES (7, 7);
INSERT INTO tab.derived VALUES (8, NULL, 8, NULL);
UPDATE tab.base SET b = 'of all children' WHERE a = 3; -- only derived_again has a key
INSERT INTO tab.joined_late VALUES ('y', NULL, 9);
UPDATE tab.target SET b = b + 1; -- each takes what another just left
DELETE FROM tab.target WHERE a = 9;
UPDATE tab.tree SET id = id + 10, parent = parent + 10;
INSERT INTO part.orders (at, kind, amount, note) VALUES ('2020-06-01', 'ok', 1, 'new'), ('2020-06-02', 'sad', 2, NULL), ('1999-01-01', NULL, 3, 'x'), ('2099-01-01', 'ok', 4, NULL);
UPDATE part.old SET amount = amount + 1;
DELETE FROM part.lines WHERE n = 2;
UPDATE part.lines SET key = key + 1000;
UPDATE part.keyed SET a = CASE WHEN a < 100 THEN a + 105 ELSE a - 99 END, b = NULL; -- from one partition to the other
INSERT INTO part.by_expression VALUES ('lz', 3);
INSERT INTO part.foreign_default VALUES (2, NULL);
INSERT INTO tab.of_view_type VALUES (NULL, ROW(NULL, NULL, NULL), '{}');
INSERT INTO tab.circular VALUES (2, 2);
TRUNCATE tab.hen, tab.egg;
INSERT INTO tab.egg VALUES (5, 5);
SELECT nextval('tab.small');
