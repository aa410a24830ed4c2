package testenv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// account is the OS user that servers run as. nil means the user of this process.
type account struct{ uid, gid int }

// serverAccount finds the account once. PostgreSQL refuses to run as root.
var serverAccount = sync.OnceValues(func() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &account{uid, gid}, nil
	}
	return nil, fmt.Errorf("running as root, and there is neither a user postgres nor nobody to run servers as")
})

// own gives path to the servers' user.
func own(path string) error {
	acc, err := serverAccount()
	if err != nil || acc == nil {
		return err
	}
	return os.Lchown(path, acc.uid, acc.gid)
}

// run executes a server program as the servers' user in dir, with none of the PG* variables of the environment, and
// returns what it printed.
func run(ctx context.Context, dir, program string, args ...string) (string, error) {
	acc, err := serverAccount()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = environment()
	// A session of its own, so that an interrupt from the terminal reaches the test but not its servers.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if acc != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(acc.uid), Gid: uint32(acc.gid)}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", filepath.Base(program), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// environment is this process's without PG*, in English and UTC.
func environment(extra ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "TZ=") {
			env = append(env, kv)
		}
	}
	return append(append(env, "LC_ALL=C", "TZ=UTC"), extra...)
}

// traversable reports whether every directory on the way to dir lets any user through.
func traversable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
		dir = filepath.Dir(dir)
	}
}
