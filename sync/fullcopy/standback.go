package fullcopy

import (
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// standBack is what the loaders of all tasks share: as long as one of them copies, the threads of this process take a processor only
// when it is free or their turn, not as soon as they have something to do (SCHED_BATCH, see sched(7)).
//
// Where the servers run on the same machine, a thread that relays would otherwise be woken by the first kilobytes a source sends, and
// take its processor from the source, which is just about to send more. It would read little, and often, and every change of the
// process costs more than that. Where a processor is free nothing changes. All threads, because nobody knows on which of them the Go
// runtime lets a goroutine run; those it adds, and programs, take the policy from the one that starts them.
var standBack = precedence{threads: threads}

// precedence counts those for whom threads stand back.
type precedence struct {
	threads func() []int

	mu      sync.Mutex
	holders int
	changed bool // the threads had the usual policy, and get it back
}

// hold has the threads stand back until release is called as often as hold. Where the system does not allow it, all stays as it is.
func (p *precedence) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holders++; p.holders == 1 {
		p.changed = p.turn(unix.SCHED_NORMAL, unix.SCHED_BATCH)
	}
}

func (p *precedence) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holders--; p.holders == 0 && p.changed {
		p.turn(unix.SCHED_BATCH, unix.SCHED_NORMAL)
	}
}

// turn gives the threads that have one policy another, and tells whether there were any.
func (p *precedence) turn(from, to uint32) (any bool) {
	for _, thread := range p.threads() {
		attr, err := unix.SchedGetAttr(thread, 0)
		if err != nil || attr.Policy != from {
			continue
		}
		attr.Policy = to
		attr.Runtime = 0 // since Linux 6.12 a time slice: the usual one
		any = unix.SchedSetAttr(thread, attr, 0) == nil || any
	}
	return any
}

// threads are those of this process.
func threads() (ids []int) {
	entries, _ := os.ReadDir("/proc/self/task") // without it none stands back
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
