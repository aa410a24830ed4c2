package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pidfdPoll bounds one wait for the end of a process, between looks at the context.
const pidfdPoll = 100 * time.Millisecond

// stopLeftover ends every server process that still works in a data directory: fast, then immediate, then by force.
// All of PostgreSQL's processes have their data directory as working directory, which is a safer sign than the process
// id in postmaster.pid: that may meanwhile belong to somebody else. The caller holds the lock of the directory, so what
// is found has lost its daemon.
func stopLeftover(ctx context.Context, data string, log *slog.Logger) error {
	for _, step := range []struct {
		sig  syscall.Signal
		wait time.Duration
	}{{syscall.SIGINT, fastStop}, {syscall.SIGQUIT, immediateStop}, {syscall.SIGKILL, immediateStop}} {
		pids, err := workingIn(data)
		if err != nil {
			return err
		}
		signalled := pids
		if step.sig == syscall.SIGINT {
			// A fast shutdown is the postmaster's affair: the same signal only cancels statements of other processes.
			signalled = only(pids, postmasterPID(data))
		}
		if len(signalled) == 0 {
			continue
		}
		log.Warn("stopping the catalog's server of a former daemon", "signal", step.sig.String(), "processes", len(pids))
		for _, pid := range signalled {
			_ = syscall.Kill(pid, step.sig)        // fails only when it has ended
			_ = syscall.Kill(pid, syscall.SIGCONT) // a stopped process would not hear it
		}
		if err := awaitEnd(ctx, pids, step.wait); err != nil {
			return err
		}
	}
	pids, err := workingIn(data)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return fmt.Errorf("processes %v in %s do not end", pids, data)
	}
	removeStale(data, log)
	return nil
}

// workingIn lists the postgres processes whose working directory is dir.
func workingIn(dir string) ([]int, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// Fails for processes of others and for those that have just ended; neither is ours.
		cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err != nil || cwd != dir {
			continue
		}
		// A shell may stand here as well. After an upgrade of the package the name ends in " (deleted)".
		exe, err := os.Readlink(filepath.Join("/proc", entry.Name(), "exe"))
		if err == nil && strings.HasPrefix(filepath.Base(exe), "postgres") {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// postmasterPID reads the first line of postmaster.pid; 0 when there is none.
func postmasterPID(data string) int {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 0
	}
	return pid
}

func only(pids []int, wanted int) []int {
	for _, pid := range pids {
		if pid == wanted {
			return []int{pid}
		}
	}
	return nil
}

// removeStale removes a postmaster.pid after everybody in the directory has ended. PostgreSQL itself would refuse to start
// where that process id exists: as a zombie that nobody reaps, or as somebody else, both of which are usual in containers.
// The socket and its lock file go likewise.
func removeStale(data string, log *slog.Logger) {
	name := filepath.Join(data, "postmaster.pid")
	text, err := os.ReadFile(name)
	if err != nil {
		return
	}
	// The fourth and fifth lines are port and socket directory: src/include/utils/pidfile.h.
	if lines := strings.Split(string(text), "\n"); len(lines) > 4 && lines[4] != "" {
		socket := filepath.Join(lines[4], ".s.PGSQL."+lines[3])
		for _, name := range []string{socket, socket + ".lock"} {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				log.Warn("remove what a former server left", "name", name, "error", err)
			}
		}
	}
	if err := os.Remove(name); err != nil {
		log.Warn("remove postmaster.pid of a former daemon", "error", err)
	}
}

// awaitEnd waits until all processes have ended or the time is over.
func awaitEnd(ctx context.Context, pids []int, wait time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errStillRunning)
	defer cancel()
	for _, pid := range pids {
		if err := awaitProcess(ctx, pid); err != nil {
			if errors.Is(err, errStillRunning) {
				return nil
			}
			return err
		}
	}
	return nil
}

var errStillRunning = errors.New("still running")

func awaitProcess(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(pidfdPoll.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("watch process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
