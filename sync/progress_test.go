package sync

import (
	"testing"
	"time"

	"pgsyncd/catalog"
	"pgsyncd/sync/fullcopy"
	"pgsyncd/sync/incremental"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"pgregory.net/rapid"
)

// figuresMachine raises events in any order, sensible or not, as crashes and repetitions make them.
type figuresMachine struct {
	*figures
	now  time.Time
	last catalog.Status
}

func table(name string, state fullcopy.TableState, estimated, rows, bytes int64) fullcopy.TableProgress {
	return fullcopy.TableProgress{
		Source: schema.Name{Schema: "s", Name: name}, Destination: schema.Name{Schema: "d", Name: name}, State: state,
		RowsEstimated: estimated / 100, BytesEstimated: estimated, RowsCopied: rows, BytesCopied: bytes,
	}
}

func (m *figuresMachine) look(t *rapid.T) {
	st, _ := m.status(m.now)
	for name, pair := range map[string][2]float64{
		"progress": {m.last.ProgressPct, st.ProgressPct}, "structure": {m.last.StructurePct, st.StructurePct},
		"data": {m.last.DataPct, st.DataPct}, "index": {m.last.IndexPct, st.IndexPct},
	} {
		if pair[1] < pair[0] {
			t.Fatalf("%s goes back from %v to %v", name, pair[0], pair[1])
		}
		if pair[1] < 0 || pair[1] > 100 {
			t.Fatalf("%s is %v", name, pair[1])
		}
	}
	if st.ProgressPct >= 100 || st.StructurePct >= 100 {
		t.Fatalf("%v %% before the end", st.ProgressPct)
	}
	if st.EtaS != nil && *st.EtaS < 0 || st.CopyBytesPerS < 0 {
		t.Fatalf("eta %v, rate %d", *st.EtaS, st.CopyBytesPerS)
	}
	m.last = st
}

// TestProgressNeverGoesBack: whatever is reported, percentages only grow, and 100 is the end.
func TestProgressNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &figuresMachine{figures: newFigures(catalog.Status{}, nil), now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
		names := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		states := rapid.SampledFrom([]fullcopy.TableState{
			fullcopy.TablePending, fullcopy.TableCopying, fullcopy.TableCopied, fullcopy.TableIndexing, fullcopy.TableDone, fullcopy.TableFailed,
		})
		phases := rapid.SampledFrom([]string{
			fullcopy.PhaseSnapshot, fullcopy.PhaseStructure, fullcopy.PhaseData, fullcopy.PhaseIndexes, fullcopy.PhaseFinish,
			fullcopy.PhaseData + ": waiting for another task", "something new",
		})
		amount := rapid.Int64Range(0, 1<<40)
		one := func() fullcopy.TableProgress {
			return table(names.Draw(t, "table"), states.Draw(t, "state"), amount.Draw(t, "estimated"), amount.Draw(t, "rows"), amount.Draw(t, "bytes"))
		}
		t.Repeat(map[string]func(*rapid.T){
			"tables": func(t *rapid.T) {
				m.Tables(rapid.SliceOfN(rapid.Custom(func(*rapid.T) fullcopy.TableProgress { return one() }), 0, 4).Draw(t, "tables"))
			},
			"table": func(*rapid.T) { m.Table(one()) },
			"phase": func(t *rapid.T) {
				m.Phase(phases.Draw(t, "phase"), rapid.IntRange(0, 9).Draw(t, "done"), rapid.IntRange(0, 9).Draw(t, "total"))
			},
			"time": func(t *rapid.T) { m.now = m.now.Add(time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "ns"))) },
			"restart": func(*rapid.T) {
				var kept []catalog.TableStatus
				for _, t := range m.tables {
					kept = append(kept, t.TableStatus)
				}
				m.figures = newFigures(m.last, kept)
			},
			"": m.look,
		})
		m.completed()
		if st, _ := m.status(m.now); st.ProgressPct != 100 || st.StructurePct != 100 || st.DataPct != 100 || st.IndexPct != 100 || st.EtaS != nil {
			t.Fatalf("at the end: %+v", st)
		}
	})
}

// TestProgressWeighsTables: what counts is the size of tables, not their number, and what is left at the speed so far.
func TestProgressWeighsTables(t *testing.T) {
	t.Parallel()
	const gb = 1 << 30
	f := newFigures(catalog.Status{}, nil)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Phase(fullcopy.PhaseStructure, 5, 10)
	if st, _ := f.status(now); st.StructurePct != structureFirst/2 || st.DataPct != 0 || st.EtaS != nil {
		t.Errorf("%+v", st)
	}
	f.Tables([]fullcopy.TableProgress{table("small", fullcopy.TablePending, gb, 0, 0), table("large", fullcopy.TablePending, 9*gb, 0, 0)})
	f.Phase(fullcopy.PhaseData, 0, 2)
	f.status(now)
	var st catalog.Status
	for i := range int64(50) { // a tenth of the large one's rows in 50 s
		f.Table(table("large", fullcopy.TableCopying, 9*gb, (i+1)*9*gb/100/500, (i+1)<<20))
		now = now.Add(time.Second)
		st, _ = f.status(now)
	}
	if st.DataPct < 8.9 || st.DataPct > 9.1 || st.IndexPct != 0 || st.CopyBytesPerS < 1<<19 || st.CopyBytesPerS > 1<<21 {
		t.Errorf("%+v", st)
	}
	// 91 % of the data at 0.18 % a second take 506 s, and the indexes 2/7 of the time of all data, 159 s.
	if want := int64(664); st.EtaS == nil || *st.EtaS < want*9/10 || *st.EtaS > want*11/10 {
		t.Errorf("eta %v, not about %d", *st.EtaS, want)
	}
	f.Table(table("small", fullcopy.TableDone, gb, 5, 5))
	f.Phase(fullcopy.PhaseIndexes, 1, 2)
	if st, _ = f.status(now); st.Phase != fullcopy.PhaseData || st.IndexPct < 9.9 || st.IndexPct > 10.1 || st.TablesDone != 1 || st.TablesTotal != 2 {
		t.Errorf("%+v", st)
	}
	// A daemon that has forgotten the sizes does not take its tables for equal ones.
	again := newFigures(st, []catalog.TableStatus{f.tables[schema.Name{Schema: "s", Name: "small"}].TableStatus, f.tables[schema.Name{Schema: "s", Name: "large"}].TableStatus})
	again.Phase(fullcopy.PhaseSnapshot, 0, 0)
	if after, _ := again.status(now); after.DataPct != st.DataPct || after.IndexPct != st.IndexPct {
		t.Errorf("%v %v after a restart, %v %v before", after.DataPct, after.IndexPct, st.DataPct, st.IndexPct)
	}
}

