package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stopTimeout bounds a daemon's orderly end.
const stopTimeout = time.Minute

// DaemonConfig describes a daemon. The zero value is one made of this source tree, on a free port, with a new data directory.
type DaemonConfig struct {
	// Bin is the program. Default: Build's.
	Bin string
	// DataDir is kept by Stop and restarts. Default: a temporary one, which Destroy removes.
	DataDir string
	// Listen is host:port. Default: a free port of 127.0.0.1.
	Listen string
	// Args follow `serve --listen … --data-dir …`.
	Args []string
	// Env is added to the environment, which has no PG* variables.
	Env []string
}

// Daemon is a running pgsyncd. Its methods are called from one goroutine.
type Daemon struct {
	cfg  DaemonConfig
	dir  string // log, and data/ unless configured otherwise
	port *port  // nil when Listen was given

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// NewDaemon starts a daemon and returns when it is ready. The error of one that does not start holds the end of its log.
func NewDaemon(ctx context.Context, cfg DaemonConfig) (*Daemon, error) {
	if cfg.Bin == "" {
		bin, err := BuildDaemon()
		if err != nil {
			return nil, err
		}
		cfg.Bin = bin
	}
	dir, err := workDir("", "d")
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	d := &Daemon{cfg: cfg, dir: dir}
	if d.cfg.DataDir == "" {
		d.cfg.DataDir = filepath.Join(dir, "data")
	}
	if d.cfg.Listen == "" {
		if d.port, err = reservePort(ctx, 0); err != nil {
			return nil, fmt.Errorf("daemon: %w", err)
		}
		d.cfg.Listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port.number))
	}
	if err := d.Start(ctx); err != nil {
		return nil, errors.Join(err, d.Destroy())
	}
	return d, nil
}

// StartDaemon starts a daemon that is destroyed when the test ends. A failed test shows the end of its log.
func StartDaemon(tb testing.TB, cfg DaemonConfig) *Daemon {
	tb.Helper()
	if cfg.Bin == "" {
		cfg.Bin = Build(tb)
	}
	d, err := NewDaemon(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("end of the daemon's log:\n%s", d.logTail())
		}
		if err := d.Destroy(); err != nil {
			tb.Errorf("destroy daemon: %v", err)
		}
	})
	return d
}

// Start runs a daemon that is not running, and returns when it is ready.
func (d *Daemon) Start(ctx context.Context) error {
	if d.Running() {
		return errors.New("start daemon: it runs already")
	}
	log, err := os.OpenFile(d.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	defer func() { _ = log.Close() }()
	logged := fileSize(d.LogFile())
	args := append([]string{"serve", "--listen", d.cfg.Listen, "--data-dir", d.cfg.DataDir}, d.cfg.Args...)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), d.cfg.Bin, args...)
	// The working directory is where the watchdog finds it; the session of its own keeps the terminal's interrupt away.
	cmd.Dir = d.dir
	cmd.Env = environment(append([]string{"PGSYNCD_ADMIN_PASSWORD=" + Password}, d.cfg.Env...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	d.cmd, d.done = cmd, done
	if err := d.awaitReady(ctx, logged); err != nil {
		return errors.Join(fmt.Errorf("start daemon: %w\n%s", err, d.logTail()), d.Kill9())
	}
	return nil
}

// readyLine is the last line of a successful start, in text or JSON; that of its PostgreSQL, which may be logged too, goes on
// with "to accept connections".
var readyLine = regexp.MustCompile(`(?m)^(.*(msg=|"msg":|\s))?"?ready\b(.*)$`)

func (d *Daemon) awaitReady(ctx context.Context, logged int64) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ended := errors.New("the process has ended")
	err := waitFor(ctx, func() error {
		content, err := os.ReadFile(d.LogFile())
		if err != nil {
			return err
		}
		for _, m := range readyLine.FindAllSubmatch(content[min(logged, int64(len(content))):], -1) {
			if !bytes.HasPrefix(m[3], []byte(" to accept")) {
				return nil
			}
		}
		if !d.Running() {
			cancel()
			return ended
		}
		return errors.New("not ready")
	})
	if errors.Is(err, ended) {
		return fmt.Errorf("%w: %s", ended, d.cmd.ProcessState)
	}
	return err
}

