package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// State is what a task observably is. The texts are stored and shown verbatim.
type State string

// The states of a task.
const (
	StateCreating          State = "creating"
	StateCreationFailed    State = "creation failed"
	StateConfiguration     State = "configuration"
	StatePendingStart      State = "pending start"
	StateStarting          State = "starting"
	StateStartFailed       State = "start failed"
	StateFull              State = "full synchronization"
	StateFullFailed        State = "full synchronization failed"
	StateIncremental       State = "incremental synchronization"
	StateIncrementalFailed State = "incremental synchronization failed"
	StateModifying         State = "modifying task"
	StateModifyingFailed   State = "modifying task failed"
	StateFault             State = "fault rectification"
	StatePaused            State = "paused"
	StateStopping          State = "task stopping"
	StateCompleting        State = "completing"
	StateStoppingFailed    State = "stopping task failed"
	StateCompleted         State = "completed"
)

// States lists every state in the order of a task's life.
var States = []State{
	StateCreating, StateCreationFailed, StateConfiguration, StatePendingStart, StateStarting, StateStartFailed,
	StateFull, StateFullFailed, StateIncremental, StateIncrementalFailed, StateModifying, StateModifyingFailed,
	StateFault, StatePaused, StateStopping, StateCompleting, StateStoppingFailed, StateCompleted,
}

// Desired is what the operator asked of a task. A runner works while it is not DesiredNone.
type Desired string

// What an operator can ask of a task.
const (
	DesiredNone      Desired = "none"
	DesiredRun       Desired = "run"
	DesiredPause     Desired = "pause"
	DesiredStop      Desired = "stop"
	DesiredForceStop Desired = "force stop"
)

// Event is something that happens to a task: an operator's statement or a runner's finding.
type Event string

// Events raised by operators.
const (
	EventStart      Event = "start"
	EventSchedule   Event = "schedule"   // start at Change.StartAt
	EventUnschedule Event = "unschedule" // back to configuration
	EventPause      Event = "pause"
	EventResume     Event = "resume"
	EventReset      Event = "reset" // everything from the beginning; the task's progress is cleared
	EventModify     Event = "modify"
	EventStop       Event = "stop"
	EventForceStop  Event = "force stop"
	EventDrop       Event = "drop"
)

// Events raised by the daemon itself. A fault forgets which phase it interrupted, so its outcome names the phase.
const (
	EventCreated              Event = "created"
	EventCreationFailed       Event = "creation failed"
	EventExpired              Event = "expired" // a task that could not be created was kept long enough
	EventDue                  Event = "due"     // the start time has come
	EventFullBegun            Event = "full begun"
	EventFullDone             Event = "full done" // of a task without incremental phase
	EventIncrementalBegun     Event = "incremental begun"
	EventModified             Event = "modified"
	EventFault                Event = "fault"
	EventRecoveredFull        Event = "recovered to full"
	EventRecoveredIncremental Event = "recovered to incremental"
	EventFailed               Event = "failed"
	EventFailedFull           Event = "failed in full"
	EventFailedIncremental    Event = "failed in incremental"
	EventPaused               Event = "paused"
	EventDrained              Event = "drained"
	EventStopFailed           Event = "stop failed"
	EventCompleted            Event = "completed"
)

// OperatorEvents lists the events an operator can raise, in the order HINTs name them.
var OperatorEvents = []Event{
	EventStart, EventSchedule, EventUnschedule, EventPause, EventResume, EventReset, EventModify, EventStop,
	EventForceStop, EventDrop,
}

// DaemonEvents lists the events the daemon raises itself.
var DaemonEvents = []Event{
	EventCreated, EventCreationFailed, EventExpired, EventDue, EventFullBegun, EventFullDone, EventIncrementalBegun,
	EventModified, EventFault, EventRecoveredFull, EventRecoveredIncremental, EventFailed, EventFailedFull,
	EventFailedIncremental, EventPaused, EventDrained, EventStopFailed, EventCompleted,
}

// Transition is one permitted step of a task.
type Transition struct {
	From    State
	Event   Event
	To      State   // empty: the task is erased
	Desired Desired // empty: unchanged
	// Clean permits the step only while the runner has noted nothing it made (Task.Runtime is empty).
	Clean bool
}

