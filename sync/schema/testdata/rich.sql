-- One of everything that a whole-database task carries.
CREATE EXTENSION hstore;
CREATE EXTENSION citext WITH SCHEMA public;
COMMENT ON EXTENSION hstore IS 'maps of text';
CREATE SCHEMA shop;
COMMENT ON SCHEMA shop IS 'it''s the shop';
CREATE SCHEMA "We ird.Ünïcode $""x""";
CREATE SCHEMA archive;

CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'hap"py');
CREATE DOMAIN shop.positive AS int CHECK (VALUE > 0);
ALTER DOMAIN shop.positive ADD CONSTRAINT below_million CHECK (VALUE < 1000000) NOT VALID;
COMMENT ON DOMAIN shop.positive IS 'above zero';
CREATE TYPE shop.address AS (street text, number int);
COMMENT ON COLUMN shop.address.street IS 'without number';
CREATE FUNCTION shop.seconds(a time, b time) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT extract(epoch FROM (a - b))::float8';
CREATE TYPE shop.timerange AS RANGE (subtype = time, subtype_diff = shop.seconds);
CREATE COLLATION shop.bytewise (locale = 'C');
CREATE COLLATION shop."nach Länge" (provider = icu, locale = 'de-u-co-phonebk');
CREATE CONVERSION shop.to_latin FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;

-- A function that needs a table which comes later, and one whose body is not even valid.
CREATE FUNCTION shop.total(customer int) RETURNS numeric LANGUAGE plpgsql STABLE AS $f$
BEGIN
  RETURN (SELECT sum(o.amount) FROM shop.orders o WHERE o.customer_id = customer); -- ; not the end
