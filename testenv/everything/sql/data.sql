-- Rows in every table, values in every sequence, large objects. Written with no trigger firing.
SET session_replication_role = replica;
INSERT INTO tab.everything (n, name, at, uid, email, path, mood, pair, nested, age, open, opens, "cöl ""umn")
  SELECT i, 'n' || i || repeat(md5(i::text), i % 40), '2024-02-29 23:59:59.999999+00', md5(i::text)::uuid, i || '@Example.org', ('a.b' || i)::ext.ltree,
    CASE i % 5 WHEN 1 THEN 'sad' WHEN 2 THEN 'hap"py' WHEN 3 THEN '' WHEN 4 THEN 'it''s' END::typ.mood, ROW(i, 'b"' || i, ARRAY[i, NULL])::typ.pair,
    ROW(ROW(i, '\', NULL), ARRAY[ROW(1, NULL, '{}')::typ.pair, NULL], 'Ünïcode')::typ.nested, 18 + i,
    typ.timerange('00:00', '24:00', '[]'), '{[00:00,01:00),[02:00,)}', E'\t\n\\'
  FROM generate_series(1, 200) i;
DELETE FROM tab.everything WHERE id % 7 = 0;
INSERT INTO tab.identities (b, c) SELECT NULLIF(i, 3), 'x' FROM generate_series(1, 2) i;
INSERT INTO tab.identities (a, b, c) OVERRIDING SYSTEM VALUE VALUES (-9223372036854775808, -32768, NULL), (9223372036854775807, 32767, 'y');
INSERT INTO tab.identity_full VALUES (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL);
INSERT INTO tab.identity_none VALUES (1, 'x'), (1, 'x');
INSERT INTO tab.identity_index SELECT i, i, 'z' FROM generate_series(1, 10) i;
INSERT INTO tab.no_key SELECT i % 3, NULL FROM generate_series(1, 10) i;
INSERT INTO tab.no_columns DEFAULT VALUES; INSERT INTO tab.no_columns DEFAULT VALUES;
INSERT INTO tab.uses_shared DEFAULT VALUES; INSERT INTO tab.uses_shared DEFAULT VALUES;
INSERT INTO tab.regs DEFAULT VALUES; INSERT INTO tab.regs VALUES ('pg_class', 'now', 'int[]', 'pg_catalog', 'english', '+(int,int)', 'now()', 'simple', '"C"');
INSERT INTO tab.fleeting VALUES (1, 'unlogged');
INSERT INTO tab.second_method VALUES (1), (2);
INSERT INTO tab.typed VALUES ('Ann', '4713-01-01 BC', 38.5), ('Bob', 'infinity', NULL);
INSERT INTO "Mixed Case"."Täble.One" ("a.b", "c""d") VALUES ('x', 1), (NULL, NULL);
INSERT INTO tab.base VALUES (1, 'base');
INSERT INTO tab.other_base VALUES (1, 1);
INSERT INTO tab.derived VALUES (2, 'derived', 3, 'd');
INSERT INTO tab.derived_again VALUES (3, 'again', 3, 'd', 4);
INSERT INTO tab.joined_late VALUES ('x', 'late', 5);
INSERT INTO tab.target SELECT i, -i, 'T' || i FROM generate_series(1, 9) i;
INSERT INTO tab.pointing VALUES (1, -1, 2, 't3'), (NULL, NULL, NULL, NULL);
INSERT INTO tab.tree VALUES (1, 2), (2, 3), (3, 1);
INSERT INTO tab.hen VALUES (1, 1); INSERT INTO tab.egg VALUES (1, 1);
INSERT INTO part.orders (at, kind, amount, note) SELECT '2018-01-01 12:00+00'::timestamptz + i * interval '40 days', (ARRAY['sad', 'ok', NULL, 'it''s']::typ.mood[])[1 + i % 4], i, 'note ' || i
  FROM generate_series(1, 60) i WHERE i % 4 < 3 OR i < 40;
INSERT INTO part.orders (at, kind, note) SELECT '2020-02-02+00', 'ok', i FROM generate_series(1, 20) i;
INSERT INTO part.by_expression VALUES ('Abc', 1), ('k', 2);
INSERT INTO part.foreign_default VALUES (1, true);
INSERT INTO part.keyed SELECT i, i FROM generate_series(50, 150, 10) i;
INSERT INTO part.lines SELECT a, n FROM part.keyed, generate_series(1, 2) n;
INSERT INTO tab.of_view_type VALUES (ROW(1, 'x', 'ok', 3), ROW('Ann', '2000-01-01', 3), ARRAY[ROW('A,"', NULL, NULL)::tab.person]);
INSERT INTO tab.circular VALUES (1, 1);
SELECT nextval('tab.small'), nextval('tab.small'), nextval('tab.used_up'), nextval('tab.used_up'), nextval('tab.unlogged_numbers'), setval('tab.big', 9223372036854775807);
SELECT setval(pg_get_serial_sequence('tab.everything', 'id'), 5000, false);
REFRESH MATERIALIZED VIEW view.zz_base; REFRESH MATERIALIZED VIEW view.aa_top; REFRESH MATERIALIZED VIEW view.by_key; REFRESH MATERIALIZED VIEW view.clustered;
RESET session_replication_role;
ANALYZE tab.everything, part.orders;
SELECT lo_from_bytea(4711, '\x00ff00'), lo_from_bytea(4712, ''), lo_from_bytea(4000000000, convert_to(repeat('large', 100000), 'UTF8'));
COMMENT ON LARGE OBJECT 4711 IS 'large; object';
