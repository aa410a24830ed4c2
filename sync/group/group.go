package group

import (
	"context"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// Group is a set of goroutines that work for one purpose.
type Group struct{ group *errgroup.Group }

// WithContext returns a group and a context that ends with the first error of one of its goroutines, or when Wait returns.
func WithContext(ctx context.Context) (*Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &Group{g}, ctx
}

// Go runs f in a goroutine.
func (g *Group) Go(f func() error) {
	g.group.Go(func() error { return Contain(f) })
}

// Wait returns when all goroutines have ended, with the first error.
func (g *Group) Wait() error { return g.group.Wait() }

// Contain calls f and turns a panic into a *PanicError.
func Contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: string(debug.Stack())}
		}
	}()
	return f()
}

// PanicError is a panic that was recovered.
type PanicError struct {
	Value any
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// Permanent is true: what the program cannot do it cannot do the next time either.
func (e *PanicError) Permanent() bool { return true }

// Detail says whose defect it is.
func (e *PanicError) Detail() string {
	return "This is a defect of pgsyncd. The daemon's log has the stack of the goroutine; nothing was concluded from what it was in the middle of."
}

// Hint is empty; it comes with Detail.
func (e *PanicError) Hint() string { return "" }
