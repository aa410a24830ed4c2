package catalog

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Parts of a minute add up: rates are averages of the time that was measured, averages weigh by number, the rest is what was last.
func TestMetrics(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, sample("shop"))
	add := func(m Metric) {
		t.Helper()
		if err := c.AddMetric(t.Context(), task.ID, m); err != nil {
			t.Fatal(err)
		}
	}
	view := func() []string {
		return query(t, c.pool, `SELECT concat_ws('|', to_char(time AT TIME ZONE 'UTC', 'HH24:MI:SS'), task, coalesce(extract_bytes_per_s::text, '-'),
			coalesce(extract_rows_per_s::text, '-'), coalesce(extract_latency_ms::text, '-'), coalesce(apply_bytes_per_s::text, '-'),
			coalesce(apply_rows_per_s::text, '-'), coalesce(apply_transactions_per_s::text, '-'), coalesce(apply_ddls_per_s::text, '-'),
			coalesce(delay_ms::text, '-'), coalesce(lag_bytes::text, '-'), coalesce(slot_wal_bytes::text, '-'), coalesce(apply_execute_ms::text, '-'),
			coalesce(apply_commit_ms::text, '-'), coalesce(apply_state, '-'), coalesce(workers::text, '-'), coalesce(cpu_pct::text, '-'),
			coalesce(memory_bytes::text, '-'), coalesce(disk_bytes::text, '-'), coalesce(net_in_bytes_per_s::text, '-'), coalesce(net_out_bytes_per_s::text, '-'))
			FROM sync.sync_metrics ORDER BY time`)
	}
	at := func(minute, second int) time.Time { return time.Date(2030, 1, 1, 12, minute, second, 5e8, time.UTC) }
	add(Metric{Time: at(0, 3), Span: 10 * time.Second, ExtractBytes: 100, ExtractRows: 10, ApplyBytes: 100, ApplyRows: 10, NetIn: 200, NetOut: 300})
	add(Metric{Time: at(1, 0), Span: time.Second, DelayMs: ptr(int64(7)), Streaming: ptr(true)})
	add(Metric{
		Time: at(1, 30), Span: 3 * time.Second, ExtractBytes: 4000, ExtractRows: 41, Commits: 4, Latency: 10 * time.Millisecond, ApplyBytes: 2000,
		ApplyRows: 20, ApplyTransactions: 2, Batches: 2, Execute: 5 * time.Millisecond, Commit: time.Millisecond, NetIn: 5000, NetOut: 6000,
		CPU: time.Second, DelayMs: ptr(int64(5)), LagBytes: ptr(int64(11)), SlotWALBytes: ptr(int64(12)), MemoryBytes: ptr(int64(13)),
		DiskBytes: ptr(int64(14)), Streaming: ptr(true), Workers: ptr(2),
	})
	add(Metric{Time: at(2, 0), Span: time.Second, Streaming: ptr(true)})
	add(Metric{Time: at(3, 0), Span: time.Second, ApplyRows: 1, ApplyDDLs: 1, Streaming: ptr(true)})
	add(Metric{Time: at(4, 0), Span: time.Second, ApplyRows: 1, Streaming: ptr(true)})
	add(Metric{Time: at(4, 30), Span: time.Second, Streaming: ptr(false)})
	add(Metric{Time: at(4, 40), SlotWALBytes: ptr(int64(98))})
	add(Metric{Time: at(5, 0), SlotWALBytes: ptr(int64(99))})
	want := []string{
		"12:00:00|shop|10|1.0|-|10|1.0|-|-|-|-|-|-|-|-|-|0.0|-|-|20|30",
		"12:01:00|shop|1000|10.3|2.5|500|5.0|0.5|0.0|7|11|12|2.5|0.5|DML|2|25.0|13|14|1250|1500",
		"12:02:00|shop|0|0.0|-|0|0.0|0.0|0.0|-|-|-|-|-|idle|-|0.0|-|-|0|0",
		"12:03:00|shop|0|0.0|-|0|1.0|0.0|1.0|-|-|-|-|-|DDL|-|0.0|-|-|0|0",
		"12:04:00|shop|0|0.0|-|0|0.5|0.0|0.0|-|-|98|-|-|abnormal|-|0.0|-|-|0|0",
		"12:05:00|shop|-|-|-|-|-|-|-|-|-|99|-|-|-|-|-|-|-|-|-",
	}
	if diff := cmp.Diff(want, view()); diff != "" {
		t.Error(diff)
	}
	if err := c.AddMetric(t.Context(), "00000000-0000-0000-0000-000000000000", Metric{Time: at(0, 0)}); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no task: %v", err)
	}
}

// What is known of the source's WAL is shown whatever the task does, but not once it is old.
func TestSlot(t *testing.T) {
	t.Parallel()
	c := setup(t)
	task := create(t, c, full("shop"))
	view := func() string {
		return query(t, c.pool, `SELECT concat_ws('|', coalesce(source_lsn, '-'), coalesce(lag_bytes::text, '-'), coalesce(slot_wal_bytes::text, '-'),
			coalesce(slot_wal_limit_bytes::text, '-'), coalesce(slot_wal_eta_s::text, '-')) FROM sync.sync_status`)[0]
	}
	check := func(when, want string) {
		t.Helper()
		if diff := cmp.Diff(want, view()); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	save := func(s Slot) {
		t.Helper()
		if err := c.SaveSlot(t.Context(), task.ID, s); err != nil {
			t.Fatal(err)
		}
	}
	if alarm, err := c.SlotAlarm(t.Context(), task.ID); alarm != AlarmNone || err != nil {
		t.Errorf("%q, %v", alarm, err)
	}
	check("at first", "-|-|-|-|-")
	save(Slot{SourceLSN: "0/20"})
	check("without a slot", "0/20|-|-|-|-")
	save(Slot{SourceLSN: "1/10", WALBytes: ptr(int64(5)), LimitBytes: ptr(int64(6)), EtaS: ptr(int64(7)), Alarm: AlarmSoon})
	check("without a stream", "1/10|-|5|6|7")
	for applied, lag := range map[string]string{"1/8": "8", "1/20": "0"} {
		if err := c.SaveStatus(t.Context(), task.ID, Status{AppliedLSN: applied}); err != nil {
			t.Fatal(err)
		}
		check("applied "+applied, "1/10|"+lag+"|5|6|7")
	}
	if alarm, err := c.SlotAlarm(t.Context(), task.ID); alarm != AlarmSoon || err != nil {
		t.Errorf("%q, %v", alarm, err)
	}
	if _, err := c.pool.Exec(t.Context(), "UPDATE pgsyncd.slot SET updated_at = now() - interval '2 min'"); err != nil {
		t.Fatal(err)
	}
	check("out of date", "1/10|-|-|6|-")
	if err := c.SaveSlot(t.Context(), "00000000-0000-0000-0000-000000000000", Slot{SourceLSN: "0/1"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("of no task: %v", err)
	}
}
