package sync

import (
	"math"
	"strings"
	"time"

	"pgsyncd/sync/fullcopy"
)

// Shares of the parts of the full phase in the whole, in percent. They are those of databases whose tables have a few indexes each.
const (
	shareStructure = 5
	shareData      = 70
	shareIndexes   = 20
	shareFinish    = 100 - shareStructure - shareData - shareIndexes
)

const (
	// structureFirst is the share of the structure that is made before the rows; foreign keys, triggers and the like come after.
	structureFirst = 80
	// smallest is what a table weighs at least: opening and closing a copy takes its time too.
	smallest = 64 << 10
	// unfinished is the most that something shows before its end.
	unfinished = 99.9
	// memory is how far back a rate looks, and sample how often it is taken.
	memory, sample = 5 * time.Second, 500 * time.Millisecond
)

// copying holds what the figures of the full phase are derived from, beside the tables themselves.
type copying struct {
	sized bool  // the sizes of the tables are known; before, nothing can be weighed
	bytes speed // COPY data, for display
	data  speed // bytes on the source's disk whose rows have been copied
	index speed // likewise, whose indexes are built

	finish float64 // what comes after the indexes, in percent
}

// phaseShares brings percentages that follow from the phase up to date; the caller holds mu.
func (f *figures) phaseShares(name string, done, total int) {
	part := 0.0
	if total > 0 {
		part = min(float64(done)/float64(total), 1)
	}
	phase, _, _ := strings.Cut(name, ":")
	switch phase {
	case fullcopy.PhaseStructure:
		f.st.StructurePct = max(f.st.StructurePct, structureFirst*part)
	case fullcopy.PhaseData, fullcopy.PhaseIndexes:
		f.st.StructurePct = max(f.st.StructurePct, structureFirst)
	case fullcopy.PhaseFinish:
		f.st.StructurePct = max(f.st.StructurePct, min(structureFirst+(100-structureFirst)*part, unfinished))
		f.copying.finish = max(f.copying.finish, 100*part)
	}
}

// sumTables brings the sums over tables up to date; the caller holds mu. Percentages weigh tables by their size and never go
// back, though what they are made of may: a table is copied again after a fault, or one turns out to be larger.
func (f *figures) sumTables(now time.Time) {
	if f.st.Phase == phaseNameIncremental || f.st.Phase == phaseNameCompleted {
		return
	}
	var rows, bytes int64
	var done int
	var whole, copied, indexed float64
	for _, t := range f.tables {
		rows += t.RowsCopied
		bytes += t.BytesCopied
		if t.finished() {
			done++
		}
		weight := float64(max(t.bytesEstimated, smallest))
		whole += weight
		copied += weight * t.copiedShare()
		if t.finished() {
			indexed += weight
		}
	}
	// Indexes of one table are built while rows of others are copied.
	if f.copying.sized && (f.st.Phase == fullcopy.PhaseData || f.st.Phase == fullcopy.PhaseIndexes) {
		f.st.Phase = fullcopy.PhaseData
		if copied == whole {
			f.st.Phase = fullcopy.PhaseIndexes
		}
	}
	f.st.RowsCopied, f.st.BytesCopied = rows, bytes
	f.st.TablesDone, f.st.TablesTotal = done, len(f.tables)
	f.st.CopyBytesPerS = int64(f.copying.bytes.per(float64(bytes), now))
	f.st.EtaS = nil
	if !f.copying.sized {
		return
	}
	if whole > 0 {
		f.st.DataPct = max(f.st.DataPct, 100*copied/whole)
		f.st.IndexPct = max(f.st.IndexPct, 100*indexed/whole)
	}
	dataPct, indexPct := f.st.DataPct, f.st.IndexPct
	if whole == 0 { // there is nothing to do
		dataPct, indexPct = 100, 100
	}
	sum := (shareStructure*f.st.StructurePct + shareData*dataPct + shareIndexes*indexPct + shareFinish*f.copying.finish) / 100
	f.st.ProgressPct = max(f.st.ProgressPct, min(sum, unfinished))
	f.st.EtaS = f.eta(whole, copied, indexed, now)
}

// eta forecasts the rest of the full phase from the speed so far; nil while there is none. Before the first index is built, indexes
// are taken to need their usual share of the time.
func (f *figures) eta(whole, copied, indexed float64, now time.Time) *int64 {
	data, index := f.copying.data.per(copied, now), f.copying.index.per(indexed, now)
	if index == 0 {
		index = data * shareData / shareIndexes
	}
	seconds := 0.0
	for _, part := range []struct{ left, speed float64 }{{whole - copied, data}, {whole - indexed, index}} {
		if part.left <= 0 {
			continue
		}
		if part.speed == 0 {
			return nil
		}
		seconds += part.left / part.speed
	}
	if whole == 0 || seconds > math.MaxInt32 {
		return nil
	}
	eta := int64(math.Ceil(seconds))
	return &eta
}

// finished tells whether rows and indexes of a table are complete.
func (t *tableFigure) finished() bool {
	return fullcopy.TableState(t.State) == fullcopy.TableDone || t.State == tableSynchronizing
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

// speed turns a total that grows, now and then by leaps, into an amount per second: the average over the last seconds, in which
// older ones count less. While nothing moves it fades.
type speed struct {
	total float64
	at    time.Time
	value float64
	begun time.Time // when something was first measured
}

func (s *speed) per(total float64, now time.Time) float64 {
	elapsed := now.Sub(s.at)
	switch {
	case s.at.IsZero() || total < s.total:
		s.total, s.at = total, now
	case elapsed >= sample:
		measured := (total - s.total) / elapsed.Seconds()
		if s.begun.IsZero() && measured > 0 {
			s.begun = s.at
		}
		weight := 1 - math.Exp(-elapsed.Seconds()/memory.Seconds())
		if !s.begun.IsZero() { // of the first seconds the plain average
			weight = max(weight, elapsed.Seconds()/now.Sub(s.begun).Seconds())
		}
		s.value += weight * (measured - s.value)
		if s.value < 0.5 {
			s.value = 0
		}
		s.total, s.at = total, now
	}
	return s.value
}
