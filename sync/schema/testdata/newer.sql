-- What only PostgreSQL 18 knows.
CREATE EXTENSION btree_gist;
CREATE SCHEMA app;
CREATE TABLE app.kind (id int PRIMARY KEY, during daterange NOT NULL);
CREATE TABLE app.item (id int4range, valid daterange, n int CONSTRAINT "n'given" NOT NULL, doubled int GENERATED ALWAYS AS (n * 2) VIRTUAL,
  tripled int GENERATED ALWAYS AS (n * 3) STORED, shout text COLLATE "C" GENERATED ALWAYS AS (upper(label)), label text,
  m int CONSTRAINT given NOT NULL NO INHERIT, kind int, "Sel ect" int,
  CONSTRAINT lax CHECK (n > 0) NOT ENFORCED, CONSTRAINT named NOT NULL "Sel ect",
  PRIMARY KEY (id, valid WITHOUT OVERLAPS), CONSTRAINT alone UNIQUE (label, valid WITHOUT OVERLAPS),
  CONSTRAINT loose FOREIGN KEY (kind) REFERENCES app.kind NOT ENFORCED);
ALTER TABLE app.item ADD CONSTRAINT later NOT NULL kind NOT VALID;
CREATE TABLE app.use (item int4range, valid daterange, FOREIGN KEY (item, PERIOD valid) REFERENCES app.item (id, PERIOD valid));
CREATE TABLE app.parent (a int NOT NULL, b int CONSTRAINT bn NOT NULL);
CREATE TABLE app.child (CONSTRAINT own NOT NULL a) INHERITS (app.parent);
CREATE VIEW app.items AS SELECT n, doubled FROM app.item;
CREATE FUNCTION app.change() RETURNS void LANGUAGE sql BEGIN ATOMIC UPDATE app.kind SET id = id + 1 RETURNING old.id, new.id; END;
