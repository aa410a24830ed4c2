//go:build versions

package schema_test

import (
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
)

// TestMappedVersions maps what the pg_dump of every version prints. It is behind a build tag because it fetches servers.
func TestMappedVersions(t *testing.T) {
	withClients(t, "17", "18")
	for _, test := range []struct{ version, sql string }{
		{"9.5", "old.sql"},
		{"9.6", "old.sql"},
		{"10", "old.sql"},
		{"11", "old.sql"},
		{"12", "old.sql"},
		{"13", "old.sql"},
		{"14", "rich.sql"},
		{"16", "mapped.sql"},
		{"17", "mapped.sql"},
		{"18", "mapped.sql"},
		{"18", "newer.sql"},
	} {
		t.Run(test.version+" "+test.sql, func(t *testing.T) {
			cluster := testenv.Start(t, testenv.Config{Version: test.version})
			src := newDatabase(t, cluster, testSQL(t, test.sql))
			sel := mappedEverything(t, src)
			roundTripOfAll(t, src, newDatabase(t, cluster, ""), sel)
			mapColumns(t, src, &sel)
			refused := roundTrip(t, src, newDatabase(t, cluster, ""), sel)
			want := map[string]string{}
			if test.sql == "mapped.sql" {
				want = ofRow
			}
			if diff := cmp.Diff(want, refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
			if test.sql != "mapped.sql" {
				sel = schema.Selection{All: true, Map: schema.Mapping{Schemas: []schema.SchemaMap{{From: "public", To: "main"}}}}
				roundTripOfAll(t, src, newDatabase(t, cluster, ""), sel)
			}
		})
	}
}
