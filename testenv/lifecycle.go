package testenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// start runs pg_ctl and waits until a session can be opened. The server's own account of a failure is in the error.
func (c *Cluster) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c.forgetKilled(ctx)
	logged := fileSize(c.LogFile())
	seconds := strconv.Itoa(int(startTimeout / time.Second))
	if _, err := c.run(ctx, "pg_ctl", "start", "-w", "-s", "-t", seconds, "-D", c.DataDir(), "-l", c.LogFile()); err != nil {
		return fmt.Errorf("start: %w\n%s", err, c.logSince(logged))
	}
	err := waitFor(ctx, func() error {
		conn, err := c.open(ctx, "postgres")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	if err != nil {
		return fmt.Errorf("start: %w\n%s", err, c.logSince(logged))
	}
	return nil
}

// Stop shuts the server down in the given mode of pg_ctl: "smart", "fast" or "immediate". A stopped server stays stopped.
func (c *Cluster) Stop(mode string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stop(mode)
}

func (c *Cluster) stop(mode string) error {
	if c.PID() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := c.run(ctx, "pg_ctl", "stop", "-w", "-s", "-t", "110", "-m", mode, "-D", c.DataDir()); err != nil {
		return fmt.Errorf("stop %s: %w", mode, err)
	}
	// The postmaster removes its pid file before its last child is gone after an immediate stop.
	return waitFor(ctx, c.gone)
}

// StartAgain starts a server that was stopped or killed, on the same port.
func (c *Cluster) StartAgain(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return fmt.Errorf("cluster %s: destroyed", c.version)
	}
	return c.start(ctx)
}

// Restart stops the server in the given mode and starts it again.
func (c *Cluster) Restart(ctx context.Context, mode string) error {
	if err := c.Stop(mode); err != nil {
		return err
	}
	return c.StartAgain(ctx)
}

// Kill ends the postmaster and all its children with SIGKILL and returns when they are gone.
func (c *Cluster) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kill()
}

func (c *Cluster) kill() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	// Again and again: a child may have been forked while the list was made.
	return waitFor(ctx, func() error {
		if pid := c.PID(); pid != 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		for _, pid := range processesBelow(c.DataDir()) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		return c.gone()
	})
}

// Pause stops every process of the server with SIGSTOP: its connections stay open and nothing answers, until Continue.
func (c *Cluster) Pause() { c.signalAll(unix.SIGSTOP) }

// Continue undoes Pause.
func (c *Cluster) Continue() { c.signalAll(unix.SIGCONT) }

func (c *Cluster) signalAll(sig unix.Signal) {
	for _, pid := range processesBelow(c.DataDir()) {
		_ = unix.Kill(pid, sig)
	}
}

// gone is nil when no process of the server is left.
func (c *Cluster) gone() error {
	if n := len(processesBelow(c.DataDir())); n > 0 {
		return fmt.Errorf("%d server processes are still there", n)
	}
	return nil
}

// forgetKilled waits until nothing has the process id of a killed postmaster any more. A server does not start while the
// id in its pid file is in use, be it by a zombie that init has not reaped or by a newcomer; then the file has to go.
func (c *Cluster) forgetKilled(ctx context.Context) {
	pid := c.recordedPID()
	if pid == 0 || c.PID() != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := waitFor(ctx, func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
	if err != nil {
		c.removeIPC()
		_ = os.Remove(filepath.Join(c.DataDir(), "postmaster.pid"))
	}
}

// recordedPID is the first line of postmaster.pid, zero without one.
func (c *Cluster) recordedPID() int {
	content, err := os.ReadFile(filepath.Join(c.DataDir(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return 0
	}
	return pid
}

// PID is the postmaster's process id, zero when it does not run.
func (c *Cluster) PID() int {
	pid := c.recordedPID()
	// The file of a killed postmaster stays, and its number may be somebody else's by now.
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || cwd != c.DataDir() {
		return 0
	}
	return pid
}

// Reload makes the server read its configuration and returns when new sessions see it.
func (c *Cluster) Reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var before time.Time
	if err := c.queryRow(ctx, "SELECT pg_conf_load_time() FROM pg_reload_conf()", &before); err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	// The session that asked still shows the old time; a new one inherits the postmaster's.
	return waitFor(ctx, func() error {
		var now time.Time
		if err := c.queryRow(ctx, "SELECT pg_conf_load_time()", &now); err != nil {
			return err
		}
		if !now.After(before) {
			return errors.New("configuration not loaded yet")
		}
		return nil
	})
}

// Set changes settings, and restarts (mode fast) or reloads the server.
func (c *Cluster) Set(ctx context.Context, settings map[string]string, restart bool) error {
	c.mu.Lock()
	maps.Copy(c.settings, settings)
	err := c.writeSettings()
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	if restart {
		return c.Restart(ctx, "fast")
	}
	return c.Reload(ctx)
}

// Destroy stops the server at once and removes its directory. It may be called again.
func (c *Cluster) Destroy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return nil
	}
	c.Continue()
	err := c.stop("immediate")
	if err != nil || c.gone() != nil {
		err = c.kill()
	}
	c.removeIPC()
	c.port.Close()
	c.removed = true
	c.strike()
	return errors.Join(err, os.RemoveAll(c.dir))
}

// removeIPC removes the System V shared memory and semaphores that a killed server left. A running or cleanly stopped one
// has no pid file here any more.
func (c *Cluster) removeIPC() {
	content, err := os.ReadFile(filepath.Join(c.DataDir(), "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(content), "\n")
	if len(lines) < 7 {
		return
	}
	if f := strings.Fields(lines[6]); len(f) == 2 { // key and id
		if id, err := strconv.Atoi(f[1]); err == nil {
			_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		}
	}
	if c.num < 100000 {
		c.removeSemaphores()
	}
}

// removeSemaphores: before version 10 a server's semaphore sets have keys counted up from its port times a thousand.
func (c *Cluster) removeSemaphores() {
	content, err := os.ReadFile("/proc/sysvipc/sem")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(content)) {
		f := strings.Fields(line)
		key, err := strconv.Atoi(f[0])
		if err != nil || key < c.port.number*1000 || key >= (c.port.number+1)*1000 {
			continue
		}
		if id, err := strconv.Atoi(f[1]); err == nil {
			_, _, _ = unix.Syscall6(unix.SYS_SEMCTL, uintptr(id), 0, unix.IPC_RMID, 0, 0, 0)
		}
	}
}

// run executes one of the server's programs.
func (c *Cluster) run(ctx context.Context, program string, args ...string) (string, error) {
	_, _ = fmt.Fprintln(c.log, "testenv:", program, strings.Join(args, " "))
	return run(ctx, c.dir, filepath.Join(c.bin, program), args...)
}

// queryRow asks the database postgres in a session of its own.
func (c *Cluster) queryRow(ctx context.Context, sql string, dest ...any) error {
	return c.inSession(ctx, "postgres", func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql).Scan(dest...)
	})
}

func (c *Cluster) inSession(ctx context.Context, db string, f func(*pgx.Conn) error) error {
	conn, err := c.open(ctx, db)
	if err != nil {
		return err
	}
	err = f(conn)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// logSince is what the server logged from offset on, the last 4 KiB of it.
func (c *Cluster) logSince(offset int64) string {
	content, err := os.ReadFile(c.LogFile())
	if err != nil || offset > int64(len(content)) {
		return ""
	}
	content = content[offset:]
	if len(content) > 4096 {
		content = content[len(content)-4096:]
	}
	return string(content)
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// waitFor calls check until it returns nil, and returns its last error when ctx ends first.
func waitFor(ctx context.Context, check func() error) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}