// TestFinishWithRefusedTables: what comes last counts for itself only, not for the tables that could not be copied before.
func TestFinishWithRefusedTables(t *testing.T) {
	t.Parallel()
	f := newFigures(catalog.Status{}, nil)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Tables([]fullcopy.TableProgress{table("a", fullcopy.TableDone, 1<<30, 5, 5), table("b", fullcopy.TableFailed, 3<<30, 0, 0)})
	f.Phase(fullcopy.PhaseIndexes, 1, 2)
	f.Phase(fullcopy.PhaseFinish, 3, 10)
	if st, _ := f.status(now); st.ProgressPct < 25 || st.ProgressPct > 30 {
		t.Errorf("%v %% with a quarter of the data", st.ProgressPct)
	}
	f.Table(table("b", fullcopy.TableDone, 3<<30, 5, 5))
	f.Phase(fullcopy.PhaseFinish, 9, 10)
	if st, _ := f.status(now); st.ProgressPct < 99 || st.ProgressPct >= 100 {
		t.Errorf("%v %% shortly before the end", st.ProgressPct)
	}
	none := newFigures(catalog.Status{}, nil)
	none.Tables(nil)
	none.Phase(fullcopy.PhaseFinish, 0, 10)
	if st, _ := none.status(now); st.ProgressPct < 90 || st.ProgressPct >= 100 {
		t.Errorf("%v %% without tables", st.ProgressPct)
	}
}

// TestRepetitionIsNoWork: what is done again up to the same fault is no progress, and what comes after it is.
func TestRepetitionIsNoWork(t *testing.T) {
	t.Parallel()
	f := newFigures(catalog.Status{}, nil)
	attempt := func(reached fullcopy.TableState, bytes int64) {
		f.Object(fullcopy.ObjectProgress{Type: "TABLE", Name: `"s"."a"`, State: fullcopy.ObjectCreated})
		f.Object(fullcopy.ObjectProgress{Type: "VIEW", Name: `"s"."v"`, State: fullcopy.ObjectFailed})
		for _, state := range []fullcopy.TableState{fullcopy.TablePending, fullcopy.TableCopying, reached} {
			f.Table(table("a", state, 1000, 0, bytes))
		}
	}
	attempt(fullcopy.TableCopying, 500)
	if f.work() == 0 {
		t.Error("the first attempt has done nothing")
	}
	for _, c := range []struct {
		reached fullcopy.TableState
		bytes   int64
		worked  bool
	}{
		{fullcopy.TableCopying, 500, false},
		{fullcopy.TableFailed, 400, false},
		{fullcopy.TableCopying, 501, true},
		{fullcopy.TableCopied, 501, true},
		{fullcopy.TableCopied, 501, false},
	} {
		before := f.work()
		if attempt(c.reached, c.bytes); f.work() > before != c.worked {
			t.Errorf("%+v: work from %d to %d", c, before, f.work())
		}
	}
}

// TestRepetitionOfAStreamIsNoWork: nor are positions that a stream passes again before it comes to what failed.
func TestRepetitionOfAStreamIsNoWork(t *testing.T) {
	t.Parallel()
	f := newFigures(catalog.Status{}, nil)
	for _, c := range []struct {
		applied []pglogrepl.LSN
		worked  bool
	}{{[]pglogrepl.LSN{10, 20}, true}, {[]pglogrepl.LSN{10, 20}, false}, {[]pglogrepl.LSN{10, 21}, true}, {[]pglogrepl.LSN{21}, false}} {
		before := f.work()
		for _, lsn := range c.applied {
			f.streamProgress(incremental.Progress{Applied: lsn})
		}
		if f.work() > before != c.worked {
			t.Errorf("%v: work from %d to %d", c.applied, before, f.work())
		}
	}
}

// TestObjectNames: quotes stand only where they are needed.
func TestObjectNames(t *testing.T) {
	t.Parallel()
	for quoted, want := range map[string]string{
		`"public"."orders"`: "public.orders",
		`"We ird"."a""b.c"`: `"We ird"."a""b.c"`,
		`"a""b""c"."d"`:     `"a""b""c".d`,
		`"public"."1st"`:    `public."1st"`,
		`"shop"`:            "shop",
		`"shop"."total"(integer, "text", "We ird"."t")`: `shop.total(integer, text, "We ird".t)`,
		`"orders_pkey" ON "Sh op"."orders"`:             `orders_pkey ON "Sh op".orders`,
		"CAST (a AS b)":                                 "CAST (a AS b)",
		`"unfinished`:                                   `"unfinished`,
		`""`:                                            `""`,
		"":                                              "",
	} {
		if got := readable(quoted); got != want {
			t.Errorf("%s: %s", quoted, got)
		}
	}
}
