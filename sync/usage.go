package sync

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// diskEvery is how often the data directory is measured.
const diskEvery = time.Minute

// usage measures what the daemon takes of its machine.
type usage struct {
	dir string // the data directory; empty: not measured

	mu       sync.Mutex
	disk     *int64
	measured time.Time
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// memoryBytes is the resident memory of this process, nil where the system does not tell.
func memoryBytes() *int64 {
	text, err := os.ReadFile("/proc/self/statm") // total, resident, …, in pages
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 2 {
		return nil
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return nil
	}
	n := pages * int64(os.Getpagesize())
	return &n
}

// diskBytes is the size of the data directory on its disk, not older than a minute.
func (u *usage) diskBytes(now time.Time) *int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.dir == "" || now.Sub(u.measured) < diskEvery {
		return u.disk
	}
	var sum int64
	// Files that go away meanwhile, and directories of others, do not count.
	_ = filepath.WalkDir(u.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if info, err := entry.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	u.disk, u.measured = &sum, now
	return u.disk
}

// Usage is what the daemon takes of its machine, without the server of its catalog.
type Usage struct {
	Processor   time.Duration // time used so far
	MemoryBytes *int64        // resident; nil where the system does not tell
	DiskBytes   *int64        // of the data directory, a minute old at most; nil where it is not measured
}

// Usage returns what the daemon takes now.
func (s *Supervisor) Usage() Usage {
	return Usage{Processor: processorTime(), MemoryBytes: memoryBytes(), DiskBytes: s.usage.diskBytes(time.Now())}
}
