package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Build compiles the daemon once per process, as it is released, and returns the program's path.
func Build(tb testing.TB) string {
	tb.Helper()
	program, err := BuildDaemon()
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

// BuildDaemon is Build for programs that are no tests. The working directory must lie in the module.
var BuildDaemon = sync.OnceValues(func() (string, error) {
	ctx := context.Background()
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("build daemon: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("build daemon: the working directory lies in no module")
	}
	dir, err := workDir("", "b")
	if err != nil {
		return "", fmt.Errorf("build daemon: %w", err)
	}
	program := filepath.Join(dir, "pgsyncd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	cmd.Dir = filepath.Dir(mod)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build daemon: %w: %s", err, out)
	}
	return program, nil
})
