package sync

import (
	"strings"
	"testing"

	"pgsyncd/catalog"
	"pgsyncd/sync/incremental"
)

// TestResetAdvice: nobody may believe that rows are copied again where they are not.
func TestResetAdvice(t *testing.T) {
	t.Parallel()
	for mode, copies := range map[string]bool{catalog.ModeFullAndIncremental: true, catalog.ModeIncremental: false} {
		r := &runner{task: catalog.Task{Name: "shop", Mode: mode}}
		hint := r.explain(incremental.ErrSlotLost).Hint
		if strings.Contains(hint, "rows are copied again") != copies || strings.Contains(hint, "copies nothing") == copies || !strings.Contains(hint, "RESET SYNC TASK shop;") {
			t.Errorf("%s: %s", mode, hint)
		}
	}
}
