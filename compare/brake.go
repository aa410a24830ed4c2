package compare

import (
	"context"
	"errors"
	"sync"
	"time"

	"pgsyncd/sync/endpoint"

	"github.com/jackc/pgx/v5"
)

// brake halts reading while the task's stream is further behind than max_delay; nil never does. Its methods are safe for concurrent use.
type brake struct {
	behind func(context.Context) (bool, error)
	every  time.Duration // how often that is asked

	mu   sync.Mutex
	next time.Time // when to ask again
}

// newBrake returns the brake of a run.
func (j *job) newBrake() *brake {
	return &brake{every: time.Second, behind: func(ctx context.Context) (bool, error) {
		if _, streams := j.cfg.Streams.Stream(j.task.ID); !streams {
			return false, nil
		}
		delay, err := j.cfg.Catalog.Delay(ctx, j.task.ID)
		return delay > j.options.MaxDelay, err
	}}
}

// wait returns when the stream is near enough.
func (b *brake) wait(ctx context.Context) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock() // all workers wait for one that asks
	if time.Now().Before(b.next) {
		return nil
	}
	tick := time.NewTicker(b.every)
	defer tick.Stop()
	for {
		if far, err := b.behind(ctx); err != nil || !far {
			b.next = time.Now().Add(b.every)
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// errBraked says that a statement was cancelled because the stream fell behind.
var errBraked = errors.New("the stream fell behind")

// watch executes f, one statement of conn, and cancels that when the stream falls behind.
func (b *brake) watch(ctx context.Context, conn *pgx.Conn, f func() error) error {
	if b == nil {
		return f()
	}
	done, braked := make(chan struct{}), make(chan bool)
	go func() {
		tick := time.NewTicker(b.every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				braked <- false
				return
			case <-tick.C:
			}
			if far, err := b.behind(ctx); err != nil || !far {
				continue // what is wrong with the catalog shows elsewhere
			}
			// Once this has returned, the server has been told: a later statement is not hit.
			if err := conn.PgConn().CancelRequest(ctx); err == nil {
				<-done
				braked <- true
				return
			}
		}
	}()
	err := f()
	close(done)
	if <-braked && endpoint.SQLState(err) == "57014" {
		return errBraked
	}
	return err
}
