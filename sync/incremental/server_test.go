package incremental

import (
	"errors"
	"testing"

	"pgsyncd/sync/ledger"
	"pgsyncd/testenv"
)

// TestSameServer: a connection that found another server than the walsender's, or the same one after a promotion, is not used.
func TestSameServer(t *testing.T) {
	t.Parallel()
	src, _ := testenv.SharedPair(t)
	pg := src.Connect(t, "postgres").PgConn()
	var at ledger.Position
	if err := src.Connect(t, "postgres").QueryRow(t.Context(), `SELECT s.system_identifier::text, c.timeline_id
		FROM pg_control_system() s, pg_control_checkpoint() c`).Scan(&at.SystemID, &at.Timeline); err != nil {
		t.Fatal(err)
	}
	if err := sameServer(t.Context(), pg, at); err != nil {
		t.Error(err)
	}
	for want, other := range map[error]ledger.Position{
		ErrOtherSystem: {SystemID: at.SystemID + "0", Timeline: at.Timeline},
		ErrTimeline:    {SystemID: at.SystemID, Timeline: at.Timeline + 1},
	} {
		if err := sameServer(t.Context(), pg, other); !errors.Is(err, want) {
			t.Errorf("%v: got %v, want %v", other, err, want)
		}
	}
}