// Running reports whether the process is there.
func (d *Daemon) Running() bool {
	if d.done == nil {
		return false
	}
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// Kill9 ends the daemon with SIGKILL, and nothing else: what it leaves running is its own affair.
func (d *Daemon) Kill9() error {
	if !d.Running() {
		return nil
	}
	_ = d.cmd.Process.Kill()
	<-d.done
	return nil
}

// Terminate ends the daemon with SIGTERM and reports an exit status other than zero.
func (d *Daemon) Terminate() error {
	if !d.Running() {
		return nil
	}
	if err := d.cmd.Process.Signal(unix.SIGTERM); err != nil && d.Running() {
		return fmt.Errorf("terminate daemon: %w", err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-d.done:
	case <-timer.C:
		return fmt.Errorf("terminate daemon: still there after %s\n%s", stopTimeout, d.logTail())
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("terminate daemon: %s\n%s", d.cmd.ProcessState, d.logTail())
	}
	return nil
}

// Restart terminates the daemon and starts it with the same configuration.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Terminate(); err != nil {
		return err
	}
	return d.Start(ctx)
}

// Destroy ends the daemon and what it left running, and removes its files. It may be called again.
func (d *Daemon) Destroy() error {
	err := d.Terminate()
	if err != nil {
		err = errors.Join(err, d.Kill9())
	}
	// A PostgreSQL removes its shared memory on SIGQUIT.
	left := d.signalRest(unix.SIGQUIT, 5*time.Second)
	if left != nil {
		left = d.signalRest(unix.SIGKILL, stopTimeout)
	}
	if d.port != nil {
		d.port.Close()
	}
	return errors.Join(err, left, os.RemoveAll(d.dir))
}

// signalRest signals what runs in the daemon's directories until it has ended.
func (d *Daemon) signalRest(signal unix.Signal, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return waitFor(ctx, func() error {
		pids := append(processesBelow(d.dir), processesBelow(d.cfg.DataDir)...)
		for _, pid := range pids {
			_ = unix.Kill(pid, signal)
		}
		if len(pids) > 0 {
			return fmt.Errorf("processes %v are still there", pids)
		}
		return nil
	})
}

// ConnString connects user with Password over TCP.
func (d *Daemon) ConnString(user string) string {
	host, port, _ := net.SplitHostPort(d.cfg.Listen)
	return fmt.Sprintf("host=%s port=%s dbname=pgsyncd user=%s password=%s sslmode=disable", host, port, quoteConninfo(user), Password)
}

// SocketString connects as admin over the Unix socket, which asks for no password.
func (d *Daemon) SocketString() string {
	return fmt.Sprintf("host=%s port=%d dbname=pgsyncd user=admin", d.SocketDir(), daemonPort)
}

// daemonPort names the Unix socket, whatever the TCP port is.
const daemonPort = 7432

// SocketDir holds the Unix socket.
func (d *Daemon) SocketDir() string { return filepath.Join(d.cfg.DataDir, "run") }

// DataDir is the daemon's data directory.
func (d *Daemon) DataDir() string { return d.cfg.DataDir }

// LogFile is what the daemon writes to standard output and error, over all its starts.
func (d *Daemon) LogFile() string { return filepath.Join(d.dir, "log") }

// Addr is host:port, for a Proxy.
func (d *Daemon) Addr() string { return d.cfg.Listen }

// PID is the process id of the running daemon, or of the last one.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// PSQL runs SQL with psql as admin over the socket, and returns what it printed: rows unaligned, without headers. A failing
// statement fails the test.
func (d *Daemon) PSQL(tb testing.TB, sql string) string {
	tb.Helper()
	stdout, stderr, err := d.RunPSQL(tb.Context(), d.SocketString(), sql, "-A", "-t")
	if err != nil {
		tb.Fatalf("%s: %v\n%s%s", sql, err, stdout, stderr)
	}
	return strings.TrimSuffix(stdout, "\n")
}

// RunPSQL runs psql -X with further arguments on conninfo, stopping at the first error. sql arrives on standard input, so
// backslash commands work too.
func (d *Daemon) RunPSQL(ctx context.Context, conninfo, sql string, args ...string) (stdout, stderr string, err error) {
	bin, err := ClientBin(ctx, DefaultVersion)
	if err != nil {
		return "", "", err
	}
	all := append([]string{"-X", "-v", "ON_ERROR_STOP=1", "-d", conninfo}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "psql"), all...)
	cmd.Env = environment()
	cmd.Stdin = strings.NewReader(sql)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}

func (d *Daemon) logTail() string {
	content, err := os.ReadFile(d.LogFile())
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-8192):])
}
