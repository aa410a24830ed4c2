package precheck_test

import (
	"strings"
	"testing"

	"pgsyncd/sync/precheck"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// What tables use and a task of tables does not bring has to be there.
func TestRequirements(t *testing.T) {
	t.Parallel()
	src, dst := testenv.SharedPair(t)
	f := setup(t, src, dst)
	f.in.Source, f.in.Destination = superuser(t, src, f.srcDB), superuser(t, dst, f.dstDB)
	const made = `CREATE SCHEMA lib; CREATE FUNCTION lib.code(int) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1::text';
		CREATE FUNCTION lib."Odd name"() RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE OPERATOR lib.### (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
		CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;`
	f.source(made + `CREATE TABLE uses (id int PRIMARY KEY DEFAULT lib."Odd name"(), a int CHECK (a OPERATOR(lib.###) 1 > 0)) USING heap2;
		CREATE INDEX ON uses (lib.code(a))`)
	defer func() {
		f.source("DROP TABLE uses; DROP ACCESS METHOD heap2")
	}()
	f.in.Selection = schema.Selection{Tables: []schema.Name{{Schema: "public", Name: "uses"}}}
	open := f.open()
	for item, want := range map[string][]string{
		"functions of tables": {"lib.code(integer) (for", `lib."Odd name"()`, "lib.###(integer,integer)"},
		"access methods":      {"heap2 (for"},
	} {
		for _, part := range want {
			if r := open[item]; r.Outcome != precheck.Failed || !strings.Contains(r.Found, part) {
				t.Errorf("%s: %s is missing: %+v", item, part, r)
			}
		}
	}
	f.destination(made)
	defer f.destination("DROP ACCESS METHOD heap2")
	for _, item := range []string{"functions of tables", "access methods"} {
		if r, failed := f.open()[item]; failed {
			t.Errorf("%+v", r)
		}
	}
	f.in.Selection = f.all
	if r, failed := f.open()["functions of tables"]; failed {
		t.Errorf("%+v", r)
	}
}
