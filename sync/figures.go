package sync

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
)

// Shares of the parts of the full phase in the whole, in percent.
const (
	shareStructure = 5
	shareData      = 70
	shareIndexes   = 20
	shareFinish    = 100 - shareStructure - shareData - shareIndexes
)

// figures are the live figures of one runner. They are written by the stages and read by whoever flushes them; every
// method is safe for concurrent use and none blocks.
type figures struct {
	mu      sync.Mutex
	st      catalog.Status
	changed bool
	tables  map[schema.Name]*tableFigure
	objects map[objectKey]catalog.ObjectStatus // not yet written

	alive    chan struct{} // closed at the first sign of life since silence
	progress incremental.Progress
	baseRows int64 // applied by earlier streams
	baseTxns int64
	walEnd   pglogrepl.LSN // of the source, when it was last looked at
	worked   int64         // grows with every piece of work done
	rows     rate
	bytes    rate
}

type objectKey struct{ typ, name string }

type tableFigure struct {
	catalog.TableStatus
	bytesEstimated int64
	changed        bool
}

// newFigures goes on from what the catalog shows of the task.
func newFigures(st catalog.Status, tables []catalog.TableStatus) *figures {
	f := &figures{
		st: st, tables: map[schema.Name]*tableFigure{}, objects: map[objectKey]catalog.ObjectStatus{}, alive: make(chan struct{}),
		baseRows: st.RowsApplied, baseTxns: st.TransactionsApplied,
	}
	for _, t := range tables {
		f.tables[schema.Name{Schema: t.SourceSchema, Name: t.SourceTable}] = &tableFigure{TableStatus: t}
	}
	return f
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

// work is a number that grows whenever something was achieved.
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
	if string(t.State) != row.State || t.BytesCopied > row.BytesCopied {
		f.worked++
	}
	row.bytesEstimated, row.changed = t.BytesEstimated, true
	row.SourceSchema, row.SourceTable = t.Source.Schema, t.Source.Name
	row.DestinationSchema, row.DestinationTable = t.Destination.Schema, t.Destination.Name
	row.State, row.Error = string(t.State), t.Error
	row.RowsEstimated = t.RowsEstimated
	// A table that an earlier round or run finished is reported without counts, which are still right.
	if t.BytesCopied > 0 || t.State == fullcopy.TableCopying {
		row.RowsCopied, row.BytesCopied = t.RowsCopied, t.BytesCopied
	}
	row.CopyLSN = lsnText(t.LSN)
	row.StartedAt, row.FinishedAt = timeOrNil(t.StartedAt, row.StartedAt), timeOrNil(t.FinishedAt, row.FinishedAt)
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
	f.objects[objectKey{o.Type, o.Name}] = catalog.ObjectStatus{
		Type: o.Type, SourceName: o.Name, DestinationName: o.Name, State: string(o.State), Statement: o.Statement, Error: o.Error,
	}
	if o.State != fullcopy.ObjectLeftOut { // which is told anew by every attempt
		f.worked++
	}
	f.touch()
}

// Phase is called by the full copy when it moves on.
func (f *figures) Phase(name string, done, total int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.st.Phase = name
	pct := 0.0
	if total > 0 {
		pct = 100 * float64(done) / float64(total)
	}
	switch name {
	case fullcopy.PhaseStructure:
		f.st.StructurePct = max(f.st.StructurePct, pct)
	case fullcopy.PhaseIndexes:
		f.st.StructurePct = 100
		f.st.IndexPct = max(f.st.IndexPct, pct)
	case fullcopy.PhaseFinish:
		f.st.StructurePct, f.st.DataPct, f.st.IndexPct = 100, 100, 100
		f.st.ProgressPct = max(f.st.ProgressPct, 100-shareFinish+shareFinish*0.9*pct/100)
	case fullcopy.PhaseSnapshot: // comes before anything is connected
		f.changed = true
		return
	}
	f.touch()
}

