-- Views, materialized views, rules, triggers, policies, event triggers, large objects.
CREATE VIEW view.rich WITH (security_barrier, security_invoker) AS SELECT * FROM tab.everything WHERE n > 4 WITH CASCADED CHECK OPTION;
CREATE VIEW view.local_check WITH (check_option = local) AS SELECT a, b FROM tab.uses_shared WHERE a > 0;
CREATE VIEW view.grouped AS SELECT e.id, e.name, e.mood, count(*) AS n FROM tab.everything e GROUP BY e.id; -- by the primary key
CREATE VIEW view.first AS SELECT 1 AS a, 'x'::text AS b;
CREATE VIEW view.next AS SELECT * FROM view.first;
CREATE OR REPLACE VIEW view.first AS SELECT n.a, n.b FROM (SELECT 1 AS a, 'x'::text AS b) n;
ALTER VIEW view.next ALTER COLUMN b SET DEFAULT 'q';
COMMENT ON VIEW view.next IS 'view';
COMMENT ON COLUMN view.next.a IS 'column of a view';
CREATE RECURSIVE VIEW view.countdown (n) AS VALUES (10) UNION ALL SELECT n - 1 FROM countdown WHERE n > 0;
CREATE VIEW view."Odd ""view"".x" AS
  SELECT p.pair, (p.pair)."B b", p.moods[1] AS "first mood", p.name COLLATE typ."Phone book" AS "SELECT", fun.plain(p.n, b => 3),
    fun.join_all(p.name) OVER w AS window_aggregate, p.pair OPERATOR(fun.===) p.pair AS same, p.attributes OPERATOR(ext.->) 'a' AS attribute,
    CAST(p.pair AS text) AS as_text, row_number() OVER w, ARRAY(SELECT x FROM fun.atomic(1) AS f(x, y)) AS arr, u.*,
    grouping(p.id), 'tab.everything'::regclass AS reg
  FROM tab.everything p LEFT JOIN LATERAL unnest(p.moods) WITH ORDINALITY AS u("Mood", "#") ON true
  GROUP BY GROUPING SETS ((p.id, u."Mood", u."#"), (p.id, p.pair, p.moods, p.name, p.n, p.attributes, u."Mood", u."#"))
  WINDOW w AS (PARTITION BY p.id ORDER BY p.id ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE TIES);
CREATE VIEW view.functions AS SELECT * FROM fun.many(3) m, ROWS FROM (fun.atomic(1, 2), generate_series(1, 3)) WITH ORDINALITY AS r(ra, rb, rc, rd),
  fun.a_record() AS rec(x int, y int);
CREATE VIEW view.xml_table AS SELECT xt.* FROM xmltable('/a' PASSING ('<a b="1"/>'::xml) COLUMNS xb int PATH '@b') AS xt;
CREATE VIEW view.sampled AS SELECT a FROM ONLY tab.base TABLESAMPLE bernoulli (10) REPEATABLE (3) EXCEPT ALL (SELECT c FROM tab.other_base LIMIT 0);
CREATE VIEW view.no_columns AS SELECT FROM tab.no_columns;
CREATE MATERIALIZED VIEW view.zz_base WITH (fillfactor = 80, autovacuum_enabled = false) AS SELECT mood, count(*) AS n FROM tab.everything GROUP BY mood;
CREATE MATERIALIZED VIEW view.aa_top USING heap2 AS SELECT sum(n) AS n FROM view.zz_base;
CREATE MATERIALIZED VIEW view.empty AS SELECT * FROM tab.everything WITH NO DATA;
CREATE MATERIALIZED VIEW view.by_key AS SELECT id, name FROM view.grouped GROUP BY id, name;
CREATE MATERIALIZED VIEW view.clustered AS SELECT a, b FROM tab.target ORDER BY a;
CREATE UNIQUE INDEX zz_base_mood ON view.zz_base (mood);
CREATE INDEX clustered_a ON view.clustered (a DESC);
CREATE STATISTICS view.of_matview ON a, b FROM view.clustered;
ALTER MATERIALIZED VIEW view.clustered CLUSTER ON clustered_a;
ALTER MATERIALIZED VIEW view.clustered ALTER b SET STATISTICS 9;
CREATE VIEW view.over_matview AS SELECT n * 2 AS twice FROM view.aa_top;
COMMENT ON MATERIALIZED VIEW view.zz_base IS 'materialized view';
CREATE FUNCTION view.of_view(view.grouped) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION view.atomic_over_view() RETURNS SETOF view.rich LANGUAGE sql BEGIN ATOMIC SELECT * FROM view.rich; END;
CREATE TABLE tab.of_view_type (v view.grouped, p tab.person, ps tab.person[]);
ALTER TABLE tab.of_view_type ADD CHECK (v IS NULL OR (v).n > 0);
CREATE TABLE tab.circular (a int);
CREATE FUNCTION tab.circular_default() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM tab.circular; END;
ALTER TABLE tab.circular ADD b bigint DEFAULT tab.circular_default();