// Transitions is the whole state machine. No pair of From and Event occurs twice.
var Transitions = []Transition{
	// Before the start.
	{From: StateCreating, Event: EventCreated, To: StateConfiguration},
	{From: StateCreating, Event: EventCreationFailed, To: StateCreationFailed, Desired: DesiredNone},
	{From: StateCreationFailed, Event: EventExpired, To: StateCompleted, Desired: DesiredNone},
	{From: StateConfiguration, Event: EventSchedule, To: StatePendingStart, Desired: DesiredNone},
	{From: StatePendingStart, Event: EventSchedule, To: StatePendingStart, Desired: DesiredNone},
	{From: StatePendingStart, Event: EventUnschedule, To: StateConfiguration, Desired: DesiredNone},
	{From: StateConfiguration, Event: EventStart, To: StateStarting, Desired: DesiredRun},
	{From: StatePendingStart, Event: EventStart, To: StateStarting, Desired: DesiredRun},
	{From: StatePendingStart, Event: EventDue, To: StateStarting, Desired: DesiredRun},
	{From: StatePendingStart, Event: EventFailed, To: StateStartFailed, Desired: DesiredNone},
	{From: StateStartFailed, Event: EventStart, To: StateStarting, Desired: DesiredRun},

	// The usual course.
	{From: StateStarting, Event: EventFullBegun, To: StateFull},
	{From: StateStarting, Event: EventIncrementalBegun, To: StateIncremental},
	{From: StateFull, Event: EventIncrementalBegun, To: StateIncremental},
	{From: StateFull, Event: EventFullDone, To: StateCompleting},
	{From: StateIncremental, Event: EventModify, To: StateModifying},
	{From: StateModifyingFailed, Event: EventModify, To: StateModifying, Desired: DesiredRun},
	{From: StateModifying, Event: EventModified, To: StateIncremental},

	// Faults that a runner tries to overcome by itself.
	{From: StateStarting, Event: EventFault, To: StateFault},
	{From: StateFull, Event: EventFault, To: StateFault},
	{From: StateIncremental, Event: EventFault, To: StateFault},
	{From: StateModifying, Event: EventFault, To: StateFault},
	{From: StateFault, Event: EventFullBegun, To: StateFull},
	{From: StateFault, Event: EventIncrementalBegun, To: StateIncremental},
	{From: StateFault, Event: EventRecoveredFull, To: StateFull},
	{From: StateFault, Event: EventRecoveredIncremental, To: StateIncremental},

	// Failures that wait for an operator.
	{From: StateStarting, Event: EventFailed, To: StateStartFailed, Desired: DesiredNone},
	{From: StateStarting, Event: EventFailedFull, To: StateFullFailed, Desired: DesiredNone},
	{From: StateStarting, Event: EventFailedIncremental, To: StateIncrementalFailed, Desired: DesiredNone},
	{From: StateFull, Event: EventFailed, To: StateFullFailed, Desired: DesiredNone},
	{From: StateFull, Event: EventFailedFull, To: StateFullFailed, Desired: DesiredNone},
	{From: StateIncremental, Event: EventFailed, To: StateIncrementalFailed, Desired: DesiredNone},
	{From: StateIncremental, Event: EventFailedIncremental, To: StateIncrementalFailed, Desired: DesiredNone},
	{From: StateModifying, Event: EventFailed, To: StateModifyingFailed, Desired: DesiredNone},
	{From: StateFault, Event: EventFailedFull, To: StateFullFailed, Desired: DesiredNone},
	{From: StateFault, Event: EventFailedIncremental, To: StateIncrementalFailed, Desired: DesiredNone},

	// What happens on the source can take a task that stands still from one that may be resumed to one that must begin anew.
	{From: StatePaused, Event: EventFailedFull, To: StateFullFailed},
	{From: StatePaused, Event: EventFailedIncremental, To: StateIncrementalFailed},
	{From: StateFullFailed, Event: EventFailedFull, To: StateFullFailed},
	{From: StateIncrementalFailed, Event: EventFailedIncremental, To: StateIncrementalFailed},
	{From: StateStoppingFailed, Event: EventStopFailed, To: StateStoppingFailed},

	// Pause: the operator's wish first, then the runner's word that it holds still.
	{From: StateStarting, Event: EventPause, To: StateStarting, Desired: DesiredPause},
	{From: StateFull, Event: EventPause, To: StateFull, Desired: DesiredPause},
	{From: StateIncremental, Event: EventPause, To: StateIncremental, Desired: DesiredPause},
	{From: StateFault, Event: EventPause, To: StateFault, Desired: DesiredPause},
	{From: StateStarting, Event: EventPaused, To: StatePaused, Desired: DesiredNone},
	{From: StateFull, Event: EventPaused, To: StatePaused, Desired: DesiredNone},
	{From: StateIncremental, Event: EventPaused, To: StatePaused, Desired: DesiredNone},
	{From: StateFault, Event: EventPaused, To: StatePaused, Desired: DesiredNone},

	// Going on, or from the beginning.
	{From: StatePaused, Event: EventResume, To: StateStarting, Desired: DesiredRun},
	{From: StateStartFailed, Event: EventResume, To: StateStarting, Desired: DesiredRun},
	{From: StateFullFailed, Event: EventResume, To: StateStarting, Desired: DesiredRun},
	{From: StateIncrementalFailed, Event: EventResume, To: StateStarting, Desired: DesiredRun},
	{From: StateModifyingFailed, Event: EventResume, To: StateStarting, Desired: DesiredRun},
	{From: StateFullFailed, Event: EventStart, To: StateStarting, Desired: DesiredRun},
	{From: StateIncrementalFailed, Event: EventStart, To: StateStarting, Desired: DesiredRun},
	{From: StateModifyingFailed, Event: EventStart, To: StateStarting, Desired: DesiredRun},
	{From: StatePaused, Event: EventReset, To: StateStarting, Desired: DesiredRun},
	{From: StateFullFailed, Event: EventReset, To: StateStarting, Desired: DesiredRun},
	{From: StateIncrementalFailed, Event: EventReset, To: StateStarting, Desired: DesiredRun},

	// The end.
	{From: StateFull, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateIncremental, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateFault, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StatePaused, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateStartFailed, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateFullFailed, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateIncrementalFailed, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateModifyingFailed, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateStoppingFailed, Event: EventStop, To: StateStopping, Desired: DesiredStop},
	{From: StateStarting, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateFull, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateIncremental, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateModifying, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateFault, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StatePaused, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateStartFailed, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateFullFailed, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateIncrementalFailed, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateModifyingFailed, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateStopping, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateCompleting, Event: EventForceStop, To: StateCompleting, Desired: DesiredForceStop},
	{From: StateStoppingFailed, Event: EventForceStop, To: StateStopping, Desired: DesiredForceStop},
	{From: StateStopping, Event: EventDrained, To: StateCompleting},
	{From: StateStopping, Event: EventStopFailed, To: StateStoppingFailed, Desired: DesiredNone},
	{From: StateCompleting, Event: EventStopFailed, To: StateStoppingFailed, Desired: DesiredNone},
	{From: StateCompleting, Event: EventCompleted, To: StateCompleted, Desired: DesiredNone},

	// Erasing. A failed start may have left a slot behind, which only a stop removes.
	{From: StateCreationFailed, Event: EventDrop},
	{From: StateConfiguration, Event: EventDrop},
	{From: StatePendingStart, Event: EventDrop},
	{From: StateStartFailed, Event: EventDrop, Clean: true},
	{From: StateCompleted, Event: EventDrop},
}

// Next gives the step that ev takes from a state, and whether there is one.
func Next(from State, ev Event) (Transition, bool) {
	i := slices.IndexFunc(Transitions, func(t Transition) bool { return t.From == from && t.Event == ev })
	if i < 0 {
		return Transition{}, false
	}
	return Transitions[i], true
}

// Possible lists what an operator can do in a state.
func Possible(from State) []Event {
	var events []Event
	for _, ev := range OperatorEvents {
		if _, ok := Next(from, ev); ok {
			events = append(events, ev)
		}
	}
	return events
}

// StateError says that an event does not fit the state of a task.
type StateError struct {
	Task     string // name
	State    State
	Event    Event
	Possible []Event // what an operator can do now
}

// Error names the task, the event and the state.
func (e *StateError) Error() string {
	possible := make([]string, len(e.Possible))
	for i, ev := range e.Possible {
		possible[i] = string(ev)
	}
	return fmt.Sprintf("task %q: cannot %s in state %q (possible: %s)",
		e.Task, e.Event, e.State, strings.Join(possible, ", "))
}
