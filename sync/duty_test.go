package sync

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"pgsyncd/catalog"

	"github.com/google/go-cmp/cmp"
)

// Every state with everything that can be wanted of a task: the table in testdata says what a runner does then.
func TestDutyOfEveryState(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, state := range catalog.States {
		for _, desired := range []catalog.Desired{
			catalog.DesiredNone, catalog.DesiredRun, catalog.DesiredPause, catalog.DesiredStop, catalog.DesiredForceStop,
		} {
			if d := dutyOf(state, desired); d != dutyNone {
				fmt.Fprintf(&b, "%s, %s: %s\n", state, desired, d)
			}
		}
	}
	want, err := os.ReadFile("testdata/duties.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Error(diff)
	}
}

// Whatever an operator's statement leaves a task in, some runner must take it from there, or it would hang for ever.
func TestNoTransitionLeadsIntoIdleness(t *testing.T) {
	t.Parallel()
	for _, tr := range catalog.Transitions {
		if tr.Desired == "" || tr.Desired == catalog.DesiredNone {
			continue
		}
		if dutyOf(tr.To, tr.Desired) == dutyNone {
			t.Errorf("%s in state %q leads to %q wanting %q, for which there is no duty", tr.Event, tr.From, tr.To, tr.Desired)
		}
	}
}
