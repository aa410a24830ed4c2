package endpoint_test

import (
	"testing"

	"pgsyncd/sync/endpoint"
)

func TestSlotsThatCanBeMoved(t *testing.T) {
	t.Parallel()
	for version, want := range map[int]bool{
		90600: false, 110022: false, 120022: false, 130020: false, 130021: true, 150012: false, 150013: true, 170004: false, 170005: true, 180000: true, 190001: true,
	} {
		if got := endpoint.MovesSlots(version); got != want {
			t.Errorf("%d: %t", version, got)
		}
	}
}
