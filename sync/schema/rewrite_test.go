package schema

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// lines are the lines of a file of testdata.
func lines(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// mappingAll maps schema s, and relations t and q in it by themselves.
func mappingAll(columns ...Column) *Mapper {
	sel := Selection{All: true, Map: Mapping{
		Schemas: []SchemaMap{{From: "s", To: "New"}},
		Relations: []RelationMap{
			{From: Name{"s", "t"}, To: Name{"o", "table"}}, {From: Name{"s", "q"}, To: Name{"New", "q'2"}}, {From: Name{"s", "u"}, To: Name{"s", "u"}},
		},
	}}
	for _, c := range columns {
		sel.Rules = append(sel.Rules, TableRule{Table: Name{"s", "t"}, Columns: []ColumnRule{{Name: c.Name, As: c.Target}}})
	}
	t := Table{OID: 1, Name: Name{"s", "t"}, Target: Name{"o", "table"}, Kind: KindTable, Columns: columns}
	inv := &Inventory{
		Tables: []Table{t}, byName: map[Name]int{t.Name: 0}, Sequences: []Sequence{{Name: Name{"s", "q"}, Target: Name{"New", "q'2"}}},
		indexes: map[Name]ownedIndex{
			{"s", "i"}: {Name{"s", "t"}, false}, {"s", "pk"}: {Name{"s", "t"}, true}, {"s", "iu"}: {Name{"s", "u"}, false},
			{"s", "iv"}: {Name{"s", "v"}, false},
		},
	}
	return NewMapper(sel, inv)
}

// TestFaithful prints everything of testdata as the parser reads it.
func TestFaithful(t *testing.T) {
	t.Parallel()
	m := NewMapper(Selection{}, &Inventory{})
	for _, expr := range lines(t, "expressions.txt") {
		if _, err := m.rewrite("SELECT " + expr); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
	for _, sql := range lines(t, "statements.txt") {
		if _, err := m.rewrite(sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestAnyName puts any names into every kind of statement and maps them there and back.
func TestAnyName(t *testing.T) {
	t.Parallel()
	statements := lines(t, "statements.txt")
	name := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"select", `"`, "'", `\`, "$$", "$a$", ".", " ", "ä", "A", "b", "user", "0", ";", "--", "/*", "::", "\n", "日"}).Draw(t, "piece") +
			rapid.StringN(0, 12, 30).Filter(func(s string) bool { return !strings.ContainsRune(s, 0) }).Draw(t, "rest")
	})
	rapid.Check(t, func(t *rapid.T) {
		sql := rapid.SampledFrom(statements).Draw(t, "statement")
		schema, relation := name.Draw(t, "schema"), name.Draw(t, "relation")
		to := Name{schema, relation}
		forth := NewMapper(Selection{Map: Mapping{
			Schemas: []SchemaMap{{From: "s", To: schema}}, Relations: []RelationMap{{From: Name{"s", "t"}, To: to}},
		}}, &Inventory{})
		back := NewMapper(Selection{Map: Mapping{
			Schemas: []SchemaMap{{From: schema, To: "s"}}, Relations: []RelationMap{{From: to, To: Name{"s", "t"}}},
		}}, &Inventory{})
		there, err := forth.rewrite(sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		again, err := back.rewrite(there)
		if err != nil {
			t.Fatalf("%s: %v", there, err)
		}
		want, err := Canonical(sql, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(again, "_key") { // two times hashed and cut off
			return
		}
		got, err := Canonical(again, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\n%s\n%s", sql, there, diff)
		}
	})
}

// TestRewrittenStatements compares what becomes of testdata with testdata/rewritten.txt.
func TestRewrittenStatements(t *testing.T) {
	t.Parallel()
	m := mappingAll(Column{Name: "a", Target: "A 2"}, Column{Name: "b", Target: "b"})
	var b strings.Builder
	show := func(sql string) {
		got, err := m.Statement(&Entry{}, sql)
		if err != nil {
			got = "refused: " + err.Error()
		}
		fmt.Fprintf(&b, "%s\n→ %s\n\n", sql, got)
	}
	for _, sql := range lines(t, "statements.txt") {
		show(sql)
	}
	for _, sql := range lines(t, "references.txt") {
		show(sql)
	}
	for _, sql := range lines(t, "newer.txt") {
		show(sql)
	}
	const file = "testdata/rewritten.txt"
	if *rewriteTranscripts {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

var rewriteTranscripts = flag.Bool("rewrite", false, "write what is compared into testdata")

func TestHashedNames(t *testing.T) {
	t.Parallel()
	m := mappingAll()
	table := Name{"s", "t"}
	for _, test := range []struct{ original, end string }{
		{"by_a", "_by_a_key"},
		{strings.Repeat("x", 63), "_" + strings.Repeat("x", 44) + "_key"},
		{strings.Repeat("ä", 31), "_" + strings.Repeat("ä", 22) + "_key"},
		{"x" + strings.Repeat("ä", 31), "_x" + strings.Repeat("ä", 21) + "_key"},
		{strings.Repeat("日", 21), "_" + strings.Repeat("日", 14) + "_key"},
	} {
		index, constraint := m.IndexName(table, test.original), m.ConstraintName(table, test.original)
		if !strings.HasPrefix(index, "i_") || !strings.HasPrefix(constraint, "c_") || !strings.HasSuffix(index, test.end) || index[1:] != constraint[1:] {
			t.Errorf("%s: %s and %s", test.original, index, constraint)
		}
		if len(index) > 63 {
			t.Errorf("%s has %d bytes", index, len(index))
		}
	}
	names := map[string]Name{}
	for _, n := range []Name{{"a_b", "c"}, {"a", "b_c"}, {`a"_"b`, "c"}, {"a", `b"_"c`}, {"a", "c"}} {
		name := hashedName("i_", n, "same")
		if other, ok := names[name]; ok {
			t.Errorf("%s and %s have the same name", n, other)
		}
		names[name] = n
	}
	if got := m.IndexName(Name{"other", "t"}, "i"); got != "i" {
		t.Errorf("an index of a table that is not mapped is %s", got)
	}
}

// TestSharedConstraints hashes a constraint that several tables have by inheritance with the topmost of them.
func TestSharedConstraints(t *testing.T) {
	t.Parallel()
	a, b, child, leaf := Name{"s", "a"}, Name{"s", "b"}, Name{"s", "child"}, Name{"r", "leaf"}
	inv := &Inventory{byName: map[Name]int{}, inheritable: map[inheritable]bool{}}
	for _, x := range []struct {
		name    Name
		parents []Name
	}{{a, nil}, {b, nil}, {child, []Name{b, a}}, {leaf, []Name{child}}} {
		inv.byName[x.name] = len(inv.Tables)
		inv.Tables = append(inv.Tables, Table{Name: x.name, Target: Name{"new", x.name.Name}, Parents: x.parents})
		inv.inheritable[inheritable{x.name, "shared"}] = true
	}
	inv.inheritable[inheritable{leaf, "own"}] = true
	m := NewMapper(Selection{All: true, Map: Mapping{Schemas: []SchemaMap{{From: "s", To: "new"}, {From: "r", To: "new"}}}}, inv)
	want := hashedName("c_", a, "shared")
	for _, n := range []Name{a, b, child, leaf} {
		if got := m.ConstraintName(n, "shared"); got != want {
			t.Errorf("%s: %s, want %s", n, got, want)
		}
	}
	if got := m.ConstraintName(leaf, "own"); got != hashedName("c_", leaf, "own") {
		t.Errorf("its own: %s", got)
	}
}

func TestUnconcernedStatements(t *testing.T) {
	t.Parallel()
	m := mappingAll()
	for _, sql := range []string{"", "CREATE   TABLE public.x (a int);  ", "this is not even a statement"} {
		if strings.Contains(sql, "s") && m.concerns(sql) {
			continue
		}
		if got, err := m.Statement(&Entry{}, sql); err != nil || got != sql {
			t.Errorf("%q became %q, %v", sql, got, err)
		}
	}
	unmapped := NewMapper(Selection{All: true}, &Inventory{})
	for _, sql := range []string{"ALTER TABLE s.t ADD x", "nonsense s.t"} {
		if got, err := unmapped.Statement(&Entry{}, sql); err != nil || got != sql {
			t.Errorf("%q became %q, %v", sql, got, err)
		}
	}
}

// TestLargeStatements are statements as big and as deep as they get.
func TestLargeStatements(t *testing.T) {
	t.Parallel()
	m := mappingAll()
	var columns, unions []string
	for i := range 1600 {
		columns = append(columns, fmt.Sprintf("c%d s.t DEFAULT nextval('s.q'::regclass)", i))
	}
	for range 300 {
		unions = append(unions, "SELECT t.a FROM s.t")
	}
	nested := strings.Repeat("(", 300) + "t.a" + strings.Repeat(" + 1)", 300)
	for _, sql := range []string{
		"CREATE TABLE s.big (" + strings.Join(columns, ", ") + ")",
		"CREATE VIEW s.big AS " + strings.Join(unions, " UNION ALL "),
		"CREATE VIEW s.deep AS SELECT " + nested + " AS a FROM s.t",
		"CREATE VIEW s.deep AS SELECT 1 FROM " + strings.Repeat("(", 200) + "s.t" + strings.Repeat(" JOIN s.t USING (a))", 200),
		"CREATE VIEW s.deep AS " + strings.Repeat("SELECT a FROM (", 200) + "SELECT 1 AS a FROM s.t" + strings.Repeat(") x", 200),
		"CREATE FUNCTION s.f() RETURNS int LANGUAGE plpgsql AS '" + strings.Repeat("x", 4<<20) + "'",
	} {
		got, err := m.Statement(&Entry{}, sql)
		if err != nil {
			t.Fatalf("%.60s: %v", sql, err)
		}
		if strings.Contains(got, "s.t") || strings.Contains(got, "'s.") || strings.Contains(got, "piece") {
			t.Errorf("%.200s", got)
		}
	}
	// Too deep for the parser: refused, and it goes on.
	deep := "CREATE VIEW s.deep AS SELECT " + strings.Repeat("(", 20000) + "1" + strings.Repeat(" + 1)", 20000) + " AS a FROM s.t"
	if _, err := m.Statement(&Entry{}, deep); err == nil {
		t.Error("the parser has no limit")
	}
	if _, err := m.Statement(&Entry{}, "CREATE TABLE s.t (a int)"); err != nil {
		t.Error(err)
	}
}

// TestParserMemory shows what is left of the parser's quarter of a gigabyte once it is loaded.
func TestParserMemory(t *testing.T) {
	if _, err := mappingAll().Statement(&Entry{}, "CREATE TABLE s.t (a int)"); err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("heap in use %d MB, not returned to the system %d MB", m.HeapInuse>>20, (m.HeapIdle-m.HeapReleased)>>20)
	if held := m.HeapInuse + m.HeapIdle - m.HeapReleased; held > 200<<20 {
		t.Errorf("%d MB are held", held>>20)
	}
}
