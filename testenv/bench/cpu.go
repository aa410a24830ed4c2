package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is what /proc counts CPU time in: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 100

// cpuOf is the CPU time, user and system, that a process, its present descendants and those it has waited for have used so far.
func cpuOf(pid int) (seconds float64) {
	ticks, members := count(pid)
	// The time of a process that ends goes over to its parent, which may have been read before.
	for again := -1; again != members; {
		again = members
		ticks, members = count(pid)
	}
	return float64(ticks) / clockTick
}

// cpuOfSelf is the CPU time that this process has used so far, without its children.
func cpuOfSelf() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// count adds up the time of a process and its descendants, and their identifiers, which tell whether they are the same later.
func count(pid int) (sum int64, members int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	ticks, children := map[int]int64{}, map[int][]int{}
	for _, path := range stats {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // gone since
		}
		// The second field, the program's name in parentheses, may contain anything.
		i := bytes.LastIndexByte(content, ')')
		f := strings.Fields(string(content[i+1:]))
		id, _ := strconv.Atoi(strings.Split(path, "/")[2])
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], id)
		for _, field := range f[11:15] { // utime, stime, cutime, cstime: proc(5)
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks[id] += n
		}
	}
	for open := []int{pid}; len(open) > 0; open = open[1:] {
		sum, members = sum+ticks[open[0]], members+open[0]
		open = append(open, children[open[0]]...)
	}
	return sum, members
}

// peakMemory is the largest resident set a process has had, in bytes.
func peakMemory(pid int) (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory", pid)
}