END
$f$;
CREATE FUNCTION shop.standard(a int, b int DEFAULT 3) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT a + b; SELECT a * b; END;
CREATE PROCEDURE shop.tidy(INOUT n int) LANGUAGE plpgsql AS 'BEGIN n := n + 1; END';
CREATE FUNCTION shop.joined(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce($1 || ', ', '') || $2 $$;
CREATE AGGREGATE shop.join_all(text) (SFUNC = shop.joined, STYPE = text);
CREATE FUNCTION shop.address_eq(shop.address, shop.address) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.number = $2.number';
CREATE FUNCTION shop.address_lt(shop.address, shop.address) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.number < $2.number';
CREATE FUNCTION shop.address_cmp(shop.address, shop.address) RETURNS int LANGUAGE sql IMMUTABLE
  AS 'SELECT sign($1.number - $2.number)::int';
CREATE OPERATOR shop.=== (LEFTARG = shop.address, RIGHTARG = shop.address, FUNCTION = shop.address_eq, COMMUTATOR = OPERATOR(shop.===));
CREATE OPERATOR shop.<<< (LEFTARG = shop.address, RIGHTARG = shop.address, FUNCTION = shop.address_lt);
CREATE OPERATOR shop.<<< (LEFTARG = text, RIGHTARG = int, FUNCTION = pg_catalog.repeat);
COMMENT ON OPERATOR shop.=== (shop.address, shop.address) IS 'same house';
CREATE OPERATOR FAMILY shop.by_number USING btree;
CREATE OPERATOR CLASS shop.by_number FOR TYPE shop.address USING btree FAMILY shop.by_number AS
  OPERATOR 1 shop.<<<, OPERATOR 3 shop.===, FUNCTION 1 shop.address_cmp(shop.address, shop.address);
CREATE FUNCTION shop.to_text(shop.address) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1.street || ' ' || $1.number $$;
CREATE CAST (shop.address AS text) WITH FUNCTION shop.to_text(shop.address) AS ASSIGNMENT;
COMMENT ON CAST (shop.address AS text) IS 'for letters';
CREATE TEXT SEARCH DICTIONARY shop.plain (TEMPLATE = simple, stopwords = 'english');
CREATE TEXT SEARCH CONFIGURATION shop.finder (PARSER = default);
ALTER TEXT SEARCH CONFIGURATION shop.finder ADD MAPPING FOR asciiword, word WITH shop.plain;
CREATE TEXT SEARCH PARSER shop.splitter (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE shop.model (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;

CREATE SEQUENCE shop.numbers AS smallint INCREMENT -3 MINVALUE -900 MAXVALUE 900 START 300 CYCLE CACHE 5;
SELECT nextval('shop.numbers'), nextval('shop.numbers');
CREATE SEQUENCE shop.untouched START 17;
CREATE TABLE shop.customers (
  id serial PRIMARY KEY,
  name text COLLATE shop.bytewise NOT NULL,
  email citext UNIQUE DEFERRABLE INITIALLY DEFERRED,
  mood shop.mood DEFAULT 'ok',
  attributes hstore,
  address shop.address,
  age shop.positive,
  open shop.timerange,
  gone text,
  shout text GENERATED ALWAYS AS (upper(name)) STORED,
  code int DEFAULT nextval('shop.numbers'),
  CONSTRAINT name_given CHECK (name <> '')
);
ALTER TABLE shop.customers DROP COLUMN gone;
ALTER TABLE shop.customers ALTER COLUMN name SET STORAGE EXTERNAL, ALTER COLUMN name SET STATISTICS 500, SET (fillfactor = 70);
ALTER TABLE shop.customers ADD CONSTRAINT adult CHECK (age >= 18) NOT VALID;
COMMENT ON TABLE shop.customers IS 'people; with a semicolon';
COMMENT ON COLUMN shop.customers.name IS 'family name';
COMMENT ON CONSTRAINT name_given ON shop.customers IS 'no blanks';
COMMENT ON CONSTRAINT customers_pkey ON shop.customers IS 'the key';
CREATE INDEX customers_mood ON shop.customers (mood, (lower(name)) COLLATE "C" DESC NULLS LAST) INCLUDE (age) WHERE age > 3;
COMMENT ON INDEX shop.customers_mood IS 'for the shop';
CREATE INDEX customers_address ON shop.customers USING btree (address shop.by_number);
ALTER INDEX shop.customers_mood ALTER COLUMN 2 SET STATISTICS 77;
CREATE STATISTICS shop.name_mood (dependencies, mcv) ON name, mood FROM shop.customers;
COMMENT ON STATISTICS shop.name_mood IS 'correlated';
INSERT INTO shop.customers (name) SELECT 'n' || i FROM generate_series(1, 42) i;

CREATE TABLE shop.orders (
  id bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 10),
  customer_id int NOT NULL REFERENCES shop.customers ON DELETE CASCADE DEFERRABLE,
  at timestamptz NOT NULL,
  amount numeric(12, 2),
  parent bigint,
  parent_at timestamptz,
  PRIMARY KEY (id, at),
  FOREIGN KEY (parent, parent_at) REFERENCES shop.orders (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE shop.orders_old PARTITION OF shop.orders FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE archive.orders_new (amount numeric(12, 2), at timestamptz NOT NULL, id bigint NOT NULL, parent_at timestamptz, parent bigint,
  customer_id int NOT NULL) PARTITION BY RANGE (at);
ALTER TABLE shop.orders ATTACH PARTITION archive.orders_new FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TABLE archive."orders new 1" PARTITION OF archive.orders_new FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') WITH (fillfactor = 50);
CREATE TABLE archive.orders_rest PARTITION OF archive.orders_new DEFAULT;
CREATE INDEX orders_amount ON shop.orders (amount);
CREATE UNIQUE INDEX orders_alone ON ONLY shop.orders (customer_id, at);
CREATE INDEX orders_old_own ON shop.orders_old (customer_id);
COMMENT ON INDEX shop.orders_amount IS 'on all partitions';

CREATE TABLE shop.base (a int, b text DEFAULT 'x', CHECK (a > 0));
CREATE TABLE shop.other_base (c int);
CREATE TABLE shop.derived (d text, CHECK (d <> 'z')) INHERITS (shop.base, shop.other_base);
ALTER TABLE shop.derived ALTER COLUMN b SET DEFAULT 'y';
CREATE UNLOGGED TABLE shop.fleeting (v xml DEFAULT '<a/>');
CREATE TABLE shop.second_method (a int PRIMARY KEY) USING heap2;
CREATE TABLE shop.typed OF shop.address (number PRIMARY KEY);
CREATE TABLE shop.no_columns ();
CREATE TABLE shop.identified (a int NOT NULL, b int NOT NULL, c text, UNIQUE (b));
CREATE UNIQUE INDEX identified_by ON shop.identified (b, a);
ALTER TABLE shop.identified REPLICA IDENTITY USING INDEX identified_by;
ALTER TABLE shop.base REPLICA IDENTITY FULL;
ALTER TABLE shop.other_base REPLICA IDENTITY NOTHING;
CREATE INDEX derived_d ON shop.derived (d);
ALTER TABLE shop.derived CLUSTER ON derived_d;
CREATE TABLE shop.referenced (a int, b int);
CREATE UNIQUE INDEX referenced_by ON shop.referenced (a);
CREATE TABLE shop.referencing (a int REFERENCES shop.referenced (a), b int, EXCLUDE USING gist (int4range(a, b) WITH &&));
ALTER TABLE shop.referencing ADD CONSTRAINT later FOREIGN KEY (b) REFERENCES shop.referenced (a) ON UPDATE SET NULL NOT VALID;

CREATE TABLE "We ird.Ünïcode $""x"""."tab""le.x y" ("co""l 1" int PRIMARY KEY, "SELECT" text, "ünï" int,
  "a column whose name is exactly sixty-three bytes long, see here" int UNIQUE);
CREATE INDEX "in""dex" ON "We ird.Ünïcode $""x"""."tab""le.x y" ("ünï");
COMMENT ON COLUMN "We ird.Ünïcode $""x"""."tab""le.x y"."SELECT" IS E'back\\slash and ''quote''\nand line';

ALTER TABLE shop.identified ALTER COLUMN c SET COMPRESSION pglz, ALTER COLUMN c SET (n_distinct = -0.5), SET (toast.autovacuum_enabled = false),
  SET (parallel_workers = 3, user_catalog_table = true);
ALTER FUNCTION shop.joined(text, text) COST 7 PARALLEL SAFE SET work_mem = '1MB' SET search_path TO shop, "We ird.Ünïcode $""x""";
ALTER OPERATOR FAMILY shop.by_number USING btree ADD FUNCTION 1 (int, int) btint4cmp(int, int);
CREATE TRANSFORM FOR shop.mood LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));
COMMENT ON TRANSFORM FOR shop.mood LANGUAGE sql IS 'moody'; COMMENT ON TYPE shop.mood IS 'moods'; COMMENT ON SEQUENCE shop.numbers IS 'numbers';
COMMENT ON AGGREGATE shop.join_all(text) IS 'joins'; COMMENT ON COLLATION shop.bytewise IS 'bytes'; COMMENT ON CONVERSION shop.to_latin IS 'to Latin';
COMMENT ON OPERATOR FAMILY shop.by_number USING btree IS 'family'; COMMENT ON OPERATOR CLASS shop.by_number USING btree IS 'class';
COMMENT ON OPERATOR shop.<<< (text, int) IS 'repeats'; COMMENT ON OPERATOR shop.<<< (shop.address, shop.address) IS 'less';
COMMENT ON TEXT SEARCH DICTIONARY shop.plain IS 'plain'; COMMENT ON TEXT SEARCH CONFIGURATION shop.finder IS 'finds';
COMMENT ON TEXT SEARCH PARSER shop.splitter IS 'splits'; COMMENT ON TEXT SEARCH TEMPLATE shop.model IS 'models'; COMMENT ON ACCESS METHOD heap2 IS 'second';
COMMENT ON PROCEDURE shop.tidy(int) IS 'tidies'; COMMENT ON CONSTRAINT below_million ON DOMAIN shop.positive IS 'small';

-- Views that depend on each other, on a primary key, and on themselves being replaced.
CREATE VIEW shop.rich WITH (security_barrier) AS SELECT * FROM shop.customers WHERE age > 40 WITH CASCADED CHECK OPTION;
CREATE VIEW shop.grouped AS SELECT c.id, c.name, count(*) AS n FROM shop.customers c GROUP BY c.id;
CREATE VIEW shop.first AS SELECT 1 AS a, 'x'::text AS b;
CREATE VIEW shop.next AS SELECT * FROM shop.first;
CREATE OR REPLACE VIEW shop.first AS SELECT n.a, n.b FROM (SELECT 1 AS a, 'x'::text AS b) n;
ALTER VIEW shop.next ALTER COLUMN b SET DEFAULT 'q';
COMMENT ON VIEW shop.next IS 'after the first';
CREATE RECURSIVE VIEW shop.countdown (n) AS VALUES (10) UNION ALL SELECT n - 1 FROM countdown WHERE n > 0;
CREATE MATERIALIZED VIEW shop.zz_base AS SELECT mood, count(*) AS n FROM shop.customers GROUP BY mood;
CREATE MATERIALIZED VIEW shop.aa_top AS SELECT sum(n) AS n FROM shop.zz_base;
CREATE MATERIALIZED VIEW shop.empty AS SELECT * FROM shop.customers WITH NO DATA;
CREATE MATERIALIZED VIEW shop.by_key AS SELECT id, name FROM shop.grouped GROUP BY id, name;
CREATE UNIQUE INDEX zz_base_mood ON shop.zz_base (mood);
COMMENT ON MATERIALIZED VIEW shop.zz_base IS 'moods';
CREATE FUNCTION shop.of_view(shop.grouped) RETURNS int LANGUAGE sql AS 'SELECT 1';

CREATE RULE no_delete AS ON DELETE TO shop.base DO INSTEAD NOTHING;
CREATE RULE log_it AS ON INSERT TO shop.other_base WHERE new.c > 3 DO ALSO (INSERT INTO shop.base VALUES (1); UPDATE shop.base SET b = 'r');
ALTER TABLE shop.other_base DISABLE RULE log_it;
COMMENT ON RULE no_delete ON shop.base IS 'never';
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF name ON shop.customers FOR EACH ROW WHEN (new.age > 1) EXECUTE FUNCTION shop.touch('a', 'b''c');
CREATE TRIGGER off_touch AFTER DELETE ON shop.customers REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.customers DISABLE TRIGGER off_touch;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON shop.base DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.base ENABLE ALWAYS TRIGGER late;
CREATE TRIGGER on_parts BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
ALTER TABLE shop.orders_old DISABLE TRIGGER on_parts;
COMMENT ON TRIGGER touch ON shop.customers IS 'touches';
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop.customers AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (name = current_user) WITH CHECK (age > 0);
COMMENT ON POLICY mine ON shop.customers IS 'own rows';
CREATE FUNCTION shop.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL: %', tg_tag; END $$;
CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'CREATE TRIGGER') EXECUTE FUNCTION shop.on_ddl();
ALTER EVENT TRIGGER forbid ENABLE ALWAYS;
COMMENT ON FUNCTION shop.total(int) IS 'of one customer';
GRANT SELECT ON shop.customers TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO PUBLIC;
COMMENT ON EVENT TRIGGER forbid IS 'no DDL';
