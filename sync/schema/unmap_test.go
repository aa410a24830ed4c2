package schema_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// inverse maps everything back.
func inverse(sel schema.Selection, inv *schema.Inventory) schema.Selection {
	back := schema.Selection{All: true}
	for _, m := range sel.Map.Schemas {
		back.Map.Schemas = append(back.Map.Schemas, schema.SchemaMap{From: m.To, To: m.From})
	}
	for _, m := range sel.Map.Relations {
		back.Map.Relations = append(back.Map.Relations, schema.RelationMap{From: m.To, To: m.From})
	}
	for _, t := range inv.Tables {
		rule := schema.TableRule{Table: t.Target}
		different := false
		for _, c := range t.Columns {
			rule.Columns = append(rule.Columns, schema.ColumnRule{Name: c.Target, As: c.Name})
			different = different || c.Target != c.Name
		}
		if different {
			back.Rules = append(back.Rules, rule)
		}
	}
	return back
}

// notCompared are entries that a plan does not carry, or makes in its own way.
var notCompared = []string{"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "SCHEMA", "ACL", "DEFAULT ACL"}

// canonical prints the statements of an archive, each entry's with its key before it.
func canonical(t *testing.T, entries []schema.Entry, rewrite func(*schema.Entry) (string, error), columns map[schema.Name][]string) []string {
	t.Helper()
	var list []string
	for i := range entries {
		e := &entries[i]
		if e.Definition == "" || slices.Contains(notCompared, e.Desc) {
			continue
		}
		sql, err := rewrite(e)
		if err != nil {
			t.Errorf("%s: %v\n%s", e.Key(), err, e.Definition)
			continue
		}
		statements, err := schema.Canonical(sql, columns)
		if err != nil {
			t.Errorf("%s: %v\n%s", e.Key(), err, sql)
			continue
		}
		list = append(list, statements...)
	}
	slices.Sort(list)
	return list
}

// roundTrip builds a source's structure under other names and maps what is dumped from there back again.
func roundTrip(t *testing.T, src, dst source, sel schema.Selection) map[string]string {
	t.Helper()
	archive, plan := src.plan(t, sel, schema.PlanOptions{Indexes: true})
	inv := src.read(t, sel)
	refused, without := map[string]string{}, map[int]bool{}
	for _, list := range []*[]schema.Entry{&plan.Before, &plan.Indexes, &plan.Constraints, &plan.After} {
		*list = slices.DeleteFunc(*list, func(e schema.Entry) bool {
			if e.Refused != "" {
				refused[e.Key()] = e.Refused
			}
			without[e.ID] = e.Refused != "" || slices.ContainsFunc(e.Depends, func(id int) bool { return without[id] })
			return without[e.ID]
		})
	}
	dst.build(t, archive, plan)

	back := inverse(sel, inv)
	there, forth := schema.NewMapper(sel, inv), schema.NewMapper(back, dst.read(t, back))
	var names []string
	add := func(hashed, original string) {
		double := strings.NewReplacer(`"`, `""`)
		names = append(names, hashed, original, double.Replace(hashed), double.Replace(original))
	}
	for _, x := range src.owned(t) {
		if x.index {
			add(forth.IndexName(target(inv, sel, x.table), there.IndexName(x.table, x.name)), x.name)
		} else {
			add(forth.ConstraintName(target(inv, sel, x.table), there.ConstraintName(x.table, x.name)), x.name)
		}
	}
	unhash := strings.NewReplacer(names...)
	columns := map[schema.Name][]string{}
	for _, table := range inv.Tables {
		for _, c := range table.Columns {
			columns[table.Name] = append(columns[table.Name], c.Name)
		}
	}
	made := slices.DeleteFunc(archive.Entries, func(e schema.Entry) bool {
		return without[e.ID] || slices.ContainsFunc(plan.Excluded, func(x schema.Excluded) bool {
			return x.Kind == e.Desc && x.Name == schema.Name{Schema: e.Namespace, Name: e.Tag}
		})
	})
	want := canonical(t, made, func(e *schema.Entry) (string, error) { return e.Definition, nil }, columns)
	got := canonical(t, dst.dump(t).Entries, func(e *schema.Entry) (string, error) {
		sql, err := forth.Statement(e, e.Definition)
		return unhash.Replace(sql), err
	}, columns)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("structure differs (-source +destination mapped back):\n%s", diff)
	}
	return refused
}

// roundTripOfAll is a roundTrip in which nothing is refused.
func roundTripOfAll(t *testing.T, src, dst source, sel schema.Selection) {
	t.Helper()
	if refused := roundTrip(t, src, dst, sel); len(refused) > 0 {
		t.Errorf("refused: %v", refused)
	}
}

// mapColumns gives every column of every table another name, but for typed tables: their columns are their type's.
func mapColumns(t *testing.T, src source, sel *schema.Selection) {
	t.Helper()
	for _, table := range src.read(t, *sel).Tables {
		if strings.HasSuffix(table.Name.Name, "typed") || table.Partition || len(table.Columns) == 0 {
			continue
		}
		rule := schema.TableRule{Table: table.Name}
		for _, c := range table.Columns {
			rule.Columns = append(rule.Columns, schema.ColumnRule{Name: c.Name, As: c.Name[:min(len(c.Name), 58)] + `"New`})
		}
		sel.Rules = append(sel.Rules, rule)
	}
}

