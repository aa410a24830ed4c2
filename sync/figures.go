package sync

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// figures are the live figures of one runner. They are written by the stages and read by whoever flushes them; every
// method is safe for concurrent use and none blocks.
type figures struct {
	mu      sync.Mutex
	st      catalog.Status
	changed bool
	tables  map[schema.Name]*tableFigure
	objects map[objectKey]catalog.ObjectStatus // not yet written
	created map[objectKey]bool                 // by this runner

	alive    chan struct{} // closed at the first sign of life since silence
	progress incremental.Progress
	baseRows int64 // applied by earlier streams
	baseTxns int64
	streams  bool          // a stream runs and has shown life
	walEnd   pglogrepl.LSN // of the source, when it was last looked at
	retained *int64        // WAL by the slot, at that time
	looked   time.Time     // when that was
	worked   int64         // grows with every piece of work done for the first time
	furthest pglogrepl.LSN // that a stream has applied; another attempt begins before it
	rows     speed
	copying  copying
	late     lateness
	minute   minute
	workers  int // connections that copy or apply

	meter   incremental.Meter // of all streams of this runner
	traffic endpoint.Traffic

	// Used by who writes the figures, one at a time:
	delayAlarm  alarm
	delayBefore *int64 // that an earlier runner has seen at last
}

type objectKey struct{ typ, name string }

type tableFigure struct {
	catalog.TableStatus
	bytesEstimated int64
	changed        bool  // since it was last written
	stage          int   // the farthest it ever was
	most           int64 // bytes it ever had
}

// newFigures goes on from what the catalog shows of the task.
func newFigures(st catalog.Status, tables []catalog.TableStatus) *figures {
	f := &figures{
		st: st, tables: map[schema.Name]*tableFigure{}, objects: map[objectKey]catalog.ObjectStatus{},
		created: map[objectKey]bool{}, alive: make(chan struct{}),
		baseRows: st.RowsApplied, baseTxns: st.TransactionsApplied, delayBefore: st.DelayMs,
	}
	f.minute.since, f.minute.before = time.Now(), f.totals()
	if st.DelayMs != nil {
		f.late.whole = st.UpdatedAt.Add(-time.Duration(*st.DelayMs) * time.Millisecond)
	}
	for _, t := range tables {
		f.tables[schema.Name{Schema: t.SourceSchema, Name: t.SourceTable}] = &tableFigure{TableStatus: t}
	}
	return f
}

// streaming notes whether a stream is there.
func (f *figures) streaming(there bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.alive:
		f.streams = there
	default:
		f.streams = false
	}
}

// silence makes awaitLife wait for a new sign of life.
func (f *figures) silence() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive = make(chan struct{})
	f.baseRows, f.baseTxns = f.st.RowsApplied, f.st.TransactionsApplied
}

// awaitLife waits until a stage has reported anything, and tells whether it did before ctx or the stage ended.
func (f *figures) awaitLife(ctx context.Context, ended <-chan struct{}) bool {
	f.mu.Lock()
	alive := f.alive
	f.mu.Unlock()
	select {
	case <-alive:
		return true
	case <-ended:
		return false
	case <-ctx.Done():
		return false
	}
}

// touch notes a change and a sign of life; the caller holds mu.
func (f *figures) touch() {
	f.changed = true
	select {
	case <-f.alive:
	default:
		close(f.alive)
	}
}

// work is a number that grows whenever something was achieved that this runner had not achieved before: an attempt that repeats
// what the last one did, up to the same fault, is no progress.
func (f *figures) work() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.worked
}

func (f *figures) phase(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name == phaseNameIncremental {
		f.complete()
	}
	f.st.Phase = name
	f.changed = true
}

// Phases as sync_status shows them; within the full phase its parts show under their own names.
const (
	phaseNameFull        = "full"
	phaseNameIncremental = "incremental"
	phaseNameCompleted   = "completed"
)

func (f *figures) completed() { // of a task without a stream
	f.mu.Lock()
	defer f.mu.Unlock()
	f.complete()
	f.st.Phase = phaseNameCompleted
	f.changed = true
}

// complete ends the full phase; the caller holds mu.
func (f *figures) complete() {
	f.sumTables(time.Now())
	f.st.StructurePct, f.st.DataPct, f.st.IndexPct, f.st.ProgressPct = 100, 100, 100, 100
	f.st.EtaS, f.st.CopyBytesPerS = nil, 0
}

// Tables is called by the full copy with all tables of the task.
func (f *figures) Tables(tables []fullcopy.TableProgress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range tables {
		f.table(t)
	}
	f.copying.sized = true
	f.touch()
}

// Table is called by the full copy while a table is copied.
func (f *figures) Table(t fullcopy.TableProgress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table(t)
	f.touch()
}

