-- What PostgreSQL 9.6 already has.
-- Without operators and event triggers: pg_dump 11 and later writes them with FUNCTION, which older servers reject.
CREATE EXTENSION hstore;
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok');
CREATE DOMAIN shop.positive AS int CHECK (VALUE > 0);
CREATE SEQUENCE shop.numbers INCREMENT -3 MINVALUE -900 MAXVALUE 900 START 300 CYCLE;
SELECT nextval('shop.numbers');
CREATE TABLE shop.customers (id bigserial PRIMARY KEY, name text NOT NULL CHECK (name <> ''), mood shop.mood DEFAULT 'ok', attributes hstore,
  age shop.positive, at timestamptz DEFAULT now(), system_user text, UNIQUE (name, age) DEFERRABLE);
CREATE INDEX customers_mood ON shop.customers (mood, lower(name) DESC) WHERE age > 3;
CREATE TABLE shop.orders (id int PRIMARY KEY, customer bigint REFERENCES shop.customers ON DELETE CASCADE, period tsrange,
  EXCLUDE USING gist (period WITH &&));
CREATE TABLE shop.derived (extra int) INHERITS (shop.orders);
CREATE UNIQUE INDEX orders_by ON shop.orders (id);
ALTER TABLE shop.orders REPLICA IDENTITY USING INDEX orders_by;
CREATE UNLOGGED TABLE shop.fleeting (v json);
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER touch BEFORE INSERT ON shop.customers FOR EACH ROW EXECUTE PROCEDURE shop.touch('a');
CREATE RULE no_delete AS ON DELETE TO shop.orders DO INSTEAD NOTHING;
CREATE VIEW shop.grouped AS SELECT c.id, c.name, count(*) AS n FROM shop.customers c GROUP BY c.id;
CREATE MATERIALIZED VIEW shop.moods AS SELECT mood, count(*) AS n FROM shop.customers GROUP BY mood;
CREATE UNIQUE INDEX moods_mood ON shop.moods (mood);
CREATE AGGREGATE shop.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION shop.in_c(int) RETURNS int LANGUAGE internal AS 'int4um';
ALTER TABLE shop.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON shop.customers USING (name = current_user);
COMMENT ON TABLE shop.customers IS 'people';
COMMENT ON INDEX shop.customers_mood IS 'moods';