func target(inv *schema.Inventory, sel schema.Selection, n schema.Name) schema.Name {
	if t := inv.Table(n); t != nil {
		return t.Target
	}
	return sel.Target(n)
}

// ownedName is an index or constraint of a table.
type ownedName struct {
	index bool
	table schema.Name
	name  string
}

func (s source) owned(t *testing.T) []ownedName {
	t.Helper()
	rows, err := s.conn.Query(t.Context(), `
SELECT true, n.nspname, t.relname, c.relname FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = t.relnamespace
 WHERE t.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT false, n.nspname, t.relname, o.conname FROM pg_constraint o JOIN pg_class t ON t.oid = o.conrelid
  JOIN pg_namespace n ON n.oid = t.relnamespace WHERE t.oid >= 16384`)
	if err != nil {
		t.Fatal(err)
	}
	var list []ownedName
	for rows.Next() {
		var x ownedName
		if err := rows.Scan(&x.index, &x.table.Schema, &x.table.Name, &x.name); err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestMappedSchemas(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "rich.sql"))
	dst := newDatabase(t, destinationCluster, "")
	roundTripOfAll(t, src, dst, schema.Selection{All: true, Map: schema.Mapping{Schemas: []schema.SchemaMap{
		{From: "shop", To: `The "new' shop$$\`},
		{From: "archive", To: "select"},
		{From: `We ird.Ünïcode $"x"`, To: "plain"},
	}}})
}

func TestMappedRelations(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "rich.sql"))
	dst := newDatabase(t, destinationCluster, "")
	sel := schema.Selection{All: true}
	inv := src.read(t, sel)
	for _, table := range inv.Tables {
		sel.Map.Relations = append(sel.Map.Relations, schema.RelationMap{
			From: table.Name, To: schema.Name{Schema: table.Name.Schema, Name: "T '" + string([]rune(table.Name.Name)[1:])},
		})
	}
	for _, name := range []string{"numbers", "rich", "grouped", "first", "zz_base", "by_key"} {
		sel.Map.Relations = append(sel.Map.Relations, schema.RelationMap{From: n("shop." + name), To: n(`archive.new "` + name)})
	}
	roundTripOfAll(t, src, dst, sel)
}

func TestMappedColumns(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "rich.sql"))
	dst := newDatabase(t, destinationCluster, "")
	sel := schema.Selection{All: true, Map: schema.Mapping{Schemas: []schema.SchemaMap{{From: "shop", To: "Shop.2"}}}}
	mapColumns(t, src, &sel)
	roundTripOfAll(t, src, dst, sel)
}

// mappedEverything maps every schema and relation of testdata/mapped.sql.
func mappedEverything(t *testing.T, src source) schema.Selection {
	t.Helper()
	sel := schema.Selection{All: true, Map: schema.Mapping{Schemas: []schema.SchemaMap{
		{From: "app", To: "Lib'$$.\\x ä"}, {From: "Lib'$$.\\x ä", To: "select"}, {From: "select", To: `a"'"\b.$$`}, {From: "shop", To: "Shop.2"},
	}}}
	inv := src.read(t, sel)
	add := func(name, to schema.Name) {
		to.Name = "ß" + string([]rune(to.Name)[1:]) // some still have the old name as a part
		sel.Map.Relations = append(sel.Map.Relations, schema.RelationMap{From: name, To: to})
	}
	for _, x := range inv.Tables {
		add(x.Name, x.Target)
	}
	for _, x := range inv.Sequences {
		add(x.Name, x.Target)
	}
	for _, x := range inv.Matviews {
		add(x.Name, x.Target)
	}
	for _, x := range inv.Views {
		add(x.Name, x.Target)
	}
	return sel
}

func TestMappedEverything(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "mapped.sql"))
	dst := newDatabase(t, destinationCluster, "")
	roundTripOfAll(t, src, dst, mappedEverything(t, src))
}

// ofRow is what of testdata/mapped.sql is refused where all columns have other names.
var ofRow = map[string]string{
	`FUNCTION "app"."of_row(""app"".""item"", ""app"".""kind""[])"`: `field "label" may be a mapped column`,
}

func TestMappedEveryColumn(t *testing.T) {
	t.Parallel()
	sourceCluster, destinationCluster := testenv.SharedPair(t)
	src := newDatabase(t, sourceCluster, testSQL(t, "mapped.sql"))
	dst := newDatabase(t, destinationCluster, "")
	sel := mappedEverything(t, src)
	mapColumns(t, src, &sel)
	refused := roundTrip(t, src, dst, sel)
	if diff := cmp.Diff(ofRow, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

var hash = regexp.MustCompile(`\b([ic])_[0-9a-f]{12}_`)

// unhashed makes names of indexes and constraints readable. The lines are sorted, because pg_dump's order is that of names.
func unhashed(dump string) []string {
	lines := strings.Split(hash.ReplaceAllString(strings.ReplaceAll(dump, `"`, ""), "${1}_HASH_"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, ",")
	}
	slices.Sort(lines)
	return lines
}
