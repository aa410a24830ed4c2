package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// guardScript reads the guarded directories, one to a line, until its parent is gone. SIGQUIT makes a postmaster shut down
// at once and remove its shared memory; whatever ignores it is killed. The segment of a postmaster that was killed before
// is named on the seventh line of postmaster.pid.
const guardScript = `
dirs=
while read -r dir; do dirs="$dirs $dir"; done
below() {
	for d in $dirs; do
		find /proc/[0-9]* -maxdepth 1 -name cwd \( -lname "$d" -o -lname "$d/*" \) 2>/dev/null
	done | cut -d/ -f3
}
for sig in QUIT KILL; do
	n=0
	while pids=$(below); [ -n "$pids" ] && [ $n -lt 50 ]; do
		kill -$sig $pids 2>/dev/null
		sleep 0.1
		n=$((n+1))
	done
done
for d in $dirs; do
	find "$d" -maxdepth 6 -name postmaster.pid 2>/dev/null | while read -r f; do
		sed -n '7s/.* //p' "$f" | xargs -r -n1 ipcrm -m 2>/dev/null
	done
	rm -rf "$d"
done
`

// process is what belongs to this process as a whole: its base directory and its watchdog.
var process struct {
	mu    sync.Mutex
	base  string
	pipe  *os.File
	count int
}

// workDir makes a directory that the watchdog guards. An empty dir asks for a new one in the base directory; a named one
// must be absent or empty. Everybody may traverse it, so that a server run as another user reaches its files.
func workDir(dir, kind string) (string, error) {
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.base == "" {
		if err := startGuard(); err != nil {
			return "", err
		}
	}
	if dir == "" {
		process.count++
		dir = filepath.Join(process.base, kind+strconv.Itoa(process.count))
		return dir, mkdirOpen(dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("work directory: %w", err)
	}
	if strings.ContainsAny(dir, " \t\n*?[\\'\"") {
		return "", fmt.Errorf("work directory %q: blanks, quotes and wildcards are not supported", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return "", fmt.Errorf("work directory: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("work directory %s: not empty", dir)
	}
	if err := mkdirOpen(dir); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(process.pipe, dir); err != nil {
		return "", fmt.Errorf("guard %s: %w", dir, err)
	}
	return dir, nil
}

// mkdirOpen makes dir traversable whatever the umask says.
func mkdirOpen(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("work directory: %w", err)
	}
	return nil
}

func startGuard() error {
	parent := os.TempDir()
	if len(parent) > 40 || !traversable(parent) {
		parent = "/tmp" // socket paths are limited to 107 bytes, and the server's user must get in
	}
	base, err := os.MkdirTemp(parent, "pgsyncd-")
	if err != nil {
		return fmt.Errorf("base directory: %w", err)
	}
	if err := mkdirOpen(base); err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	defer func() { _ = read.Close() }()
	// A session of its own, so that an interrupt from the terminal does not reach it. Its output goes nowhere: go test
	// waits for everybody who holds its own.
	cmd := exec.CommandContext(context.Background(), "sh", "-c", guardScript)
	cmd.Stdin = read
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = write.Close()
		return fmt.Errorf("watchdog: %w", err)
	}
	if _, err := fmt.Fprintln(write, base); err != nil {
		_ = write.Close()
		return fmt.Errorf("watchdog: %w", err)
	}
	process.base, process.pipe = base, write
	return nil
}

// processesBelow lists the processes whose working directory is dir or lies below it. A postmaster and all its children
// work in their data directory, which finds them even after their parent is gone; a zombie has no working directory.
func processesBelow(dir string) []int {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	var pids []int
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || (target != dir && !strings.HasPrefix(target, dir+"/")) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
