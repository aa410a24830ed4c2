//go:build versions

package ledger_test

import (
	"testing"

	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"
)

// TestVersionsIdentify tells the server of every version that says so, and a promoted standby of it.
func TestVersionsIdentify(t *testing.T) {
	for _, version := range []string{"9.5", "9.6", "10", "18"} {
		t.Run(version, func(t *testing.T) {
			c := testenv.Start(t, testenv.Config{Version: version})
			s, err := ledger.Identify(t.Context(), c.Connect(t, "postgres"))
			if err != nil || (s.SystemID != "") != (version != "9.5") || (s.Timeline == 1) != (version != "9.5") {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}
