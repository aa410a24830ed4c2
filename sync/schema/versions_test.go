//go:build versions

package schema_test

import (
	"os"
	"regexp"
	"testing"

	"pgsyncd/sync/schema"
	"pgsyncd/testenv"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// withClients puts the client programs of newer versions into PATH.
func withClients(t *testing.T, versions ...string) {
	t.Helper()
	path := os.Getenv("PATH")
	for _, v := range versions {
		bin, err := testenv.ClientBin(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		path = bin + ":" + path
	}
	t.Setenv("PATH", path)
}

// versionLines are the lines of a plain dump that name versions.
var versionLines = regexp.MustCompile(`(?m)^-- Dumped (from|by) .*\n`)

// TestVersions moves structures between major versions. It is behind a build tag because it fetches servers from package registries.
func TestVersions(t *testing.T) {
	withClients(t, "17", "18")
	for _, test := range []struct{ source, destination, sql string }{
		{"9.6", "9.6", "old.sql"},
		{"9.6", "10", "old.sql"},
		{"9.6", "15", "old.sql"},
		{"9.6", "18", "old.sql"},
		{"10", "11", "old.sql"},
		{"10", "17", "old.sql"},
		{"11", "18", "old.sql"},
		{"12", "13", "old.sql"},
		{"13", "18", "old.sql"},
		{"14", "14", "rich.sql"},
		{"14", "18", "rich.sql"},
		{"15", "16", "rich.sql"},
		{"15", "18", "rich.sql"},
		{"16", "16", "rich.sql"},
		{"16", "17", "rich.sql"},
		{"17", "17", "rich.sql"},
		{"17", "18", "rich.sql"},
		{"18", "18", "rich.sql"},
	} {
		t.Run(test.source+" to "+test.destination, func(t *testing.T) {
			sourceCluster := testenv.Start(t, testenv.Config{Version: test.source})
			destinationCluster := testenv.Start(t, testenv.Config{Version: test.destination})
			src := newDatabase(t, sourceCluster, testSQL(t, test.sql))
			dst := newDatabase(t, destinationCluster, "")
			path, _, err := schema.FindPgDump(t.Context(), sourceCluster.VersionNum(), destinationCluster.VersionNum())
			if err != nil {
				t.Fatal(err)
			}
			sel := schema.Selection{All: true}
			archive, err := schema.Dump(t.Context(), schema.DumpConfig{Endpoint: src.endpoint, PgDump: path, WorkDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			src.exec(t, "CREATE ROLE somebody; SET ROLE somebody")
			src.read(t, sel) // whoever may connect
			src.exec(t, "RESET ROLE")
			inv := src.read(t, sel)
			plan, err := archive.Plan(inv, sel, schema.PlanOptions{Indexes: true})
			if err != nil {
				t.Fatal(err)
			}
			dst.build(t, archive, plan)
			// PostgreSQL 17 hands identity columns down to partitions, depending on the order in which they are attached.
			ignored := cmpopts.IgnoreFields(schema.Table{}, "OID", "Filenode", "Rows", "Bytes")
			if diff := cmp.Diff(inv.Tables, dst.read(t, sel).Tables, ignored,
				cmpopts.IgnoreFields(schema.Column{}, "Number", "TypeOID", "BinarySafe", "Identity")); diff != "" {
				t.Errorf("tables differ (-source +destination):\n%s", diff)
			}
			if test.source == test.destination && len(plan.Excluded) == 0 {
				want := versionLines.ReplaceAllString(src.plainDump(t), "")
				if diff := cmp.Diff(want, versionLines.ReplaceAllString(dst.plainDump(t), "")); diff != "" {
					t.Errorf("structure differs (-source +destination):\n%s", diff)
				}
			}
		})
	}
}

// TestVersionsOfSelections reads the catalogs of every version for a selection that asks much of them.
func TestVersionsOfSelections(t *testing.T) {
	withClients(t, "17", "18")
	for _, version := range []string{"9.5", "9.6", "10", "11", "12", "13", "14", "16", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			c := testenv.Start(t, testenv.Config{Version: version})
			omittedColumns(t, newDatabase(t, c, omittedSQL), newDatabase(t, c, ""))
		})
	}
}
