package schema_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// patterns are compared with what psql's \dt says of them.
var patterns = []string{
	"*", "*.*", "shop.*", "shop.ord*", "SHOP.ORD*", `"SHOP".*`, `shop."Ord*"`, `shop."Ord"*`, "shop.order?", "shop.?????", "orders", "ORDERS",
	`"We ird".?`, `"We ird".*`, "we?ird.*", `*."a.b"`, `*."a""b"`, "shop.(a|orders)", "shop.[ao]*", "shop.a$", "*.a$*", "shop.x[]",
	"shop.x_", "sh*.or*s", `sh"op".o"rd"ers`, "shop.ünï*", `*."line` + "\n" + `break"`, "*.line?break", "shop.a|b", "shop.o{1}rders", "none.*", "*.none",
	"shop.or+ders", "shop.^orders",
}

const patternTables = `
CREATE SCHEMA shop; CREATE SCHEMA "SHOP"; CREATE SCHEMA "We ird";
CREATE TABLE public.orders (); CREATE TABLE public.items ();
CREATE TABLE shop.orders (); CREATE TABLE shop."Orders" (); CREATE TABLE shop."Ord*" (); CREATE TABLE shop.order1 (); CREATE TABLE shop.a ();
CREATE TABLE shop."a$" (); CREATE TABLE shop.a$x (); CREATE TABLE shop."x[]" (); CREATE TABLE shop.x_ (); CREATE TABLE shop."ünïcode" (); CREATE TABLE shop.b ();
CREATE TABLE "SHOP".orders (); CREATE TABLE "SHOP"."ORDERS" ();
CREATE TABLE "We ird".q (); CREATE TABLE "We ird"."a.b" (); CREATE TABLE "We ird"."a""b" (); CREATE TABLE "We ird"."line
break" ();`

func TestPatternsAsPsql(t *testing.T) {
	t.Parallel()
	src := newDatabase(t, testenv.Shared(t), patternTables)
	var all []schema.Name
	for _, table := range src.read(t, schema.Selection{All: true}).Tables {
		all = append(all, table.Name)
	}
	for _, text := range patterns {
		p, err := schema.ParsePattern(text)
		if err != nil {
			t.Errorf("pattern %q: %v", text, err)
			continue
		}
		var got []string
		for _, name := range all {
			if p.Matches(name) {
				got = append(got, name.String())
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(src.psqlTables(t, text), got); diff != "" {
			t.Errorf("pattern %q (-psql +ours):\n%s", text, diff)
		}
	}
}

// psqlTables returns the tables, but for those of the system, that psql's \dt finds.
func (s source) psqlTables(t *testing.T, pattern string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "psql", "-X", "-A", "-t", "-F\x01", "-R\x02", "-d", s.cluster.ConnString(s.db), "-c", `\dt `+pattern)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var names []string
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\x02") {
		if fields := strings.Split(line, "\x01"); len(fields) == 4 && schema.ExcludedSchema(fields[0]) == "" {
			names = append(names, schema.Name{Schema: fields[0], Name: fields[1]}.String())
		}
	}
	slices.Sort(names)
	return names
}

func TestImproperPatterns(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "empty", `shop."x`: "unterminated", "a.b.c": "at most one dot", "shop.": "empty", ".x": "empty", "shop.(": "improper pattern",
		"shop.[": "improper pattern", `shop.\orders`: "improper pattern",
	} {
		if _, err := schema.ParsePattern(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pattern %q: error %v", text, err)
		}
	}
}
