package catalog

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write transcripts instead of comparing with them")

// golden compares a text with a transcript below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (run with -rewrite if it is meant):\n%s", path, diff)
	}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, s := range States {
		fmt.Fprintf(&b, "%s\n", s)
		for _, ev := range slices.Concat(OperatorEvents, DaemonEvents) {
			step, ok := Next(s, ev)
			switch {
			case !ok:
				fmt.Fprintf(&b, "  %-24s refused\n", ev)
				continue
			case step.To == "":
				fmt.Fprintf(&b, "  %-24s → (erased)", ev)
			default:
				fmt.Fprintf(&b, "  %-24s → %s", ev, step.To)
			}
			if step.Desired != "" {
				fmt.Fprintf(&b, ", desired: %s", step.Desired)
			}
			if step.Clean {
				b.WriteString(", only while nothing was made")
			}
			b.WriteString("\n")
		}
		var possible []string
		for _, ev := range Possible(s) {
			possible = append(possible, string(ev))
		}
		fmt.Fprintf(&b, "  possible: %s\n", strings.Join(possible, ", "))
	}
	golden(t, "transitions.txt", b.String())
}

func TestTransitionsAreSound(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	reached := map[State]bool{StateCreating: true}
	for _, step := range Transitions {
		pair := string(step.From) + "/" + string(step.Event)
		if seen[pair] {
			t.Errorf("%s occurs twice", pair)
		}
		seen[pair] = true
		if !slices.Contains(States, step.From) || step.To != "" && !slices.Contains(States, step.To) {
			t.Errorf("%s: unknown state", pair)
		}
		if (step.To == "") != (step.Event == EventDrop) {
			t.Errorf("%s: only a drop erases", pair)
		}
		if !slices.Contains(OperatorEvents, step.Event) && !slices.Contains(DaemonEvents, step.Event) {
			t.Errorf("%s: unknown event", pair)
		}
		reached[step.To] = true
	}
	for _, s := range States {
		if !reached[s] {
			t.Errorf("no way leads to %q", s)
		}
		if len(Possible(s)) == 0 && s != StateCreating {
			t.Errorf("an operator can do nothing in %q", s)
		}
	}
}

// Wherever a task is, some row of events erases it.
func TestEveryTaskCanEnd(t *testing.T) {
	t.Parallel()
	ends := map[State]bool{"": true}
	for range States {
		for _, step := range Transitions {
			if ends[step.To] && !step.Clean {
				ends[step.From] = true
			}
		}
	}
	for _, s := range States {
		if !ends[s] {
			t.Errorf("%q is a trap", s)
		}
	}
}

func TestStateErrorNamesEverything(t *testing.T) {
	t.Parallel()
	var err error = &StateError{Task: "shop", State: StatePaused, Event: EventPause, Possible: Possible(StatePaused)}
	const want = `task "shop": cannot pause in state "paused" (possible: resume, reset, stop, force stop)`
	if err.Error() != want {
		t.Errorf("got %s", err)
	}
	if _, ok := errors.AsType[*StateError](fmt.Errorf("x: %w", err)); !ok {
		t.Error("not found by errors.AsType")
	}
}
