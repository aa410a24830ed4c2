package fullcopy

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestSessionsGoToTheGreatestWeight(t *testing.T) {
	t.Parallel()
	s := newSessions(2)
	var served []int64
	held := []*request{s.ask(1), s.ask(2)}
	waiting := []*request{s.ask(3), s.ask(urgent), s.ask(5), s.ask(5), s.ask(4)}
	if n := s.wanted(); n != 7 {
		t.Errorf("%d sessions are wanted, not 7", n)
	}
	left, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := s.wait(left, waiting[4]); !errors.Is(err, gone) {
		t.Errorf("whoever left was told %v", err)
	}
	for range held {
		s.give(nil)
	}
	if _, err := s.wait(left, waiting[1]); err != nil && !errors.Is(err, gone) { // it may have its session or leave it to the next
		t.Error(err)
	} else if err == nil {
		s.give(nil)
	}
	for _, r := range []*request{waiting[2], waiting[3], waiting[0]} {
		if _, err := s.wait(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		served = append(served, r.weight)
		s.give(nil)
	}
	if !slices.Equal(served, []int64{5, 5, 3}) {
		t.Errorf("served %v", served)
	}
	if n := s.wanted(); n != 0 {
		t.Errorf("%d sessions are wanted in the end", n)
	}
	s.close(t.Context())
}
