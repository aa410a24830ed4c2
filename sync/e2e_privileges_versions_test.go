//go:build versions

package sync_test

import "testing"

// Memberships were given options of their own in 16, and whoever creates a role administers it since.
func TestVersionsPrivileges(t *testing.T) {
	for _, pair := range [][2]string{{"11", "13"}, {"11", "16"}, {"15", "18"}} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) { privilegesCarried(t, pair[0], pair[1]) })
	}
}