CREATE RULE no_delete AS ON DELETE TO tab.base DO INSTEAD NOTHING;
CREATE RULE "Log it" AS ON INSERT TO tab.other_base WHERE new.c > 3 DO ALSO (INSERT INTO tab.base VALUES (1); UPDATE tab.base SET b = 'r' WHERE a = new.a);
CREATE RULE through AS ON UPDATE TO view.next DO INSTEAD SELECT old.a, new.b;
CREATE RULE told AS ON UPDATE TO tab.base DO ALSO NOTIFY "Chan nel", 'load';
ALTER TABLE tab.other_base DISABLE RULE "Log it";
ALTER TABLE tab.base ENABLE ALWAYS RULE told;
COMMENT ON RULE no_delete ON tab.base IS 'rule';

CREATE FUNCTION fun.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN coalesce(new, old); END';
CREATE FUNCTION fun.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'trigger % of % fired', tg_name, tg_table_name; END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF name, n ON tab.everything FOR EACH ROW WHEN (new.n > 1 AND new.mood <> 'sad') EXECUTE FUNCTION fun.touch('a', 'b''c', E'\\', '');
CREATE TRIGGER "Statement" AFTER DELETE ON tab.everything REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION fun.refuse();
CREATE TRIGGER both_tables AFTER UPDATE ON tab.everything REFERENCING OLD TABLE AS "O o" NEW TABLE AS n FOR EACH ROW EXECUTE FUNCTION fun.touch();
CREATE TRIGGER emptied BEFORE TRUNCATE ON tab.everything EXECUTE FUNCTION fun.refuse();
ALTER TABLE tab.everything DISABLE TRIGGER "Statement", ENABLE REPLICA TRIGGER both_tables;
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON tab.base FROM tab.other_base DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.a > 3) EXECUTE FUNCTION fun.refuse();
CREATE TRIGGER always BEFORE INSERT ON tab.no_key FOR EACH ROW EXECUTE FUNCTION fun.touch();
CREATE TRIGGER instead INSTEAD OF INSERT OR DELETE ON view.next FOR EACH ROW EXECUTE FUNCTION fun.touch();
CREATE TRIGGER moddate BEFORE UPDATE ON tab.derived FOR EACH ROW EXECUTE FUNCTION ext.moddatetime('d');
CREATE TRIGGER on_parts AFTER INSERT ON part.orders FOR EACH ROW EXECUTE FUNCTION fun.refuse();
CREATE TRIGGER own_trigger AFTER INSERT ON part.old FOR EACH ROW EXECUTE FUNCTION fun.refuse();
ALTER TABLE part.old DISABLE TRIGGER on_parts;
COMMENT ON TRIGGER touch ON tab.everything IS 'trigger';

ALTER TABLE tab.everything ENABLE ROW LEVEL SECURITY;
ALTER TABLE tab.tree ENABLE ROW LEVEL SECURITY;
ALTER TABLE tab.tree FORCE ROW LEVEL SECURITY;
CREATE POLICY "My own" ON tab.everything AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (name = current_user) WITH CHECK (n > 0 AND EXISTS (SELECT FROM view.rich));
CREATE POLICY readers ON tab.everything FOR SELECT TO every_reader, every_login USING (true);
CREATE POLICY on_part ON part.orders FOR INSERT TO CURRENT_USER WITH CHECK (amount > 1);
COMMENT ON POLICY "My own" ON tab.everything IS 'policy';

CREATE FUNCTION fun.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL: %', tg_tag; END $$;