// source takes what was seen of the source's WAL.
func (f *figures) source(end pglogrepl.LSN, confirmed *pglogrepl.LSN, retained *int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walEnd, f.st.SourceLSN, f.st.SlotWALBytes = end, lsnText(end), retained
	if confirmed != nil {
		f.st.ConfirmedLSN = lsnText(*confirmed)
	}
	f.changed = true
}

// status derives what depends on time and returns all figures, and whether they differ from those returned last.
func (f *figures) status(now time.Time) (catalog.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.st
	f.sumTables(now)
	if f.st.Phase == phaseNameIncremental && f.progress.Applied > 0 {
		f.st.RowsPerS = f.rows.per(f.st.RowsApplied, now)
		delay := f.delay(now).Milliseconds()
		f.st.DelayMs = &delay
	}
	f.st.LagBytes = nil
	if f.progress.Applied > 0 && f.walEnd > 0 {
		lag := max(int64(f.walEnd)-int64(f.progress.Applied), 0)
		f.st.LagBytes = &lag
	}
	changed := f.changed || before.RowsPerS != f.st.RowsPerS || before.DelayMs == nil != (f.st.DelayMs == nil) ||
		before.DelayMs != nil && *before.DelayMs != *f.st.DelayMs || before.CopyBytesPerS != f.st.CopyBytesPerS
	f.changed = false
	return f.st, changed
}

// sumTables brings the sums over tables up to date; the caller holds mu.
func (f *figures) sumTables(now time.Time) {
	if f.st.Phase == phaseNameIncremental || f.st.Phase == phaseNameCompleted {
		return
	}
	var rows, bytes, done, estimated int64
	var finished, share float64
	for _, t := range f.tables {
		rows += t.RowsCopied
		bytes += t.BytesCopied
		estimated += t.bytesEstimated
		weight := float64(max(t.bytesEstimated, 8192))
		share += weight
		finished += weight * t.copiedShare()
		switch fullcopy.TableState(t.State) {
		case fullcopy.TableDone, tableSynchronizing:
			done++
		default:
		}
	}
	f.st.RowsCopied, f.st.BytesCopied = rows, bytes
	f.st.TablesDone, f.st.TablesTotal = int(done), len(f.tables)
	if share > 0 {
		f.st.DataPct = max(f.st.DataPct, 100*finished/share)
	}
	f.st.CopyBytesPerS = int64(f.bytes.per(bytes, now))
	f.st.EtaS = nil
	if left := float64(estimated) * (1 - f.st.DataPct/100); f.st.CopyBytesPerS > 0 && left > 0 {
		eta := int64(left / float64(f.st.CopyBytesPerS))
		f.st.EtaS = &eta
	}
	whole := (shareStructure*f.st.StructurePct + shareData*f.st.DataPct + shareIndexes*f.st.IndexPct) / 100
	f.st.ProgressPct = max(f.st.ProgressPct, whole)
}

// copiedShare is the part of the table's rows that is in the destination; a table in progress is never complete.
func (t *tableFigure) copiedShare() float64 {
	switch fullcopy.TableState(t.State) {
	case fullcopy.TableCopied, fullcopy.TableIndexing, fullcopy.TableDone, tableSynchronizing:
		return 1
	case fullcopy.TableCopying:
	default:
		return 0
	}
	switch {
	case t.RowsEstimated > 0:
		return min(float64(t.RowsCopied)/float64(t.RowsEstimated), 0.99)
	case t.bytesEstimated > 0:
		return min(float64(t.BytesCopied)/float64(t.bytesEstimated), 0.99)
	}
	return 0
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

// rate turns a growing total into a rate per second, smoothed over a few seconds.
type rate struct {
	total int64
	at    time.Time
	value float64
}

func (r *rate) per(total int64, now time.Time) float64 {
	elapsed := now.Sub(r.at).Seconds()
	switch {
	case r.at.IsZero() || total < r.total:
		r.total, r.at, r.value = total, now, 0
	case elapsed >= 0.5:
		const smoothing = 0.4
		r.value += smoothing * (float64(total-r.total)/elapsed - r.value)
		if r.value < 0.5 {
			r.value = 0
		}
		r.total, r.at = total, now
	}
	return r.value
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
