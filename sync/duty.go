package sync

import "pgsyncd/catalog"

// duty is what a task's runner is there for. A task without duty has no runner.
type duty string

const (
	dutyNone      duty = ""
	dutyWait      duty = "wait for the start time"
	dutyRun       duty = "run"
	dutyPause     duty = "pause"
	dutyStop      duty = "stop"
	dutyForceStop duty = "force stop"
)

// dutyOf derives a task's duty from what is wanted of it and from the state it is in.
func dutyOf(state catalog.State, desired catalog.Desired) duty {
	if state == catalog.StatePendingStart {
		return dutyWait
	}
	switch desired {
	case catalog.DesiredRun:
		if active(state) || state == catalog.StateModifying || state == catalog.StateCompleting {
			return dutyRun
		}
	case catalog.DesiredPause:
		if active(state) {
			return dutyPause
		}
	case catalog.DesiredStop:
		if state == catalog.StateStopping || state == catalog.StateCompleting {
			return dutyStop
		}
	case catalog.DesiredForceStop:
		if state == catalog.StateStopping || state == catalog.StateCompleting {
			return dutyForceStop
		}
	case catalog.DesiredNone:
	}
	return dutyNone
}

// active states are those in which a task works at its synchronization.
func active(s catalog.State) bool {
	switch s {
	case catalog.StateStarting, catalog.StateFull, catalog.StateIncremental, catalog.StateFault:
		return true
	default:
		return false
	}
}
