package compare_test

import (
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/compare"
	"pgsyncd/sync/schema"
)

// TestComparisonBesideOthers: in a table to which the task appends, only what the destination lacks is known to be a difference. More rows, and
// equally many, may have others among them.
func TestComparisonBesideOthers(t *testing.T) {
	t.Parallel()
	l := setup(t)
	var err error
	if l.task, err = l.catalog.CreateTask(t.Context(), catalog.Task{
		Name: "appends", Mode: catalog.ModeFull, Scope: "FOR ALL", Definition: []byte(`{"all": true}`), SQL: "CREATE SYNC TASK", CreatedBy: "admin",
		Source: "host=a", Destination: "host=b", SourceText: "host=a", DestinationText: "host=b", Options: map[string]string{"existing_objects": "append"},
	}); err != nil {
		t.Fatal(err)
	}
	l.fire(completed...)
	l.both("CREATE TABLE more(id int PRIMARY KEY); CREATE TABLE fewer(id int PRIMARY KEY); CREATE TABLE same(id int PRIMARY KEY); CREATE TABLE other(id int PRIMARY KEY, v text); CREATE TABLE swapped(id int PRIMARY KEY)")
	l.exec(l.s, "INSERT INTO more VALUES (1); INSERT INTO fewer VALUES (1), (2); INSERT INTO same VALUES (1); INSERT INTO other VALUES (1, 'a'); INSERT INTO swapped VALUES (1)")
	l.exec(l.d, "INSERT INTO more VALUES (1), (9); INSERT INTO fewer VALUES (1); INSERT INTO same VALUES (1); INSERT INTO other VALUES (1, 'b'), (9, 'c'); INSERT INTO swapped VALUES (9)")
	for kind, wanted := range map[string]map[string]string{
		compare.TypeRows:   {"more": undecided, "fewer": different, "same": undecided, "other": undecided, "swapped": undecided},
		compare.TypeValues: {"more": undecided, "fewer": different, "same": equal, "other": different, "swapped": different},
	} {
		got := l.compare(kind)
		for name, want := range wanted {
			r := got[schema.Name{Schema: "public", Name: name}.String()]
			if r.Result != want || want != equal && !strings.Contains(r.Remarks, "rows of others as well") {
				t.Errorf("%s: %+v, want %s", kind, r, want)
			}
		}
	}
}
