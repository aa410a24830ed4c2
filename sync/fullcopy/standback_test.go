package fullcopy

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// policy is the scheduling policy of the calling thread.
func policy(t *testing.T) uint32 {
	t.Helper()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return attr.Policy
}

// Threads stand back until the last that copies is done, and keep a policy that somebody else has given them.
func TestThreadsStandBack(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread() // and so the thread ends with the test
	standBack.hold()       // so that tests that copy do not change it meanwhile
	t.Cleanup(standBack.release)
	p := &precedence{threads: func() []int { return []int{unix.Gettid()} }}
	p.turn(unix.SCHED_BATCH, unix.SCHED_NORMAL)
	for i, step := range []struct {
		do   func()
		want uint32
	}{
		{p.hold, unix.SCHED_BATCH},
		{p.hold, unix.SCHED_BATCH},
		{p.release, unix.SCHED_BATCH},
		{p.release, unix.SCHED_NORMAL},
		{p.hold, unix.SCHED_BATCH},
		{p.release, unix.SCHED_NORMAL},
		{func() { p.turn(unix.SCHED_NORMAL, unix.SCHED_BATCH) }, unix.SCHED_BATCH}, // by an administrator
		{p.hold, unix.SCHED_BATCH},
		{p.release, unix.SCHED_BATCH},
	} {
		if step.do(); policy(t) != step.want {
			t.Errorf("step %d: policy %d, want %d", i, policy(t), step.want)
		}
	}
}
