package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	readyPoll     = 50 * time.Millisecond
	fastStop      = 30 * time.Second // then immediate
	immediateStop = 10 * time.Second // then SIGKILL

	maxRestarts = 5           // in a row
	steadyAfter = time.Minute // a server that lived so long was not part of a row
	restartWait = 200 * time.Millisecond

	maxLogSize = 10 << 20 // an older log is kept once
	logTail    = 4 << 10
)

// postmaster is one run of the server.
type postmaster struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait; valid once exited is closed
}

func (p *postmaster) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) } // fails only when it has ended

// start runs the server and returns once it accepts sessions.
func (c *cluster) start(ctx context.Context) (*postmaster, error) {
	p, err := c.launch() //nolint:contextcheck // the server outlives ctx; stop ends it
	if err != nil {
		return nil, err
	}
	if err := c.awaitReady(ctx, p); err != nil {
		p.stop(nil)
		return nil, fmt.Errorf("%w: %s", err, c.tail())
	}
	return p, nil
}

// launch starts the server as a child that dies with this process. The kernel ties the death signal to the *thread* that
// made the child, so one thread is kept for as long as the server lives.
func (c *cluster) launch() (*postmaster, error) {
	logFile, err := c.openLog()
	if err != nil {
		return nil, err
	}
	defer logFile.Close() //nolint:errcheck // the child has its own
	p := &postmaster{
		cmd:    c.command(context.Background(), "postgres", "-D", c.data),
		exited: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = logFile, logFile
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGINT // fast shutdown
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.exited)
	}()
	return p, <-started
}

// awaitReady connects until a session succeeds. Recovery after a crash may take long, so only ctx bounds it.
func (c *cluster) awaitReady(ctx context.Context, p *postmaster) error {
	cfg, err := pgx.ParseConfig(c.conninfo("postgres"))
	if err != nil {
		return err
	}
	cfg.RuntimeParams = map[string]string{"application_name": "pgsyncd"}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err == nil {
			return conn.Close(ctx)
		}
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code != "57P03" { // 57P03: starting up
			return err
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return fmt.Errorf("server ended: %w", p.outcome())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// outcome is the cause of an end that nobody asked for.
func (p *postmaster) outcome() error {
	if p.err != nil {
		return p.err
	}
	return errors.New("exit status 0")
}

// stop ends the server: fast, then immediate, then by force. Closing hurry skips the fast part.
func (p *postmaster) stop(hurry <-chan struct{}) {
	for _, step := range []struct {
		sig  os.Signal
		wait time.Duration
	}{{syscall.SIGINT, fastStop}, {syscall.SIGQUIT, immediateStop}, {syscall.SIGKILL, time.Hour}} {
		p.signal(step.sig)
		timer := time.NewTimer(step.wait)
		select {
		case <-p.exited:
			timer.Stop()
			return
		case <-timer.C:
		case <-hurry:
			hurry = nil
			timer.Stop()
		}
	}
}

// supervise restarts the server whenever it ends by itself, and stops it when ctx ends. It reports to failed and returns
// when the server does not come back.
func (c *cluster) supervise(ctx context.Context, p *postmaster) {
	row := 0
	for {
		began := time.Now()
		select {
		case <-ctx.Done():
			p.stop(c.hurry)
			return
		case <-p.exited:
		}
		if time.Since(began) >= steadyAfter {
			row = 0
		}
		c.log.Error("the catalog's server ended by itself", "error", p.outcome(), "log", c.tail())
		var err error
		if p, err = c.restart(ctx, &row); err != nil {
			if ctx.Err() == nil {
				c.failed <- fmt.Errorf("the catalog's server does not come back: %w", err)
			}
			return
		}
		c.log.Info("the catalog's server runs again")
	}
}

// restart tries until the server runs again or the row of restarts is too long.
func (c *cluster) restart(ctx context.Context, row *int) (*postmaster, error) {
	err := errors.New("it ended again and again")
	for *row < maxRestarts {
		timer := time.NewTimer(restartWait << *row)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		*row++
		if err = stopLeftover(ctx, c.data, c.log); err != nil {
			continue
		}
		var p *postmaster
		if p, err = c.start(ctx); err == nil {
			return p, nil
		}
		c.log.Error("restart the catalog's server", "attempt", *row, "error", err)
	}
	return nil, err
}

func (c *cluster) logName() string { return filepath.Join(c.dir, "postgresql.log") }

// openLog opens the server's log for appending, and begins a new one when it has grown large.
func (c *cluster) openLog() (*os.File, error) {
	if info, err := os.Lstat(c.logName()); err == nil && info.Size() > maxLogSize {
		if err := os.Rename(c.logName(), c.logName()+".1"); err != nil {
			return nil, fmt.Errorf("rotate log: %w", err)
		}
	}
	f, err := os.OpenFile(c.logName(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := f.Chown(c.owner.uid, c.owner.gid); err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	return f, nil
}

// tail is the end of the server's log, for messages.
func (c *cluster) tail() string {
	f, err := os.Open(c.logName())
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	text := make([]byte, min(info.Size(), logTail))
	n, _ := f.ReadAt(text, info.Size()-int64(len(text))) // what was read is shown
	return strings.TrimSpace(string(text[:n]))
}
