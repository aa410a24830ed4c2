package precheck

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/schema"
)

// Outcome is what became of a check.
type Outcome string

// The outcomes. A task starts when nothing failed and everything to confirm was
// confirmed.
const (
	Passed    Outcome = "passed"
	ToConfirm Outcome = "to confirm"
	Failed    Outcome = "failed"
)

// Values of Input.ExistingObjects.
const (
	ExistingFail    = "fail"
	ExistingUse     = "use"
	ExistingAppend  = "append"
	ExistingReplace = "replace"
)

// Values of Input.FullConflicts.
const (
	ConflictsIgnore = "ignore"
	ConflictsError  = "error"
)

// Input is the task to be checked.
type Input struct {
	Source, Destination *endpoint.Endpoint
	Selection           schema.Selection
	Incremental         bool                // changes are streamed
	Adopt               bool                // and nothing is copied: the destination has the tables with their rows already
	Again               bool                // the task was begun before, and what it made is still in the destination
	ExistingObjects     string              // default ExistingFail
	FullConflicts       string              // default ConflictsIgnore
	CreateDatabase      bool                // the destination database is created when it is missing
	LargeObjects        bool                // the full phase copies them
	Slot, Publication   string              // names the task will use on the source; empty without Incremental
	Slots               int                 // slots the task needs at once; default 2, its own and a temporary one for copies after a crash; 1 with Adopt
	CopyWorkers         int                 // sessions on each side that copy rows; default 4
	IndexWorkers        int                 // sessions on the destination that build indexes; default 4
	ApplyWorkers        int                 // sessions on the destination that apply changes; default 1
	SequenceMargin      int64               // added to sequences on stop; default 10,000
	Decoder             string              // pgoutput, test_decoding, or default auto
	FlowLimit           func(time.Time) int // bytes per second that the copy may move at a time, 0 for any number; default no limit
	LongTransaction     time.Duration       // transactions that run for longer are shown; default one minute
}

// Result is one row: what was found and what to do about it, with the exact
// statement where there is one.
type Result struct {
	Category, Item string
	Outcome        Outcome
	Found          string
	Suggestion     string // empty when there is nothing to do
}

// checkTimeout bounds one check.
const checkTimeout = time.Minute

// check is one row of the precheck.
type check struct {
	category, item string
	needs          needs
	when           occasion
	run            func(context.Context, *env) (finding, error)
}

// occasion is which tasks a check concerns.
type occasion string

const (
	always   occasion = "always"
	copied   occasion = "copied"   // the task makes objects and copies rows
	streamed occasion = "streamed" // it streams changes
	adopted  occasion = "adopted"  // it streams them into tables that the destination has with their rows already
)

// concerns tells whether a check with this occasion is to be made.
func (in Input) concerns(when occasion) bool {
	switch when {
	case copied:
		return !in.Adopt
	case streamed:
		return in.Incremental
	case adopted:
		return in.Adopt
	case always:
	}
	return true
}

// finding is the answer of a check.
type finding struct {
	outcome           Outcome
	found, suggestion string
}

func passed(format string, args ...any) (finding, error) {
	return finding{outcome: Passed, found: fmt.Sprintf(format, args...)}, nil
}

func confirm(found, suggestion string) (finding, error) {
	return finding{ToConfirm, found, suggestion}, nil
}

func failed(found, suggestion string) (finding, error) {
	return finding{Failed, found, suggestion}, nil
}

// all lists the checks in the order in which they are made and shown.
func all() []check {
	return slices.Concat(endpointChecks, versionChecks, settingChecks, selectionChecks, requirementChecks, sourcePrivilegeChecks, decodingChecks, destinationPrivilegeChecks,
		accountChecks, roleChecks, tableChecks, filterChecks, objectChecks, adoptionChecks, typeChecks, extensionChecks, compatibilityChecks,
		activityChecks, leftoverChecks, capacityChecks)
}

// Run makes all checks that concern the task.
func Run(ctx context.Context, in Input) []Result {
	in.Decoder = cmp.Or(in.Decoder, DecoderAuto)
	in.ExistingObjects = cmp.Or(in.ExistingObjects, ExistingFail)
	in.FullConflicts = cmp.Or(in.FullConflicts, ConflictsIgnore)
	if in.Slots == 0 && in.Adopt {
		in.Slots = 1
	}
	in.Slots = cmp.Or(in.Slots, 2)
	in.CopyWorkers, in.IndexWorkers, in.ApplyWorkers = cmp.Or(in.CopyWorkers, 4), cmp.Or(in.IndexWorkers, 4), cmp.Or(in.ApplyWorkers, 1)
	in.SequenceMargin = cmp.Or(in.SequenceMargin, 10_000)
	in.LongTransaction = cmp.Or(in.LongTransaction, time.Minute)
	e := open(ctx, in)
	defer e.close(ctx)
	var results []Result
	for _, c := range all() {
		if !in.concerns(c.when) {
			continue
		}
		if e.beyondReach(c) {
			continue
		}
		f, err := e.answer(ctx, c)
		if err != nil {
			d := endpoint.Diagnose(err)
			f = finding{Failed, "could not be checked: " + in.redact(d.Message), in.redact(d.Hint)}
		}
		results = append(results, Result{c.category, c.item, f.outcome, f.found, f.suggestion})
	}
	return results
}

// beyondReach tells whether a check needs a server that could not be reached at all: one row says so, and what the others would have
// told is unknown.
func (e *env) beyondReach(c check) bool {
	return e.src.absent && c.needs&(source|inventory) != 0 || e.dst.absent && c.needs&(destination|database) != 0
}

func (in Input) redact(text string) string {
	return in.Destination.Redact(in.Source.Redact(text))
}

// answer makes one check, provided that what it needs is there.
func (e *env) answer(ctx context.Context, c check) (finding, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := e.prepare(ctx, c.needs); err != nil {
		return finding{}, err
	}
	if c.needs&database != 0 && e.creating {
		return passed("the database %s will be created", ident(e.in.Destination.Database()))
	}
	return c.run(ctx, e)
}

// enumerate joins a list for reading, at most ten of it.
func enumerate(list []string) string {
	const most = 10
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// statements joins statements for execution, one per line.
func statements(list []string) string { return strings.Join(list, "\n") }

// count writes a number with its noun.
func count(n int, singular, plural string) string {
	if n == 1 {
		return "1 " + singular
	}
	return fmt.Sprintf("%d %s", n, plural)
}
