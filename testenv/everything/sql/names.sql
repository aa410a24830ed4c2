-- Nothing but awkward names: case, quotes, dots, spaces, reserved words, backslashes, dollars, 63 bytes, no ASCII, leading digits,
-- names that differ only in case or only in a blank, and names that look like something else.
CREATE SCHEMA "Case";
CREATE SCHEMA "case";
CREATE SCHEMA "CASE";
CREATE SCHEMA "a.b";
CREATE SCHEMA "quo""te's";
CREATE SCHEMA "select";
CREATE SCHEMA " ";
CREATE SCHEMA "$$";
CREATE SCHEMA "back\slash";
CREATE SCHEMA "😀ünï中";
CREATE SCHEMA "1digit";
CREATE SCHEMA "sixty-three bytes long and not one less, which is what names eS";
CREATE SCHEMA "öööööööööööööööööööööööööööööööx";
CREATE SCHEMA "new
line";

-- One table per schema and several in one, whose columns, constraints, indexes, sequences have such names.
CREATE TABLE "Case"."Case" ("Case" serial PRIMARY KEY, "case" int UNIQUE, "CASE" text);
CREATE TABLE "Case"."case" ("Case" int CONSTRAINT "cASE" PRIMARY KEY, "case" int CONSTRAINT "CASE" UNIQUE);
CREATE TABLE "case"."case" (LIKE "Case"."Case" INCLUDING ALL);
CREATE TABLE "CASE"."case" ("case" int PRIMARY KEY);
CREATE TABLE "a.b"."c.d" ("e.f" bigserial CONSTRAINT "g.h" PRIMARY KEY, "a.b.c" text);
CREATE TABLE "a.b"."c" ("d" int PRIMARY KEY, "d.e" int);
CREATE TABLE "quo""te's"."""" ("'" int GENERATED ALWAYS AS IDENTITY CONSTRAINT "''" PRIMARY KEY, """" text DEFAULT '"''', """""" int CONSTRAINT "c""k" CHECK ("""""" > 0));
CREATE TABLE "quo""te's".""";DROP TABLE x;--" ("--" int PRIMARY KEY, "/*" text, "*/" text, ";" text);
CREATE TABLE "select"."from" ("where" int PRIMARY KEY, "table" text, "user" int, "primary" int, "order" int DEFAULT 3, "null" text, "array" int[], "ctid_" int);
CREATE TABLE "select"."table" ("all" int PRIMARY KEY, "t" int, "s" int, "d" int, "u" int, "new" int, "old" int, "excluded" int, "xmin_" int, "value" int, "tableoid " int);
CREATE TABLE " "." " (" " int PRIMARY KEY, "  " int, "   " text, "tab	" int);
CREATE TABLE " "."  " (" " int PRIMARY KEY);
CREATE TABLE "$$"."$1" ("$1" int PRIMARY KEY, "$2" text, "%s" text, "%" text, "{}" text, ":name" text, "?" text, "@x" text);
CREATE TABLE "$$"."$tag$" ("$$" int PRIMARY KEY, "$" int);
CREATE TABLE "back\slash"."\" ("\" int PRIMARY KEY, "\\" text, "\N" text, "\t" text, "\." text);
CREATE TABLE "😀ünï中"."Ünïcode 表" ("ключ" int PRIMARY KEY, "ß" text, "ẞ" text, "é" text, U&"e\0301" text, "İ" text, "i̇" text);
CREATE TABLE "😀ünï中"."ünïcode 表" ("ключ" int PRIMARY KEY);
CREATE TABLE "1digit"."2digit" ("3" int PRIMARY KEY, "4e5" int, "0x6" int);
CREATE TABLE "sixty-three bytes long and not one less, which is what names eS"."sixty-three bytes long and not one less, which is what names eT"
  ("sixty-three bytes long and not one less, which is what names eC" serial PRIMARY KEY, "sixty-three bytes long and not one less, which is what names eD" int UNIQUE CHECK ("sixty-three bytes long and not one less, which is what names eD" > 0));
CREATE TABLE "sixty-three bytes long and not one less, which is what names eS"."sixty-three bytes long and not one less, which is what names eU"
  ("sixty-three bytes long and not one less, which is what names eC" int PRIMARY KEY REFERENCES "sixty-three bytes long and not one less, which is what names eS"."sixty-three bytes long and not one less, which is what names eT");
CREATE TABLE "öööööööööööööööööööööööööööööööx"."öööööööööööööööööööööööööööööööy" ("öööööööööööööööööööööööööööööööz" serial PRIMARY KEY, "öööööööööööööööööööööööööööööööw" int UNIQUE);
CREATE INDEX ON "öööööööööööööööööööööööööööööööx"."öööööööööööööööööööööööööööööööy" ("öööööööööööööööööööööööööööööööw");
CREATE TABLE "new
line"."new
	line" ("carriage
return" int PRIMARY KEY, "x
" text);

-- Everything else that has a name.
CREATE TYPE "quo""te's"."Mo'o""d.x" AS ENUM ('a''b"c', '', 'A.b');
CREATE TYPE "a.b"."ty.pe" AS ("at.tr" int, "SELECT" text);
CREATE DOMAIN "select"."domain" AS int CONSTRAINT "check" CHECK (VALUE > 0);
CREATE FUNCTION "$$"."fun$$ction"("$1x" int, "in" text, OUT "out" "a.b"."ty.pe", OUT "O""ut" "quo""te's"."Mo'o""d.x") LANGUAGE plpgsql AS $_$ BEGIN "out" := ROW(1, $$a$$); END $_$;
CREATE FUNCTION "select"."from"("select"."domain") RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT $1 + 1 AS "from"; END;
CREATE FUNCTION "a.b"."trig.ger"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE AGGREGATE "Case"."SUM"(int) (SFUNC = int4pl, STYPE = int);
CREATE OPERATOR "a.b".<=> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4lt);
CREATE COLLATION "Case"."Col.la""tion" (locale = 'C');
CREATE SEQUENCE "😀ünï中"."Sequence's ""1""" START 7;
ALTER TABLE "a.b"."c.d" ADD "ty.pe" "a.b"."ty.pe" DEFAULT ROW(1, 'x'), ADD "mo'od" "quo""te's"."Mo'o""d.x" DEFAULT 'a''b"c', ADD "dom" "select"."domain",
  ADD "col" text COLLATE "Case"."Col.la""tion", ADD "seq" int DEFAULT nextval('"😀ünï中"."Sequence''s ""1"""'), ADD "gen.erated" text GENERATED ALWAYS AS ("a.b.c" || '.') STORED;
CREATE INDEX "in.dex" ON "a.b"."c.d" ("a.b.c", lower("a.b.c"), (("ty.pe")."at.tr"));
CREATE INDEX "in""dex's" ON "quo""te's"."""" ("""", """""") WHERE """" <> '"';
CREATE INDEX "index" ON "select"."from" USING gin ("array") WITH (fastupdate = off);
CREATE UNIQUE INDEX "$$" ON "$$"."$tag$" (("$" + 1)) WHERE "$" > 0;
ALTER TABLE "a.b"."c" ADD CONSTRAINT "foreign.key" FOREIGN KEY ("d.e") REFERENCES "a.b"."c.d" ON DELETE SET NULL;
ALTER TABLE "Case"."case" ADD CONSTRAINT "Case" FOREIGN KEY ("case") REFERENCES "Case"."Case" ("case"), ADD CONSTRAINT "cAsE" CHECK ("Case" > "case");
CREATE STATISTICS "Case"."Stat.s" ON "case", "CASE" FROM "Case"."Case";
CREATE VIEW "a.b"."vi.ew" AS SELECT x."e.f" AS "x.y", "c.d"."d" AS """", "a.b"."c"."d.e" AS "*", "select"."from"(1) AS "from" FROM "a.b"."c.d" x JOIN "a.b"."c" AS "c.d" ON true, "a.b"."c";
CREATE VIEW "select"."view" AS SELECT "from"."where" AS "group", "from".* FROM "select"."from" "from" WHERE "from"."table" IS NULL;
CREATE MATERIALIZED VIEW "quo""te's"."mat""view's" AS SELECT """" AS "'", "'" AS """" FROM "quo""te's"."""";
CREATE UNIQUE INDEX "mat""view's_idx" ON "quo""te's"."mat""view's" ("""");
CREATE RULE "ru.le" AS ON DELETE TO "a.b"."c" DO ALSO UPDATE "a.b"."c.d" SET "a.b.c" = 'x' WHERE "e.f" = OLD."d.e";
CREATE TRIGGER "trig.ger" BEFORE UPDATE OF "a.b.c" ON "a.b"."c.d" FOR EACH ROW WHEN (OLD."a.b.c" <> NEW."a.b.c") EXECUTE FUNCTION "a.b"."trig.ger"('"', '''');
ALTER TABLE "quo""te's"."""" ENABLE ROW LEVEL SECURITY;
CREATE POLICY "po""licy's" ON "quo""te's"."""" USING ("'" > 0);
CREATE TABLE "1digit"."Parti.tioned" ("K" int, "v" text) PARTITION BY LIST ("K");
CREATE TABLE "1digit"."Part""1" PARTITION OF "1digit"."Parti.tioned" FOR VALUES IN (1);
CREATE TABLE "Case"."Part""1" PARTITION OF "1digit"."Parti.tioned" DEFAULT;
ALTER TABLE "1digit"."Parti.tioned" ADD CONSTRAINT "Parti.tioned " PRIMARY KEY ("K"), ADD CONSTRAINT "ck.1" CHECK ("K" < 1000);
CREATE TABLE " "."Base" ("a b" int CONSTRAINT "base" CHECK ("a b" > 0));
CREATE TABLE "select"."Child" (CONSTRAINT "key" PRIMARY KEY ("a b")) INHERITS (" "."Base");
ALTER TABLE " "."Base" REPLICA IDENTITY FULL;
COMMENT ON TABLE "a.b"."c.d" IS 'com.ment "quoted"';
COMMENT ON COLUMN "quo""te's".""""."""" IS '"';
COMMENT ON CONSTRAINT "foreign.key" ON "a.b"."c" IS '.';
COMMENT ON INDEX "quo""te's"."in""dex's" IS '''';

INSERT INTO "Case"."Case" ("case", "CASE") VALUES (1, 'x'), (2, 'y');
INSERT INTO "Case"."case" VALUES (2, 1);
INSERT INTO "case"."case" VALUES (7, 8, 'z');
INSERT INTO "CASE"."case" VALUES (1);
INSERT INTO "a.b"."c.d" ("a.b.c") VALUES ('one'), ('two');
INSERT INTO "a.b"."c" VALUES (1, 1), (2, NULL);
INSERT INTO "quo""te's"."""" ("""", """""") VALUES ('q', 1), ('''', 2);
INSERT INTO "quo""te's".""";DROP TABLE x;--" VALUES (1, 'a', 'b', 'c');
INSERT INTO "select"."from" VALUES (1, 'a', 2, 3, 4, 'n', '{5}', 6);
INSERT INTO "select"."table" VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
INSERT INTO " "." " VALUES (1, 2, 'x', 3); INSERT INTO " "."  " VALUES (2);
INSERT INTO "$$"."$1" VALUES (1, 'a', 'b', 'c', 'd', 'e', 'f', 'g'); INSERT INTO "$$"."$tag$" VALUES (1, 2);
INSERT INTO "back\slash"."\" VALUES (1, '\', '\N', '\t', '\.');
INSERT INTO "😀ünï中"."Ünïcode 表" VALUES (1, 'a', 'b', 'c', 'd', 'e', 'f'); INSERT INTO "😀ünï中"."ünïcode 表" VALUES (1), (2);
INSERT INTO "1digit"."2digit" VALUES (1, 2, 3);
INSERT INTO "sixty-three bytes long and not one less, which is what names eS"."sixty-three bytes long and not one less, which is what names eT" VALUES (1, 1), (2, 2);
INSERT INTO "sixty-three bytes long and not one less, which is what names eS"."sixty-three bytes long and not one less, which is what names eU" VALUES (1);
INSERT INTO "öööööööööööööööööööööööööööööööx"."öööööööööööööööööööööööööööööööy" VALUES (1, 2);
INSERT INTO "new
line"."new
	line" VALUES (1, 'a');
INSERT INTO "1digit"."Parti.tioned" VALUES (1, 'one'), (2, 'two');
INSERT INTO " "."Base" VALUES (1); INSERT INTO "select"."Child" VALUES (2);
REFRESH MATERIALIZED VIEW "quo""te's"."mat""view's";
