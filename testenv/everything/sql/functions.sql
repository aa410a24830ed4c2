-- Functions, procedures, aggregates, operators, casts.
CREATE FUNCTION fun.plain(a int, b int DEFAULT 1 + 2, c text DEFAULT 'it''s; "quoted" $$') RETURNS int LANGUAGE sql AS 'SELECT a + b';
CREATE FUNCTION fun.named(IN a int, OUT b int, INOUT c text, VARIADIC d int[] DEFAULT '{}') LANGUAGE plpgsql AS
$body$
DECLARE -- ; $$ 'not the end
  x text := $in$ -- inside $in$;
BEGIN
  b := a; c := c || x; /* /* nested */ */
END
$body$;
CREATE FUNCTION fun.atomic(a int, b int DEFAULT 3) RETURNS TABLE (x int, "Y y" text) LANGUAGE sql STABLE PARALLEL SAFE COST 7 ROWS 13
  BEGIN ATOMIC
    SELECT a, b::text;
    SELECT a + b, ('x' || a) COLLATE typ.bytewise;
  END;
CREATE FUNCTION fun.returning(a int) RETURNS int LANGUAGE sql IMMUTABLE STRICT RETURN a * 2;
CREATE FUNCTION fun.many(n int) RETURNS SETOF typ.pair LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, "Mixed Case"
  SET datestyle = 'German, DMY' SET work_mem FROM CURRENT AS 'BEGIN RETURN; END';
