//go:build versions

package compare_test

import (
	"slices"
	"testing"

	"pgsyncd/compare"
	"pgsyncd/testenv"
)

// TestVersions compares across servers that have no fast hash in common and print floats differently.
func TestVersions(t *testing.T) {
	t.Parallel()
	old := testenv.Start(t, testenv.Config{Version: "10"})
	l := setupOn(t, old, testenv.Shared(t), completed...)
	l.both(`CREATE TYPE pair AS (a float8, b text); CREATE TABLE same(id int, v text); INSERT INTO same VALUES (1, 'x'), (2, NULL);
		CREATE TABLE floats(v float8); INSERT INTO floats VALUES (0.1), ('NaN'), ('-0');
		CREATE TABLE pairs(v pair); INSERT INTO pairs VALUES ('(0.1,x)')`)
	l.both("CREATE TABLE other(id int, v text)")
	l.exec(l.s, "INSERT INTO other VALUES (1, 'a'), (2, 'b')")
	l.exec(l.d, "INSERT INTO other VALUES (1, 'b'), (2, 'a')")
	got := l.compare(compare.TypeValues)
	for table, want := range map[string]string{"same": equal, "floats": equal, "other": different, "pairs": compare.ResultUndecided} {
		if r := got[`"public"."`+table+`"`]; r.Result != want {
			t.Errorf("%s: %+v, want %s", table, r, want)
		}
	}
}

// TestVersionsRows finds rows that differ in tables of old and new servers.
func TestVersionsRows(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"9.6", "10", "13", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			l := setupOn(t, testenv.Start(t, testenv.Config{Version: version}), testenv.Shared(t), completed...)
			l.both(`CREATE TABLE t(id int PRIMARY KEY, v text, m money); INSERT INTO t SELECT i, 'v' || i, i::money FROM generate_series(1, 70000) AS i`)
			l.exec(l.d, "UPDATE t SET v = NULL WHERE id = 17; DELETE FROM t WHERE id = 69999; INSERT INTO t VALUES (70001, '', NULL)")
			for name, options := range paces {
				got := l.outcome(options)
				slices.Sort(got.Rows)
				if want := []string{"different id=17 v", "extra id=70001 ", "missing id=69999 "}; !slices.Equal(got.Rows, want) {
					t.Errorf("%s: %+v", name, got)
				}
			}
		})
	}
}

// TestVersionsFrozen reads both sides at one position, whatever the servers' versions.
func TestVersionsFrozen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, destination, why string }{
		{"10", "9.6", ""}, {"12", "18", ""}, {"13", "10", ""}, {"18", "13", ""}, {"9.6", "18", "no temporary slots"},
	} {
		t.Run(c.source+" to "+c.destination, func(t *testing.T) {
			t.Parallel()
			src, dst := testenv.Start(t, testenv.Config{Version: c.source}), testenv.Start(t, testenv.Config{Version: c.destination})
			l, st := heldOn(t, src, dst, "CREATE TABLE t(id int); INSERT INTO t VALUES (1); CREATE TABLE other(id int)", func(l *lab, n int) error {
				switch n {
				case 1:
					l.exec(l.s, "INSERT INTO t VALUES (2)")
					l.exec(l.d, "INSERT INTO t VALUES (3), (4); TRUNCATE other")
				case 2:
					l.exec(l.s, "TRUNCATE other")
				}
				return nil
			})
			l.both("INSERT INTO other VALUES (7)")
			if c.why != "" {
				l.exec(l.s, "INSERT INTO t VALUES (2)")
				st.onWait = func(int) error { st.count("t"); return nil }
				l.expect(compare.TypeValues, undecided, c.why)
				return
			}
			results := l.compare(compare.TypeValues, table, `"public"."other"`)
			if results[table].Result != equal || results[`"public"."other"`].Result != equal {
				t.Errorf("%+v", results)
			}
			l.moments(st, 3)
		})
	}
}
