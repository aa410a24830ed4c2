package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Main is the main function of a program that uses this package: run is told by its context when the program is to end, and the
// error it returns is printed.
func Main(name string, run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Sleep waits for a time, and fails with the reason if ctx ends before.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Trio is two servers and the daemon that synchronizes them.
type Trio struct {
	Source, Destination *Cluster
	Daemon              *Daemon
}

// NewTrio makes and starts all three, or none.
func NewTrio(ctx context.Context, source, destination Config) (_ *Trio, err error) {
	t := &Trio{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.Source, err = New(ctx, source); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if t.Destination, err = New(ctx, destination); err != nil {
		return nil, fmt.Errorf("destination: %w", err)
	}
	if t.Daemon, err = NewDaemon(ctx, DaemonConfig{}); err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	return t, nil
}

// Close destroys what there is of the three, in reverse order.
func (t *Trio) Close() error {
	if t == nil {
		return nil
	}
	var errs []error
	if t.Daemon != nil {
		errs = append(errs, t.Daemon.Destroy())
	}
	for _, c := range []*Cluster{t.Destination, t.Source} {
		if c != nil {
			errs = append(errs, c.Destroy())
		}
	}
	return errors.Join(errs...)
}
