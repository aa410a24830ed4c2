package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

// fillAll puts something into every relation that belongs to a task.
func fillAll(t *testing.T, c *Catalog, task Task) {
	t.Helper()
	ctx := t.Context()
	run, err := c.AddCompare(ctx, CompareRun{TaskID: task.ID, Type: "ROWS"})
	for _, err := range []error{
		err,
		c.SaveStatus(ctx, task.ID, Status{Phase: "data"}),
		c.SaveTables(ctx, task.ID, []TableStatus{{SourceSchema: "s", SourceTable: "t", State: "done"}}),
		c.SaveObjects(ctx, task.ID, []ObjectStatus{{Type: "VIEW", SourceName: "v", State: "done"}}),
		c.SavePrechecks(ctx, task.ID, []PrecheckRow{{Item: "i", Result: "passed"}}),
		c.AddConflicts(ctx, task.ID, []Conflict{{Time: time.Now(), Table: "t"}}),
		c.AddMetric(ctx, task.ID, Metric{Time: time.Now()}),
		c.SaveSlot(ctx, task.ID, Slot{SourceLSN: "0/1"}),
		c.SaveLeftovers(ctx, task.ID, task.Name, []Leftover{{Side: "source", Kind: "slot", Name: "s"}}),
		c.Log(ctx, task.Name, LevelInfo, "test", "filled", ""),
		c.SaveCompareTable(ctx, CompareTable{RunID: run, SourceTable: "t", Result: "equal"}),
		c.AddSchedule(ctx, Schedule{Name: "nightly " + task.Name, TaskID: task.ID, Type: "ROWS", Cron: "0 1 * * *"}),
		c.UpdateTask(ctx, task.ID, func(t *Task) error { t.Options["retry_limit"] = "9"; return nil }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, full("shop")) // delay_threshold 5s
	fire(t, c, task.ID, EventStart, Change{})
	fire(t, c, task.ID, EventFullBegun, Change{})
	view := func() string {
		return query(t, c.pool, `SELECT concat_ws(' ', state, coalesce(phase, '-'), progress_pct, tables_done, coalesce(eta_s::text, '-'),
			coalesce(delay_ms::text, '-'), delay_exceeded, coalesce(applied_lsn, '-'), rows_per_s) FROM sync.sync_status`)[0]
	}
	progress := func() string {
		return query(t, c.pool, `SELECT concat_ws(' ', phase, bar, rate, coalesce(eta::text, '-')) FROM sync.sync_progress`)[0]
	}
	for _, step := range []struct {
		status         *Status
		view, progress string
	}{
		{nil, "full synchronization - 0.00 0 - - f - 0.0", "full synchronization [....................] 0.0 % 0 bytes/s -"},
		{
			&Status{Phase: "data", ProgressPct: 45.2, TablesDone: 3, CopyBytesPerS: 12 << 20, EtaS: ptr(int64(3700)), DelayMs: ptr(int64(5000))},
			"full synchronization data 45.20 3 3700 - f - 0.0", "data [#########...........] 45.2 % 12 MB/s 01:01:40",
		},
		{
			&Status{ProgressPct: 100, DelayMs: ptr(int64(5001)), AppliedLSN: "0/16B3748", RowsPerS: 12.34},
			"full synchronization - 100.00 0 - - f 0/16B3748 0.0", "full synchronization [####################] 100.0 % 0 bytes/s -",
		},
		{
			&Status{ProgressPct: math.Inf(1), DataPct: math.NaN(), RowsPerS: math.NaN()},
			"full synchronization - 0.00 0 - - f - 0.0", "full synchronization [....................] 0.0 % 0 bytes/s -",
		},
	} {
		if step.status != nil {
			if err := c.SaveStatus(t.Context(), task.ID, *step.status); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(step.view, view()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(step.progress, progress()); diff != "" {
			t.Error(diff)
		}
	}
	if err := c.SaveStatus(t.Context(), task.ID, Status{Phase: "data", ProgressPct: 45.2, CopyBytesPerS: 12 << 20, EtaS: ptr(int64(3700))}); err != nil {
		t.Fatal(err)
	}
	fire(t, c, task.ID, EventFailedFull, Change{Error: "no room"})
	if diff := cmp.Diff("full synchronization failed [#########...........] 45.2 % -", progress()); diff != "" {
		t.Errorf("of a failed task: %s", diff)
	}
	fire(t, c, task.ID, EventResume, Change{})
	fire(t, c, task.ID, EventFullBegun, Change{})
	fire(t, c, task.ID, EventIncrementalBegun, Change{})
	for delay, exceeded := range map[int64]string{5000: "f", 5001: "t"} {
		if err := c.SaveStatus(t.Context(), task.ID, Status{Phase: "stream", ProgressPct: 100, RowsPerS: 4321, DelayMs: &delay}); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("incremental synchronization stream 100.00 0 - %d %s - 4321.0", delay, exceeded)
		if diff := cmp.Diff(want, view()); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff("stream [####################] 100.0 % 4321 rows/s -", progress()); diff != "" {
		t.Error(diff)
	}
	// What a task was doing before it failed is not what it is doing.
	fire(t, c, task.ID, EventFailedIncremental, Change{Error: "cut off"})
	if got := query(t, c.pool, `SELECT phase FROM sync.sync_progress`)[0]; got != string(StateIncrementalFailed) {
		t.Errorf("a failed task shows phase %q", got)
	}
	if diff := cmp.Diff("incremental synchronization failed - 100.00 0 - - f - 0.0", view()); diff != "" {
		t.Errorf("of a failed task: %s", diff)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, sample("shop"))
	now := time.Now().Truncate(time.Microsecond)
	a := TableStatus{
		SourceSchema: `We ird".`, SourceTable: "a\\u0000é", DestinationSchema: "d", DestinationTable: "a", State: "copying", RowsEstimated: math.MaxInt64,
		RowsCopied: 2, BytesCopied: 3, Inserts: 4, Updates: 5, Deletes: 6, Truncates: 7, CopyLSN: "0/1", Error: "bad \xff", StartedAt: &now,
	}
	b := TableStatus{SourceSchema: "z", SourceTable: "b", State: "pending"}
	save := func(tables ...TableStatus) {
		t.Helper()
		if err := c.SaveTables(t.Context(), task.ID, tables); err != nil {
			t.Fatal(err)
		}
	}
	save(a, b)
	a.State, a.FinishedAt = "done", &now
	save(a)
	save()
	got, err := c.Tables(t.Context(), task.ID)
	if err != nil {
		t.Fatal(err)
	}
	a.Error = "bad \uFFFD"
	if diff := cmp.Diff([]TableStatus{a, b}, got); diff != "" {
		t.Error(diff)
	}
	if err := c.SaveTables(t.Context(), task.ID, []TableStatus{{SourceTable: "x", State: "guessing"}}); err == nil {
		t.Error("an unknown state was stored")
	}
	if err := c.ClearProgress(t.Context(), task.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Tables(t.Context(), task.ID); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestObjectsPrechecksConflictsLeftovers(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, sample("shop"))
	ctx := t.Context()
	object := ObjectStatus{Type: "VIEW", SourceName: "public.v", DestinationName: "public.v", State: "failed", Statement: "CREATE VIEW …", Error: "e"}
	check := PrecheckRow{Category: "versions", Item: "second", Result: "to confirm", Found: "f", Suggestion: "s", Confirmed: true}
	conflict := Conflict{
		Time: time.Now(), Table: "public.t", Kind: "insert exists", Key: json.RawMessage(`{"id": 1}`),
		SourceRow: json.RawMessage(`{"id": 1, "v": null}`), LSN: "0/2", Action: "ignored",
	}
	leftover := Leftover{Side: "source", Kind: "slot", Name: "s", CleanupSQL: "SELECT 1"}
	for _, err := range []error{
		c.SaveObjects(ctx, task.ID, []ObjectStatus{{Type: "VIEW", SourceName: "public.v", State: "pending"}}),
		c.SaveObjects(ctx, task.ID, []ObjectStatus{object}),
		c.SavePrechecks(ctx, task.ID, []PrecheckRow{{Item: "old", Result: "failed"}}),
		c.SavePrechecks(ctx, task.ID, []PrecheckRow{{Item: "first", Result: "passed"}, check}),
		c.AddConflicts(ctx, task.ID, []Conflict{conflict}),
		c.AddConflicts(ctx, task.ID, []Conflict{conflict}),
		c.SaveLeftovers(ctx, task.ID, "shop", []Leftover{{Side: "destination", Kind: "old", Name: "o"}}),
		c.SaveLeftovers(ctx, task.ID, "shop", []Leftover{leftover}),
		c.SaveAccounts(ctx, task.ID, []AccountStatus{{Role: "ann", Remarks: "not yet"}, {Role: "bob", Remarks: "exists"}}),
		c.SaveAccounts(ctx, task.ID, []AccountStatus{{Role: "ann", Synchronized: true}}),
		c.SaveObjects(ctx, task.ID, []ObjectStatus{
			{Type: "FK CONSTRAINT", SourceName: "a.t t_fk", DestinationName: "b.t c_1_t_fk_key"},
			{Type: "TRIGGER", SourceName: "a.t go", DestinationName: "b.t go"},
		}),
		c.SaveTables(ctx, task.ID, []TableStatus{
			{SourceSchema: "a", SourceTable: "T", DestinationSchema: "b", DestinationTable: "t", State: "done", RowsIgnored: 7},
			{SourceSchema: "a", SourceTable: "same", DestinationSchema: "a", DestinationTable: "same", State: "done"},
		}),
		c.UpdateTask(ctx, task.ID, func(t *Task) error {
			t.Mappings = []Mapping{
				{Kind: "schema", Source: []string{"a"}, Destination: []string{"b"}},
				{Kind: "table", Source: []string{"a", "T"}, Destination: []string{"b", "t"}},
				{Kind: "column", Source: []string{"a", "T", "x y"}, Destination: []string{"b", "t", "z"}},
			}
			return nil
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for sql, want := range map[string][]string{
		"SELECT concat_ws('|', task, kind, source_name, destination_name) FROM sync.sync_mappings ORDER BY 1": {
			`shop|column|a."T"."x y"|b.t.z`, "shop|constraint|a.t t_fk|b.t c_1_t_fk_key", "shop|schema|a|b", `shop|table|a."T"|b.t`,
		},
		"SELECT concat_ws('|', task, role, synchronized, remarks) FROM sync.sync_accounts ORDER BY role": {"shop|ann|t", "shop|bob|f|exists"},
		"SELECT concat_ws('|', source_table, rows_ignored) FROM sync.sync_tables ORDER BY 1":             {"T|7", "same|0"},
		"SELECT concat_ws('|', task, type, source_name, state, statement, error) FROM sync.sync_objects WHERE type = 'VIEW'": {
			"shop|VIEW|public.v|failed|CREATE VIEW …|e",
		},
		"SELECT concat_ws('|', task, category, item, result, found, suggestion, confirmed) FROM sync.sync_prechecks": {
			"shop||first|passed||f", "shop|versions|second|to confirm|f|s|t",
		},
		`SELECT concat_ws('|', task, "table", kind, key, source_row, destination_row, lsn, action) FROM sync.sync_conflicts`: {
			`shop|public.t|insert exists|{"id": 1}|{"v": null, "id": 1}|0/2|ignored`,
			`shop|public.t|insert exists|{"id": 1}|{"v": null, "id": 1}|0/2|ignored`,
		},
		"SELECT concat_ws('|', task, side, kind, name, cleanup_sql) FROM sync.sync_leftovers": {"shop|source|slot|s|SELECT 1"},
	} {
		if diff := cmp.Diff(want, query(t, c.pool, sql)); diff != "" {
			t.Errorf("%s\n%s", sql, diff)
		}
	}
}

// TestBrief: nothing that a server quotes fills the catalog.
func TestBrief(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"": "", "short \x00\xff": "short \uFFFD",
		strings.Repeat("x", longestText):           strings.Repeat("x", longestText),
		strings.Repeat("x", longestText-1) + "éyz": strings.Repeat("x", longestText-1) + "\uFFFD… (8195 bytes)",
	} {
		if got := Brief(given); got != want {
			t.Errorf("%.20q: %q", given, got[max(0, len(got)-40):])
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, full("shop"))
	show := func(option string) string {
		return query(t, c.pool, `SELECT concat_ws('|', coalesce(value, '-'), coalesce(default_value, '-'), changeable_now)
			FROM sync.sync_parameters WHERE option = $1`, option)[0]
	}
	for option, want := range map[string]string{
		"delay_threshold": "5s|60s|t", "retry_limit": "3|3|t", "source_ssl_ca": "[redacted]|-|t", "max_slot_wal": "none|none|t", "time_zone": "-|-|t", "decoder": "auto|auto|t",
	} {
		if got := show(option); got != want {
			t.Errorf("%s: %s", option, got)
		}
	}
	fire(t, c, task.ID, EventStart, Change{})
	fire(t, c, task.ID, EventFullBegun, Change{})
	if got := show("decoder"); got != "auto|auto|f" {
		t.Errorf("decoder in full synchronization: %s", got)
	}
	if got := show("retry_limit"); got != "3|3|t" {
		t.Errorf("retry_limit in full synchronization: %s", got)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	c := setup(t)
	keeps := create(t, c, full("keeps"))
	drops := full("drops")
	drops.Options["history_retention"] = "2 days"
	drops = create(t, c, drops)
	fillAll(t, c, keeps)
	fillAll(t, c, drops)
	for _, sql := range []string{
		"UPDATE pgsyncd.log SET time = now() - interval '3 days'", "UPDATE pgsyncd.conflict SET time = now() - interval '3 days'",
		"UPDATE pgsyncd.option_history SET time = now() - interval '3 days'", "UPDATE pgsyncd.metric SET time = now() - interval '3 days'",
		"UPDATE pgsyncd.compare_run SET state = 'finished', finished_at = now() - interval '3 days'",
	} {
		if _, err := c.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, view := range []string{"sync_log", "sync_conflicts", "sync_metrics", "sync_parameter_history", "sync_compares", "sync_compare_tables"} {
		if diff := cmp.Diff([]string{"keeps"}, query(t, c.pool, "SELECT DISTINCT task FROM sync."+view)); diff != "" {
			t.Errorf("%s: %s", view, diff)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	c := setup(t)
	read := func() []string {
		return query(t, c.pool, `SELECT ordinal || ':' || cells::text FROM sync.statement_result('token')`)
	}
	for _, rows := range [][][]*string{{{ptr("old")}}, {{ptr("a,\"b"), nil, ptr("")}, {ptr("x\x00\xff"), ptr("NULL"), nil}}} {
		if err := c.PutResult(t.Context(), "token", rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.PutResult(t.Context(), "other", nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`1:{"a,\"b",NULL,""}`, `2:{x` + "\uFFFD" + `,"NULL",NULL}`}, read()); diff != "" {
		t.Error(diff)
	}
	if err := c.DropResults(t.Context(), "token", "other"); err != nil {
		t.Fatal(err)
	}
	if got := read(); len(got) != 0 {
		t.Error(got)
	}
}

func TestCompares(t *testing.T) {
	t.Parallel()
	c := setup(t)
	ctx := t.Context()
	task := create(t, c, sample("shop"))
	if _, ok, err := c.NextCompare(ctx); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	var ids []int64
	for range 3 {
		id, err := c.AddCompare(ctx, CompareRun{TaskID: task.ID, Type: "VALUES", Tables: []string{"a"}, Options: map[string]string{"workers": "2"}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if _, err := c.AddCompare(ctx, CompareRun{TaskID: "00000000-0000-0000-0000-000000000000"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("run of no task: %v", err)
	}
	run, ok, err := c.NextCompare(ctx)
	if err != nil || !ok || run.ID != ids[0] || run.State != "running" || run.StartedAt == nil || run.Options["workers"] != "2" {
		t.Fatalf("%+v, %v, %v", run, ok, err)
	}
	if n, err := c.RequeueCompares(ctx, run.ID); n != 0 || err != nil {
		t.Errorf("a run that is being carried out was queued: %d, %v", n, err)
	}
	if n, err := c.RequeueCompares(ctx); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := c.UpdateCompare(ctx, run); !errors.Is(err, ErrNotFound) {
		t.Errorf("a queued run makes progress: %v", err)
	}
	if run, _, err = c.NextCompare(ctx); err != nil || run.ID != ids[0] {
		t.Errorf("%+v, %v", run, err)
	}
	run.State, run.TablesDone, run.RowsDifferent, run.FinishedAt = "finished", 1, 5, ptr(time.Now().Truncate(time.Microsecond))
	if err := c.UpdateCompare(ctx, run); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Compare(ctx, run.ID); err != nil || !cmp.Equal(run, got) {
		t.Errorf("%v\n%s", err, cmp.Diff(run, got))
	}
	if err := c.CancelCompare(ctx, run.ID); !errors.Is(err, ErrFinished) {
		t.Errorf("cancel of a finished run: %v", err)
	}
	if err := c.CancelCompare(ctx, -1); !errors.Is(err, ErrNotFound) {
		t.Errorf("cancel of no run: %v", err)
	}
	if err := c.CancelCompare(ctx, ids[1]); err != nil {
		t.Fatal(err)
	}
	if run, _, err = c.NextCompare(ctx); err != nil || run.ID != ids[2] {
		t.Errorf("%+v, %v", run, err)
	}
	if err := c.CancelCompare(ctx, run.ID); err != nil {
		t.Fatal(err)
	}
	run.State = "finished"
	if err := c.UpdateCompare(ctx, run); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Compare(ctx, run.ID); err != nil || got.State != "cancelled" {
		t.Errorf("a cancelled run became %s, %v", got.State, err)
	}
	for id, want := range map[int64]bool{ids[0]: false, ids[2]: true, -1: true} {
		if got, err := c.CompareCancelled(ctx, id); got != want || err != nil {
			t.Errorf("%d: %v, %v", id, got, err)
		}
	}
	for _, result := range []string{"different", "equal"} {
		if err := c.SaveCompareTable(ctx, CompareTable{RunID: ids[0], SourceTable: "a", Result: result, SourceRows: ptr(int64(4))}); err != nil {
			t.Fatal(err)
		}
	}
	if got := query(t, c.pool, "SELECT concat_ws('|', run_id = $1, task, result, source_rows) FROM sync.sync_compare_tables", ids[0]); !cmp.Equal(got, []string{"t|shop|equal|4"}) {
		t.Error(got)
	}
}

// TestFiringIsWhole: a time is not used up when its run could not be queued.
func TestFiringIsWhole(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, sample("shop"))
	next := time.Now().Truncate(time.Microsecond)
	s := Schedule{Name: "nightly", TaskID: task.ID, Type: "ROWS", Cron: "0 1 * * *", TimeZone: "UTC", Enabled: true, Options: map[string]string{}, NextRun: &next}
	if err := c.AddSchedule(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := c.pool.Exec(t.Context(), "ALTER TABLE pgsyncd.compare_run ADD CHECK (schedule <> 'nightly')"); err != nil {
		t.Fatal(err)
	}
	if fired, err := c.FireSchedule(t.Context(), s, next.Add(time.Hour)); err == nil {
		t.Fatalf("%+v", fired)
	}
	if got, err := c.Schedule(t.Context(), "nightly"); err != nil || !got.NextRun.Equal(next) || got.LastRunID != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	c := setup(t)
	ctx := t.Context()
	task := create(t, c, sample("shop"))
	next := time.Now().Truncate(time.Microsecond)
	s := Schedule{Name: "nightly", TaskID: task.ID, Type: "ROWS", Cron: "0 1 * * *", TimeZone: "UTC", Enabled: true, Options: map[string]string{}, NextRun: &next}
	if err := c.AddSchedule(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := c.AddSchedule(ctx, s); !errors.Is(err, ErrExists) {
		t.Errorf("second of the name: %v", err)
	}
	if got, err := c.Schedule(ctx, "nightly"); err != nil || !cmp.Equal(s, got) {
		t.Errorf("%v\n%s", err, cmp.Diff(s, got))
	}
	if due, err := c.EnabledSchedules(ctx); err != nil || len(due) != 1 {
		t.Errorf("%v, %v", due, err)
	}
	later := next.Add(time.Hour)
	fired, err := c.FireSchedule(ctx, s, later)
	if err != nil || fired.RunID == nil || fired.Overlap != nil {
		t.Fatalf("%+v, %v", fired, err)
	}
	if run, err := c.Compare(ctx, *fired.RunID); err != nil || run.Schedule != "nightly" || run.State != "queued" {
		t.Errorf("%+v, %v", run, err)
	}
	if again, err := c.FireSchedule(ctx, s, later); err != nil || again != (Firing{}) {
		t.Errorf("the same time twice: %+v, %v", again, err)
	}
	s.NextRun = &later
	if overlap, err := c.FireSchedule(ctx, s, time.Time{}); err != nil || overlap.RunID != nil || overlap.Overlap == nil || *overlap.Overlap != *fired.RunID {
		t.Errorf("while the run before is queued: %+v, %v", overlap, err)
	}
	if got, err := c.Schedule(ctx, "nightly"); err != nil || got.Enabled || got.NextRun != nil || *got.LastRunID != *fired.RunID {
		t.Errorf("%+v, %v", got, err)
	}
	if due, err := c.EnabledSchedules(ctx); err != nil || len(due) != 0 {
		t.Errorf("%v, %v", due, err)
	}
	err = c.UpdateSchedule(ctx, "nightly", func(s *Schedule) error { s.Name, s.LastRunID = "weekly", ptr(int64(7)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if all, err := c.Schedules(ctx); err != nil || len(all) != 1 || all[0].Name != "weekly" || *all[0].LastRunID != 7 {
		t.Errorf("%v, %v", all, err)
	}
	if err := c.DropSchedule(ctx, "weekly"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"drop":   c.DropSchedule(ctx, "weekly"),
		"update": c.UpdateSchedule(ctx, "weekly", func(*Schedule) error { return nil }),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRepairs: before-images are kept, an outcome holds only once the transaction was committed, and then what was repaired is compared again.
func TestRepairs(t *testing.T) {
	t.Parallel()
	c := setup(t)
	ctx := t.Context()
	task := create(t, c, sample("shop"))
	run, err := c.AddCompare(ctx, CompareRun{TaskID: task.ID, Type: "VALUES", Options: map[string]string{"workers": "3"}})
	if err != nil {
		t.Fatal(err)
	}
	one, bytes := "1", "\xff"
	for _, end := range []string{"", "undone", "committed"} {
		id, err := c.BeginRepair(ctx, task.ID, run, "admin", "mark "+end)
		if err != nil {
			t.Fatal(err)
		}
		err = c.AddRepairRows(ctx, id, 0, []RepairRow{
			{
				SourceTable: "t", DestinationTable: "u", Kind: RowDifferent, Key: map[string]*string{"id": &one}, Statement: "UPDATE",
				Outcome: OutcomeRepaired, Before: map[string]*string{"id": &one, "v": &bytes, "w": nil}, After: map[string]*string{"id": &one},
			},
			{SourceTable: "t", DestinationTable: "u", Kind: RowExtra, Outcome: "equal by now"},
		})
		if err == nil {
			err = c.SetRepairTables(ctx, id, []string{"t", "v"})
		}
		if err != nil {
			t.Fatal(err)
		}
		if end == "" {
			continue
		}
		want := RepairEnd{Committed: end == "committed"}
		if want.Committed {
			want.Check = run + 1
		}
		for _, told := range []bool{want.Committed, true, false} { // the first is believed
			if got, err := c.EndRepair(ctx, id, told); err != nil || got != want {
				t.Errorf("%s: %+v, want %+v: %v", end, got, want, err)
			}
		}
	}
	got := query(t, c.pool, `SELECT concat_ws('|', repair_id, task, run_id, "table", destination_table, kind, key, statement, split_part(outcome, ':', 1),
		before_row, after_row, repaired_by, check_run_id) FROM sync.sync_repairs ORDER BY repair_id, kind`)
	const images = `{"v": "\\xff", "w": null, "id": "1"}|{"id": "1"}|admin`
	want := []string{
		`1|shop|1|t|u|different|{"id": "1"}|UPDATE|not known yet|` + images, "1|shop|1|t|u|extra|equal by now|admin",
		`2|shop|1|t|u|different|{"id": "1"}|UPDATE|not repaired|` + images, "2|shop|1|t|u|extra|equal by now|admin",
		`3|shop|1|t|u|different|{"id": "1"}|UPDATE|repaired|` + images + "|2", "3|shop|1|t|u|extra|equal by now|admin|2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	check, err := c.Compare(ctx, run+1)
	if err != nil || check.Type != "VALUES" || check.State != "queued" || check.Options["workers"] != "3" || len(check.Tables) != 2 {
		t.Errorf("%+v %v", check, err)
	}
	open, err := c.OpenRepairs(ctx)
	if diff := cmp.Diff([]OpenRepair{{ID: 1, TaskID: task.ID, RunID: run, User: "admin", Mark: "mark "}}, open); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := c.BeginRepair(ctx, "00000000-0000-0000-0000-000000000000", 7, "admin", "m"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no task: %v", err)
	}
	if _, err := c.EndRepair(ctx, 99, true); !errors.Is(err, ErrNotFound) {
		t.Errorf("end of no repair: %v", err)
	}
}
