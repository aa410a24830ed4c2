package testenv

import (
	"context"
	"fmt"
	"io"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A wait is in vain after patience and enough looks, lookEvery apart. Time alone would fail tests on a machine that stood still.
const (
	patience  = time.Minute
	enough    = 2000
	lookEvery = 20 * time.Millisecond
)

// Eventually waits for a condition. If that is in vain, it fails the test with what all goroutines and the sessions of all
// running clusters of the process are doing. What is the end of the sentence "it never happens: …".
func Eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	begin := time.Now()
	for looks := 1; !condition(); looks++ {
		if waited := time.Since(begin); waited > patience && looks > enough {
			tb.Fatalf("it never happens: %s\nlooked %d times in %s\n%s", what, looks, waited, situation(tb.Context()))
		}
		<-tick.C
	}
}

// Await is Eventually for what a channel brings.
func Await[T any](tb testing.TB, what string, done <-chan T) (v T) {
	tb.Helper()
	Eventually(tb, what, func() bool {
		timer := time.NewTimer(lookEvery)
		defer timer.Stop()
		select {
		case v = <-done:
			return true
		case <-timer.C:
			return false
		}
	})
	return v
}

// running are the clusters of the process that are not destroyed.
var running struct {
	mu       sync.Mutex
	clusters []*Cluster
}

func (c *Cluster) enlist() {
	running.mu.Lock()
	defer running.mu.Unlock()
	running.clusters = append(running.clusters, c)
}

func (c *Cluster) strike() {
	running.mu.Lock()
	defer running.mu.Unlock()
	running.clusters = slices.DeleteFunc(running.clusters, func(other *Cluster) bool { return other == c })
}

// situation tells what everybody is doing.
func situation(ctx context.Context) string {
	var b strings.Builder
	running.mu.Lock()
	clusters := slices.Clone(running.clusters)
	running.mu.Unlock()
	for _, c := range clusters {
		if c.PID() == 0 {
			continue
		}
		fmt.Fprintf(&b, "\nPostgreSQL %s on port %d:\n", c.version, c.Port())
		if err := c.describe(ctx, &b); err != nil {
			fmt.Fprintf(&b, "%v\n", err)
		}
		fmt.Fprintf(&b, "end of its log:\n%s", c.logSince(0))
	}
	b.WriteString("\n")
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1) // stacks, each with the number of goroutines that have it
	return b.String()
}

// describe tells which sessions do something, and which locks are waited for. The views have these columns since PostgreSQL 9.6.
func (c *Cluster) describe(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return c.inSession(ctx, "postgres", func(conn *pgx.Conn) error {
		for _, query := range []string{
			`SELECT concat_ws(' | ', pid, coalesce(datname, '-'), coalesce(nullif(application_name, ''), '-'), state,
				coalesce(wait_event_type || ' ' || wait_event, 'no wait'),
				'transaction ' || coalesce((now() - xact_start)::text, '-'), 'state ' || coalesce((now() - state_change)::text, '-'),
				regexp_replace(left(query, 200), '\s+', ' ', 'g'))
			FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid() ORDER BY datname, pid`,
			`SELECT format('%s waits for %s of %s, held up by %s', pid, mode, locktype, pg_blocking_pids(pid)::text)
				|| coalesce(' | relation ' || relation, '') || coalesce(' | transaction ' || transactionid, '')
			FROM pg_locks WHERE NOT granted ORDER BY pid`,
		} {
			lines, err := column(ctx, conn, query)
			if err != nil {
				return err
			}
			for _, line := range lines {
				_, _ = fmt.Fprintln(w, line)
			}
		}
		return nil
	})
}
