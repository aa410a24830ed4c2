package schema_test

import (
	"testing"

	"pgsyncd/sync/schema"
)

// Two ways to write one thing are the same, two things are not.
func TestCanonicalDefinition(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b   string
		oldest int
		same   bool
	}{
		{`CREATE VIEW v AS SELECT t.a FROM s.t`, `CREATE VIEW v AS SELECT a FROM s.t t`, 150000, true},
		{`CREATE VIEW v AS SELECT t.a FROM s.t, s.u`, `CREATE VIEW v AS SELECT u.a FROM s.t, s.u`, 150000, false},
		{`CREATE VIEW v AS SELECT t.a FROM s.t WHERE EXISTS (SELECT FROM u t WHERE t.b = 1)`, `CREATE VIEW v AS SELECT a FROM s.t WHERE EXISTS (SELECT FROM u t WHERE b = 1)`, 150000, false},
		{`ALTER TABLE t ADD CHECK ((v)::text = ANY ((ARRAY['a'::varchar, 'b'::varchar])::text[]))`, `ALTER TABLE t ADD CHECK (v::text = ANY (ARRAY[('a'::varchar)::text, ('b'::varchar)::text]))`, 150000, true},
		{`ALTER TABLE t ADD CHECK (v = ANY (ARRAY['a', 'b']))`, `ALTER TABLE t ADD CHECK (v = ANY (ARRAY['b', 'a']))`, 150000, false},
		{`CREATE TABLE t (a numeric DEFAULT NULL)`, `CREATE TABLE t (a numeric DEFAULT NULL::numeric)`, 150000, true},
		{`CREATE TABLE t (a numeric DEFAULT NULL)`, `CREATE TABLE t (a numeric)`, 150000, true},
		{`CREATE TABLE t (a numeric DEFAULT NULL) INHERITS (u)`, `CREATE TABLE t (a numeric) INHERITS (u)`, 150000, false},
		{`CREATE TABLE t ("a" "json", b "char")`, `CREATE TABLE t (a json, b "char")`, 150000, true},
		{`CREATE TABLE t (a "char")`, `CREATE TABLE t (a char)`, 150000, false},
		{`CREATE VIEW v AS SELECT x.b FROM XMLTABLE('/a' PASSING ('<a/>'::xml) COLUMNS b int) x`, `CREATE VIEW v AS SELECT b FROM XMLTABLE('/a' PASSING ('<a/>'::xml) COLUMNS b int) x`, 150000, true},
		{`CREATE TABLE t (a numeric DEFAULT 1.0)`, `CREATE TABLE t (a numeric DEFAULT 1.00)`, 150000, false},
		{`CREATE TABLE t (a int, b int)`, `CREATE TABLE t (b int, a int)`, 150000, false},
		{`CREATE TABLE t (a int, b int) INHERITS (u)`, `CREATE TABLE t (b int, a int) INHERITS (u)`, 150000, true},
		{`CREATE INDEX i ON t ((extract(epoch FROM a)))`, `CREATE INDEX i ON t (date_part('epoch'::text, a))`, 130000, true},
		{`CREATE INDEX i ON t ((a AT TIME ZONE 'UTC'))`, `CREATE INDEX i ON t (timezone('UTC', a))`, 130000, true},
		{`ALTER TABLE t ADD CHECK ((a > 1 AND b > 1) AND c > 1)`, `ALTER TABLE t ADD CHECK (a > 1 AND (b > 1 AND c > 1))`, 90400, true},
		{`ALTER TABLE t ADD CHECK (a > 1 AND b > 1 OR c > 1)`, `ALTER TABLE t ADD CHECK (a > 1 AND (b > 1 OR c > 1))`, 90400, false},
		{`CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE PROCEDURE f()`, `CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()`, 100000, true},
		{`CREATE TYPE r AS RANGE (subtype = int, multirange_type_name = s.m)`, `CREATE TYPE r AS RANGE (subtype = int)`, 130000, true},
		{`CREATE TYPE r AS RANGE (subtype = int, multirange_type_name = s.m)`, `CREATE TYPE r AS RANGE (subtype = int)`, 140000, false},
		{`CREATE TABLE t (a regclass DEFAULT '"s".t'::regclass)`, `CREATE TABLE t (a regclass DEFAULT 's."t"'::regclass)`, 150000, true},
		{`CREATE TABLE t (a regclass DEFAULT 's.t'::regclass)`, `CREATE TABLE t (a regclass DEFAULT 's."T"'::regclass)`, 150000, false},
		{`CREATE TABLE t (a regprocedure DEFAULT 'f(int[], "s".t)'::regprocedure)`, `CREATE TABLE t (a regprocedure DEFAULT 'f(integer[],s.t)'::regprocedure)`, 150000, true},
		{`CREATE TABLE t (a regoperator DEFAULT 's.===(s.t, int)'::regoperator)`, `CREATE TABLE t (a regoperator DEFAULT 's.===("s"."t",bigint)'::regoperator)`, 150000, false},
		{`CREATE PROCEDURE p(IN a integer, INOUT b text) LANGUAGE sql AS ''`, `CREATE PROCEDURE p(a int, INOUT b text) LANGUAGE sql AS ''`, 130000, true},
		{`CREATE POLICY p ON t TO a, b`, `CREATE POLICY p ON t TO b, a`, 150000, true},
		{`CREATE TABLE "t" ("a" int, CONSTRAINT "own" NOT NULL "a" NO INHERIT)`, `CREATE TABLE "t" ("a" int, CONSTRAINT "own" NOT NULL "a")`, 180000, false},
		{`CREATE TABLE "t" ("a" int GENERATED ALWAYS AS (1) VIRTUAL)`, `CREATE TABLE "t" ("a" int GENERATED ALWAYS AS (1))`, 180000, true},
		{`CREATE TABLE "t" ("a" int GENERATED ALWAYS AS (1) VIRTUAL)`, `CREATE TABLE "t" ("a" int GENERATED ALWAYS AS (1) STORED)`, 180000, false},
	} {
		a, errA := schema.CanonicalDefinition(test.a, test.oldest)
		b, errB := schema.CanonicalDefinition(test.b, test.oldest)
		if same := errA == nil && errB == nil && a == b; same != test.same {
			t.Errorf("the same: %t, want %t (%v, %v)\n%s\n%s", same, test.same, errA, errB, test.a, test.b)
		}
	}
}
