//go:build versions

package precheck_test

import (
	"testing"

	"pgsyncd/sync/precheck"
	"pgsyncd/sync/schema"
	"pgsyncd/testenv"
)

// TestVersions makes every check on every version. It is behind a build tag because it fetches servers from package
// registries.
func TestVersions(t *testing.T) {
	newest := testenv.Start(t, testenv.Config{Version: "18"})
	for _, version := range []string{"9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			src, dst := testenv.Start(t, testenv.Config{Version: version}), newest
			srcDB, dstDB := src.Database(t), dst.Database(t)
			src.Exec(t, srcDB, "CREATE TABLE orders (id bigserial PRIMARY KEY, code text UNIQUE, price money)")
			in := precheck.Input{
				Source: superuser(t, src, srcDB), Destination: superuser(t, dst, dstDB),
				Selection: schema.Selection{All: true}, Slot: "pgsyncd_t", Publication: "pgsyncd_t",
			}
			report(t, in, "pg_dump") // of 18 is not installed everywhere
			in.Incremental = true
			if src.VersionNum() >= 100000 {
				report(t, in, "pg_dump", "minor version", "long keys")
			}
			in.Incremental = false
			in.Source, in.Destination = in.Destination, in.Source
			in.ExistingObjects = precheck.ExistingAppend
			report(t, in, "pg_dump", "destination version")
		})
	}
}

// report complains about everything that did not pass, apart from some items.
func report(t *testing.T, in precheck.Input, except ...string) {
	t.Helper()
	skip := map[string]bool{}
	for _, item := range except {
		skip[item] = true
	}
	for _, r := range precheck.Run(t.Context(), in) {
		if r.Outcome != precheck.Passed && !skip[r.Item] {
			t.Errorf("%+v", r)
		}
	}
}