func (f *figures) table(t fullcopy.TableProgress) {
	row := f.tables[t.Source]
	if row == nil {
		row = &tableFigure{}
		f.tables[t.Source] = row
	}
	if reached := stage(t.State); reached > row.stage || t.BytesCopied > row.most {
		row.stage, row.most = max(row.stage, reached), max(row.most, t.BytesCopied)
		f.worked++
	}
	row.bytesEstimated, row.changed = t.BytesEstimated, true
	row.SourceSchema, row.SourceTable = t.Source.Schema, t.Source.Name
	row.DestinationSchema, row.DestinationTable = t.Destination.Schema, t.Destination.Name
	row.State, row.Error = string(t.State), t.Error
	row.RowsEstimated = t.RowsEstimated
	row.RowsIgnored = max(row.RowsIgnored, t.RowsIgnored)
	// A table that an earlier round or run finished is reported without counts, which are still right.
	if t.BytesCopied > 0 || t.State == fullcopy.TableCopying {
		row.RowsCopied, row.BytesCopied = t.RowsCopied, t.BytesCopied
	}
	row.CopyLSN = lsnText(t.LSN)
	row.StartedAt, row.FinishedAt = timeOrNil(t.StartedAt, row.StartedAt), timeOrNil(t.FinishedAt, row.FinishedAt)
}

// stage orders the states of a table.
func stage(s fullcopy.TableState) int {
	return slices.Index([]fullcopy.TableState{
		fullcopy.TablePending, fullcopy.TableCopying, fullcopy.TableCopied, fullcopy.TableIndexing, fullcopy.TableDone,
	}, s)
}

// copied are the names of at most ten source tables that are complete, for display.
func (f *figures) copied() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name, t := range f.tables {
		if t.copiedShare() == 1 {
			names = append(names, readable(name.String()))
		}
	}
	slices.Sort(names)
	if n := len(names); n > 10 {
		names = append(names[:10], fmt.Sprintf("and %d more", n-10))
	}
	return names
}

// known are the source tables of the task.
func (f *figures) known() map[schema.Name]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := make(map[schema.Name]bool, len(f.tables))
	for name := range f.tables {
		known[name] = true
	}
	return known
}

// Object is called by the full copy for every statement of the structure.
func (f *figures) Object(o fullcopy.ObjectProgress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	row := catalog.ObjectStatus{
		Type: o.Type, SourceName: readable(o.Name), DestinationName: readable(o.Target), State: string(o.State),
		Statement: o.Statement, Error: o.Error,
	}
	if o.State == fullcopy.ObjectLeftOut {
		row.State, row.DestinationName = objectExcluded, ""
	}
	key := objectKey{row.Type, row.SourceName}
	if o.State == fullcopy.ObjectCreated && !f.created[key] {
		f.created[key] = true
		f.worked++
	}
	f.objects[key] = row
	f.touch()
}

// objectExcluded is the state of an object that is never created.
const objectExcluded = "excluded"

// Phase is called by the full copy when it moves on.
func (f *figures) Phase(name string, done, total int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.st.Phase = name
	f.phaseShares(name, done, total)
	if name == fullcopy.PhaseSnapshot { // comes before anything is connected
		f.changed = true
		return
	}
	f.touch()
}

// status derives what depends on time and returns all figures, and whether they differ from those returned last.
func (f *figures) status(now time.Time) (catalog.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.st
	f.sumTables(now)
	f.st.DelayMs = nil
	if f.st.Phase == phaseNameIncremental {
		f.st.RowsPerS = f.rows.per(float64(f.st.RowsApplied), now)
		if delay := f.delay(now); delay != nil {
			ms := delay.Milliseconds()
			f.st.DelayMs = &ms
			if f.minute.delay == nil || *f.minute.delay < ms {
				f.minute.delay = &ms
			}
		}
	}
	changed := f.changed || before.RowsPerS != f.st.RowsPerS || before.DelayMs == nil != (f.st.DelayMs == nil) ||
		before.DelayMs != nil && *before.DelayMs != *f.st.DelayMs || before.CopyBytesPerS != f.st.CopyBytesPerS
	f.changed = false
	return f.st, changed
}

// changedTables returns the tables that changed since the last call.
func (f *figures) changedTables() []catalog.TableStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []catalog.TableStatus
	for _, t := range f.tables {
		if t.changed {
			out = append(out, t.TableStatus)
			t.changed = false
		}
	}
	return out
}

// changedObjects returns the objects reported since the last call.
func (f *figures) changedObjects() []catalog.ObjectStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Collect(maps.Values(f.objects))
	clear(f.objects)
	return out
}

// keep takes back what could not be written.
func (f *figures) keep(tables []catalog.TableStatus, objects []catalog.ObjectStatus) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = true
	for _, t := range tables {
		if row := f.tables[schema.Name{Schema: t.SourceSchema, Name: t.SourceTable}]; row != nil {
			row.changed = true
		}
	}
	for _, o := range objects {
		key := objectKey{o.Type, o.SourceName}
		if _, newer := f.objects[key]; !newer {
			f.objects[key] = o
		}
	}
}

func lsnText(l pglogrepl.LSN) string {
	if l == 0 {
		return ""
	}
	return l.String()
}

func timeOrNil(t time.Time, before *time.Time) *time.Time {
	if t.IsZero() {
		return before
	}
	return &t
}
