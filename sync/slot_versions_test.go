//go:build versions

package sync

import (
	"testing"

	"pgsyncd/testenv"
)

// TestVersionsSlot looks at a slot of every version, and fails it there.
func TestVersionsSlot(t *testing.T) {
	for _, version := range []string{"9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			cfg := testenv.Config{Version: version}
			if version != "9.5" && version != "9.6" && version != "10" && version != "11" && version != "12" {
				cfg.Settings = map[string]string{"max_slot_wal_keep_size": "64MB"}
			}
			c := testenv.Start(t, cfg)
			conn := c.Connect(t, c.Database(t))
			query := slotQuery(c.VersionNum())
			none, err := readSlot(t.Context(), conn, query, "s")
			if err != nil {
				t.Fatal(err)
			}
			if none.retained != nil || none.safe != nil || none.end == 0 || none.clock.IsZero() {
				t.Errorf("without a slot: %+v", none)
			}
			if _, err := conn.Exec(t.Context(), "SELECT pg_create_logical_replication_slot('s', 'test_decoding')"); err != nil {
				t.Fatal(err)
			}
			seen, err := readSlot(t.Context(), conn, query, "s")
			if err != nil {
				t.Fatal(err)
			}
			limited := cfg.Settings != nil
			if seen.retained == nil || *seen.retained < 0 || (seen.keep != nil) != limited || (seen.safe != nil) != limited || limited && *seen.keep != 64<<20 {
				t.Errorf("%+v", seen)
			}
			if err := endSlotHolder(t.Context(), conn, "s"); err != nil {
				t.Error(err)
			}
			if err := dropSlot(t.Context(), conn, "s"); err != nil {
				t.Error(err)
			}
		})
	}
}
