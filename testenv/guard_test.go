package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// ownerVariable makes the test binary a process that owns a cluster and waits to be killed.
const ownerVariable = "TESTENV_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerVariable) != "" {
		ownCluster()
		return
	}
	goleak.VerifyTestMain(m)
}

// ownCluster prints where its cluster is, and reads standard input for ever.
func ownCluster() {
	c, err := New(context.Background(), Config{})
	if err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
	// With a stale pid file on the way.
	if err := errors.Join(c.Kill(), c.StartAgain(context.Background())); err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
	_, _ = fmt.Fprintln(os.Stdout, c.dir, c.PID())
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func TestWatchdogRemovesTheClusterOfAKilledOwner(t *testing.T) {
	t.Parallel()
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), ownerVariable+"=1")
	if _, err := owner.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var dir string
	var pid int
	if _, err := fmt.Sscan(line, &dir, &pid); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if len(processesBelow(dir)) == 0 {
		t.Fatal("no server runs")
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = waitFor(ctx, func() error {
		if pids := processesBelow(dir); len(pids) > 0 {
			return fmt.Errorf("processes %v are still there", pids)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is still there: %w", dir, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWorkDirRefusesForeignFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/precious", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("cluster in a directory with files: %v", err)
	}
}
