package fullcopy

import (
	"slices"
	"sync"
	"time"

	"pgsyncd/sync/schema"
)

// reportInterval is how often a table under copy is reported.
const reportInterval = 250 * time.Millisecond

// tables keeps what is reported of every source table that holds rows, and the errors of those that were refused.
type tables struct {
	report Reporter

	mu      sync.Mutex
	known   map[schema.Name]*TableProgress
	done    int // rows committed
	refused []TableFailure
	yielded bool          // a unit was left to the next round
	waiting []schema.Name // units whose structure is not complete
}

func newTables(report Reporter) *tables {
	return &tables{report: report, known: map[schema.Name]*TableProgress{}}
}

// expect announces the tables of a round and forgets what the last one could not copy.
func (t *tables) expect(units []*unit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused, t.yielded, t.waiting = nil, false, nil
	for _, u := range units {
		for _, f := range u.feeds {
			if p := t.known[f.source.Name]; p == nil || p.State != TableDone { // parts that came in an earlier round are removed
				t.known[f.source.Name] = &TableProgress{Source: f.source.Name, State: TablePending}
			}
			p := t.known[f.source.Name]
			p.Destination, p.LSN = f.target, u.lsn
			p.RowsEstimated, p.BytesEstimated = f.source.Rows, f.source.Bytes
		}
	}
	list := make([]TableProgress, 0, len(t.known))
	for _, p := range t.known {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b TableProgress) int { return a.Source.Compare(b.Source) })
	t.report.Tables(list)
	t.report.Phase(PhaseData, t.done, len(list))
}

// change updates one table and reports it.
func (t *tables) change(name schema.Name, f func(*TableProgress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.known[name]; p != nil {
		f(p)
		t.report.Table(*p)
	}
}

// each updates all tables of a unit. Those an earlier round of this run has finished stay as they are.
func (t *tables) each(u *unit, f func(*TableProgress)) {
	for _, feed := range u.feeds {
		t.change(feed.source.Name, func(p *TableProgress) {
			if p.State != TableDone {
				f(p)
			}
		})
	}
}

func (t *tables) copied(u *unit) {
	t.each(u, func(p *TableProgress) {
		p.State, p.LSN = TableCopied, u.lsn
		t.done++
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Phase(PhaseData, t.done, len(t.known))
}

func (t *tables) indexing(u *unit) {
	t.each(u, func(p *TableProgress) { p.State = TableIndexing })
}

func (t *tables) finished(u *unit) {
	now := time.Now()
	t.each(u, func(p *TableProgress) { p.State, p.FinishedAt = TableDone, now })
}

// refuse records that a unit cannot be copied.
func (t *tables) refuse(u *unit, err error) {
	t.each(u, func(p *TableProgress) { p.State, p.Error = TableFailed, withDetail(err) })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = append(t.refused, TableFailure{Table: u.name, Err: err})
}

// wait records that a unit is not copied because its structure is not complete; what is wrong with that is told elsewhere.
func (t *tables) wait(u *unit, err error) {
	t.each(u, func(p *TableProgress) { p.State, p.Error = TableFailed, err.Error() })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, u.name)
}

// incomplete are the units that could not be copied.
func (t *tables) incomplete() map[schema.Name]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	units := map[schema.Name]bool{}
	for _, name := range t.waiting {
		units[name] = true
	}
	for _, f := range t.refused {
		units[f.Table] = true
	}
	return units
}

// ignored corrects what was counted of a table by the rows that turned out to be there already.
func (t *tables) ignored(f *feed, stored, ignored int64) {
	t.change(f.source.Name, func(p *TableProgress) { p.RowsCopied, p.RowsIgnored = stored, ignored })
}

// giveWay leaves a unit to the next round.
func (t *tables) giveWay(u *unit) {
	t.each(u, func(p *TableProgress) { p.State = TablePending })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.yielded = true
}

// moved counts what one COPY moves.
type moved struct {
	tables     *tables
	table      schema.Name
	rows       int64 // reported so far
	bytes      int64
	newRows    int64
	newBytes   int64
	lastReport time.Time
}

// begin starts counting for one piece of a feed.
func (t *tables) begin(f *feed) *moved {
	now := time.Now()
	t.change(f.source.Name, func(p *TableProgress) {
		if p.State == TableFailed { // by another part, since this one was taken up
			return
		}
		p.State, p.Error = TableCopying, ""
		if p.StartedAt.IsZero() {
			p.StartedAt = now
		}
	})
	return &moved{tables: t, table: f.source.Name, lastReport: now}
}

func (m *moved) add(bytes, rows int) {
	m.newBytes, m.newRows = m.newBytes+int64(bytes), m.newRows+int64(rows)
	if now := time.Now(); now.Sub(m.lastReport) >= reportInterval {
		m.lastReport = now
		m.flush()
	}
}

func (m *moved) flush() {
	m.tables.change(m.table, func(p *TableProgress) {
		p.RowsCopied, p.BytesCopied = p.RowsCopied+m.newRows, p.BytesCopied+m.newBytes
	})
	m.rows, m.bytes = m.rows+m.newRows, m.bytes+m.newBytes
	m.newRows, m.newBytes = 0, 0
}

// end replaces the count of messages by that of rows, or takes everything back when the COPY failed.
func (m *moved) end(rows int64, err error) {
	if m.newRows = rows - m.rows; err != nil {
		m.newRows, m.newBytes = -m.rows, -m.bytes
	}
	m.flush()
}