CREATE FUNCTION fun.poly(a anyelement, b anyarray, c anycompatible) RETURNS anyelement LANGUAGE sql IMMUTABLE PARALLEL RESTRICTED AS 'SELECT a';
CREATE FUNCTION fun.poly_range(r anyrange) RETURNS anymultirange LANGUAGE sql AS 'SELECT multirange(r)';
CREATE FUNCTION fun.of_domain(typ.positive, typ.mood DEFAULT 'hap"py') RETURNS typ.of_domain LANGUAGE sql AS 'SELECT $1::typ.of_domain';
CREATE FUNCTION fun."Quo""ted Fun.ction"("a b" text, "SELECT" int) RETURNS text LANGUAGE plpgsql AS E'BEGIN RETURN ''\\\\''; END\t';
CREATE FUNCTION fun.overloaded(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION fun.overloaded(bigint) RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION fun.overloaded(int[]) RETURNS int LANGUAGE sql AS 'SELECT 3';
CREATE FUNCTION fun.overloaded() RETURNS int LANGUAGE sql AS 'SELECT 0';
COMMENT ON FUNCTION fun.overloaded(int[]) IS 'of an array';
CREATE FUNCTION fun.void() RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION fun.a_record() RETURNS record LANGUAGE sql AS 'SELECT 1, 2';
CREATE FUNCTION fun.a_cursor(refcursor) RETURNS refcursor LANGUAGE plpgsql AS 'BEGIN OPEN $1 FOR SELECT 1; RETURN $1; END';
-- Bodies that are not valid, or not any more, or not yet: one needs a table that comes later.
SET check_function_bodies = off;
CREATE FUNCTION fun.broken() RETURNS int LANGUAGE sql AS 'SELECT no_such_column FROM no_such_table';
CREATE FUNCTION fun.of_later_table(int) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT sum(n) FROM tab.everything WHERE id = $1';
RESET check_function_bodies;

CREATE PROCEDURE fun.proc(a int, INOUT b text DEFAULT 'x') LANGUAGE plpgsql SET lock_timeout = '3s' AS 'BEGIN COMMIT; b := a; END';
CREATE PROCEDURE fun.proc_out(OUT a int) LANGUAGE sql BEGIN ATOMIC SELECT 1; END;
COMMENT ON PROCEDURE fun.proc(int, text) IS 'procedure';

CREATE FUNCTION fun.joined(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce($1 || ', ', '') || $2 $$;
CREATE FUNCTION fun.unjoined(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT substr($1, length($2) + 3) $$;
CREATE AGGREGATE fun.join_all(text) (SFUNC = fun.joined, STYPE = text, INITCOND = 'it''s');
CREATE AGGREGATE fun.moving(text) (SFUNC = fun.joined, STYPE = text, MSFUNC = fun.joined, MINVFUNC = fun.unjoined, MSTYPE = text,
  MINITCOND = '', SSPACE = 100, PARALLEL = RESTRICTED);
CREATE AGGREGATE fun.summed(int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = int4pl, INITCOND = '0', PARALLEL = SAFE, SORTOP = <);
CREATE AGGREGATE fun.percentile(float8 ORDER BY "any") (SFUNC = ordered_set_transition, STYPE = internal,
  FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE AGGREGATE fun.ranked(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = ordered_set_transition_multi, STYPE = internal,
  FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
CREATE AGGREGATE fun.counted(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
CREATE FUNCTION fun.keep_first(anyelement, anyelement) RETURNS anyelement LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1';
CREATE AGGREGATE fun.first_of(anyelement) (SFUNC = fun.keep_first, STYPE = anyelement, FINALFUNC_MODIFY = SHAREABLE);
COMMENT ON AGGREGATE fun.join_all(text) IS 'aggregate';
COMMENT ON AGGREGATE fun.counted(*) IS 'of rows';
COMMENT ON AGGREGATE fun.percentile(float8 ORDER BY "any") IS 'ordered set';

CREATE FUNCTION fun.pair_eq(typ.pair, typ.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a = $2.a';
CREATE FUNCTION fun.pair_ne(typ.pair, typ.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a <> $2.a';
CREATE FUNCTION fun.pair_lt(typ.pair, typ.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a < $2.a';
CREATE FUNCTION fun.pair_le(typ.pair, typ.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a <= $2.a';
CREATE FUNCTION fun.pair_gt(typ.pair, typ.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a > $2.a';
CREATE FUNCTION fun.pair_ge(typ.pair, typ.pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a >= $2.a';
CREATE FUNCTION fun.pair_cmp(typ.pair, typ.pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1.a, $2.a)';
CREATE FUNCTION fun.pair_hash(typ.pair) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT hashint4($1.a)';
CREATE OPERATOR fun.=== (LEFTARG = typ.pair, RIGHTARG = typ.pair, FUNCTION = fun.pair_eq, COMMUTATOR = OPERATOR(fun.===),
  NEGATOR = OPERATOR(fun.<=>), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR fun.<=> (LEFTARG = typ.pair, RIGHTARG = typ.pair, FUNCTION = fun.pair_ne, COMMUTATOR = OPERATOR(fun.<=>),
  NEGATOR = OPERATOR(fun.===), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR fun.<<< (LEFTARG = typ.pair, RIGHTARG = typ.pair, FUNCTION = fun.pair_lt, COMMUTATOR = OPERATOR(fun.>>>));
CREATE OPERATOR fun.<<= (LEFTARG = typ.pair, RIGHTARG = typ.pair, FUNCTION = fun.pair_le);
CREATE OPERATOR fun.>>> (LEFTARG = typ.pair, RIGHTARG = typ.pair, FUNCTION = fun.pair_gt, COMMUTATOR = OPERATOR(fun.<<<));
CREATE OPERATOR fun.>>= (LEFTARG = typ.pair, RIGHTARG = typ.pair, FUNCTION = fun.pair_ge);
CREATE OPERATOR fun.@#@ (RIGHTARG = int, FUNCTION = fun.returning);
CREATE OPERATOR fun.<<< (LEFTARG = text, RIGHTARG = int, FUNCTION = pg_catalog.repeat);
COMMENT ON OPERATOR fun.=== (typ.pair, typ.pair) IS 'operator';
COMMENT ON OPERATOR fun.@#@ (NONE, int) IS 'prefix operator';
CREATE OPERATOR FAMILY fun.empty_family USING hash;
CREATE OPERATOR FAMILY fun.by_a USING btree;
COMMENT ON OPERATOR FAMILY fun.by_a USING btree IS 'family';
CREATE OPERATOR CLASS fun.by_a DEFAULT FOR TYPE typ.pair USING btree FAMILY fun.by_a AS
  OPERATOR 1 fun.<<<, OPERATOR 2 fun.<<=, OPERATOR 3 fun.===, OPERATOR 4 fun.>>=, OPERATOR 5 fun.>>>,
  FUNCTION 1 fun.pair_cmp(typ.pair, typ.pair);
CREATE OPERATOR CLASS fun.by_a_hash FOR TYPE typ.pair USING hash AS OPERATOR 1 fun.===, FUNCTION 1 fun.pair_hash(typ.pair);
COMMENT ON OPERATOR CLASS fun.by_a USING btree IS 'class';
CREATE FUNCTION fun.backward_cmp(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($2, $1)';
CREATE OPERATOR CLASS fun.backward FOR TYPE int USING btree AS
  OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 fun.backward_cmp(int, int);
CREATE FUNCTION fun.pair_int_lt(typ.pair, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1.a < $2';
CREATE FUNCTION fun.pair_int_cmp(typ.pair, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1.a, $2)';
CREATE OPERATOR fun.<<< (LEFTARG = typ.pair, RIGHTARG = int, FUNCTION = fun.pair_int_lt);
ALTER OPERATOR FAMILY fun.by_a USING btree ADD OPERATOR 1 fun.<<< (typ.pair, int), FUNCTION 1 (typ.pair, int) fun.pair_int_cmp(typ.pair, int);

CREATE FUNCTION fun.to_text(typ.pair) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1."B b" || ' ' || $1.a $$;
CREATE FUNCTION fun.to_pair(text, int, boolean) RETURNS typ.pair LANGUAGE sql IMMUTABLE AS $$ SELECT ROW(1, $1, NULL)::typ.pair $$;
CREATE CAST (typ.pair AS text) WITH FUNCTION fun.to_text(typ.pair) AS ASSIGNMENT;
CREATE CAST (text AS typ.pair) WITH FUNCTION fun.to_pair(text, int, boolean) AS IMPLICIT;
CREATE CAST (typ.mood AS varchar) WITH INOUT;
COMMENT ON CAST (typ.pair AS text) IS 'cast';
