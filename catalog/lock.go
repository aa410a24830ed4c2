package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir takes the data directory for this process. The kernel releases the lock when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "pgsyncd.lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close() //nolint:errcheck // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			holder, _ := os.ReadFile(name) // only for the message
			return nil, fmt.Errorf("data directory %s is in use by another pgsyncd (process %s)", dir,
				strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock data directory: %s: %w", name, err)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintln(os.Getpid()))); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), f.Close())
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}
