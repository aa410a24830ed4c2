package group_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pgsyncd/sync/group"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A goroutine that panics ends the others and is the error of all.
func TestPanicBecomesAnError(t *testing.T) {
	t.Parallel()
	g, ctx := group.WithContext(t.Context())
	g.Go(func() error { <-ctx.Done(); return context.Cause(ctx) })
	g.Go(func() error { panic("a defect") })
	var p *group.PanicError
	if err := g.Wait(); !errors.As(err, &p) || !p.Permanent() || !strings.Contains(err.Error(), "a defect") {
		t.Errorf("got %v", err)
	}
	if p != nil && !strings.Contains(p.Stack, "TestPanicBecomesAnError") {
		t.Errorf("the stack does not show where it happened:\n%s", p.Stack)
	}
	if ctx.Err() == nil {
		t.Error("the others were not told")
	}
}
