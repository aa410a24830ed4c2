-- Schemas, extensions and everything that a column can be made of.
CREATE SCHEMA ext;
CREATE SCHEMA typ;
CREATE SCHEMA fun;
CREATE SCHEMA tab;
CREATE SCHEMA part;
CREATE SCHEMA view;
CREATE SCHEMA "Mixed Case";
COMMENT ON SCHEMA typ IS 'types; with ''quotes'', "double quotes", back\slash
and a second line';

CREATE EXTENSION hstore SCHEMA ext;
CREATE EXTENSION citext SCHEMA ext;
CREATE EXTENSION pg_trgm SCHEMA ext;
CREATE EXTENSION btree_gist SCHEMA ext;
CREATE EXTENSION btree_gin SCHEMA ext;
CREATE EXTENSION ltree SCHEMA ext;
CREATE EXTENSION intarray SCHEMA ext;
CREATE EXTENSION isn SCHEMA ext;
CREATE EXTENSION seg SCHEMA ext;
CREATE EXTENSION cube SCHEMA ext;
CREATE EXTENSION earthdistance SCHEMA ext;
CREATE EXTENSION bloom SCHEMA ext;
CREATE EXTENSION unaccent SCHEMA ext;
CREATE EXTENSION dict_int SCHEMA ext;
CREATE EXTENSION pgcrypto SCHEMA ext;
CREATE EXTENSION "uuid-ossp" SCHEMA ext;
CREATE EXTENSION tablefunc SCHEMA "Mixed Case";
CREATE EXTENSION moddatetime SCHEMA ext;
CREATE EXTENSION lo SCHEMA ext;
CREATE EXTENSION fuzzystrmatch; -- into public
COMMENT ON EXTENSION hstore IS 'its own comment';

CREATE TYPE typ.mood AS ENUM ('sad', 'ok', 'hap"py', 'it''s', '', 'Ünïcode');
ALTER TYPE typ.mood ADD VALUE 'before ok' BEFORE 'ok';
COMMENT ON TYPE typ.mood IS 'enum';
CREATE TYPE typ.nothing AS ENUM ();
CREATE TYPE typ.pair AS (a int, "B b" text COLLATE "C", c numeric(5, 2)[]);
COMMENT ON TYPE typ.pair IS 'composite';
COMMENT ON COLUMN typ.pair."B b" IS 'attribute';
CREATE TYPE typ.nested AS (p typ.pair, ps typ.pair[], m typ.mood);
CREATE TYPE typ.hollow AS ();
CREATE TYPE typ.shrunk AS (a int, gone int, b int);
ALTER TYPE typ.shrunk DROP ATTRIBUTE gone;
ALTER TYPE typ.shrunk ADD ATTRIBUTE late text;

CREATE COLLATION typ.bytewise (locale = 'C');
CREATE COLLATION typ."Phone book" (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION typ.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE COLLATION typ.copied FROM "POSIX";
COMMENT ON COLLATION typ.blind IS 'case does not matter';
CREATE CONVERSION typ.to_latin FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
CREATE DEFAULT CONVERSION typ.to_latin9 FOR 'UTF8' TO 'LATIN9' FROM utf8_to_iso8859;
COMMENT ON CONVERSION typ.to_latin IS 'conversion';

CREATE DOMAIN typ.positive AS int DEFAULT 1 NOT NULL CONSTRAINT above_zero CHECK (VALUE > 0);
ALTER DOMAIN typ.positive ADD CONSTRAINT below_million CHECK (VALUE < 1000000) NOT VALID;
COMMENT ON DOMAIN typ.positive IS 'domain';
COMMENT ON CONSTRAINT above_zero ON DOMAIN typ.positive IS 'constraint of a domain';
CREATE DOMAIN typ.numbers AS int[] CHECK (array_length(VALUE, 1) < 100);
CREATE DOMAIN typ.of_domain AS typ.positive CHECK (VALUE <> 13);
CREATE DOMAIN typ.of_pair AS typ.pair CHECK ((VALUE).a IS NOT NULL);
CREATE DOMAIN typ.words AS text COLLATE typ."Phone book" CHECK (VALUE ~ '^\w*$');

CREATE FUNCTION typ.seconds(a time, b time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
  AS 'SELECT extract(epoch FROM (a - b))::float8';
CREATE TYPE typ.timerange AS RANGE (subtype = time, subtype_diff = typ.seconds, multirange_type_name = typ."times of day");
CREATE TYPE typ.textrange AS RANGE (subtype = text, collation = typ.bytewise, subtype_opclass = text_pattern_ops);
CREATE TYPE typ.floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
COMMENT ON TYPE typ.timerange IS 'range';

CREATE TEXT SEARCH PARSER typ.splitter (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end,
  HEADLINE = prsd_headline, LEXTYPES = prsd_lextype);
COMMENT ON TEXT SEARCH PARSER typ.splitter IS 'parser';
CREATE TEXT SEARCH TEMPLATE typ.model (INIT = dsimple_init, LEXIZE = dsimple_lexize);
COMMENT ON TEXT SEARCH TEMPLATE typ.model IS 'template';
CREATE TEXT SEARCH DICTIONARY typ.plain (TEMPLATE = simple, StopWords = 'english', Accept = false);
CREATE TEXT SEARCH DICTIONARY typ.own (TEMPLATE = typ.model);
CREATE TEXT SEARCH DICTIONARY typ.numbers_only (TEMPLATE = ext.intdict_template, MAXLEN = 4, REJECTLONG = false);
CREATE TEXT SEARCH DICTIONARY typ.german (TEMPLATE = snowball, Language = german);
COMMENT ON TEXT SEARCH DICTIONARY typ.plain IS 'dictionary';
CREATE TEXT SEARCH CONFIGURATION typ.finder (PARSER = default);
ALTER TEXT SEARCH CONFIGURATION typ.finder ADD MAPPING FOR asciiword, word WITH ext.unaccent, typ.plain, german_stem;
ALTER TEXT SEARCH CONFIGURATION typ.finder ADD MAPPING FOR int, uint WITH typ.numbers_only;
CREATE TEXT SEARCH CONFIGURATION typ.own_parser (PARSER = typ.splitter);
ALTER TEXT SEARCH CONFIGURATION typ.own_parser ADD MAPPING FOR asciiword WITH typ.own;
COMMENT ON TEXT SEARCH CONFIGURATION typ.finder IS 'configuration';

CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD heap2 IS 'access method';
