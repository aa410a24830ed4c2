package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Metric is what a task did in a part of a minute. Numbers and durations are sums over that part, nil means not known.
type Metric struct {
	Time time.Time     // in the minute that it is added to
	Span time.Duration // length of the part; 0 when the task did nothing

	ExtractBytes, ExtractRows                           int64
	Commits                                             int64         // of the source, received
	Latency                                             time.Duration // of Commits
	ApplyBytes, ApplyRows, ApplyTransactions, ApplyDDLs int64
	Batches                                             int64         // transactions of the destination
	Execute, Commit                                     time.Duration // of Batches
	NetIn, NetOut                                       int64         // bytes
	CPU                                                 time.Duration

	DelayMs                                        *int64 // greatest
	LagBytes, SlotWALBytes, MemoryBytes, DiskBytes *int64 // at the end
	Streaming                                      *bool  // at the end; nil where nothing is to be streamed
	Workers                                        *int   // at the end
}

const addMetric = `INSERT INTO pgsyncd.metric AS m (task_id, time, span_us, extract_bytes, extract_rows, commits, latency_us, apply_bytes,
	apply_rows, apply_transactions, apply_ddls, batches, execute_us, commit_us, net_in_bytes, net_out_bytes, cpu_us, delay_ms,
	lag_bytes, slot_wal_bytes, streaming, workers, memory_bytes, disk_bytes)
	VALUES ($1, date_trunc('minute', $2::timestamptz), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
	$21, $22, $23, $24)
	ON CONFLICT (task_id, time) DO UPDATE SET (span_us, extract_bytes, extract_rows, commits, latency_us, apply_bytes, apply_rows,
	apply_transactions, apply_ddls, batches, execute_us, commit_us, net_in_bytes, net_out_bytes, cpu_us, delay_ms, lag_bytes,
	slot_wal_bytes, streaming, workers, memory_bytes, disk_bytes)
	= (m.span_us + excluded.span_us, m.extract_bytes + excluded.extract_bytes, m.extract_rows + excluded.extract_rows,
	m.commits + excluded.commits, m.latency_us + excluded.latency_us, m.apply_bytes + excluded.apply_bytes,
	m.apply_rows + excluded.apply_rows, m.apply_transactions + excluded.apply_transactions, m.apply_ddls + excluded.apply_ddls,
	m.batches + excluded.batches, m.execute_us + excluded.execute_us, m.commit_us + excluded.commit_us,
	m.net_in_bytes + excluded.net_in_bytes, m.net_out_bytes + excluded.net_out_bytes, m.cpu_us + excluded.cpu_us,
	greatest(m.delay_ms, excluded.delay_ms), excluded.lag_bytes, excluded.slot_wal_bytes,
	coalesce(excluded.streaming, m.streaming), coalesce(excluded.workers, m.workers), coalesce(excluded.memory_bytes, m.memory_bytes), coalesce(excluded.disk_bytes, m.disk_bytes))`

// AddMetric adds to the figures of a task's minute. ErrNotFound if the task is gone.
func (c *Catalog) AddMetric(ctx context.Context, id string, m Metric) error {
	_, err := c.pool.Exec(ctx, addMetric, id, m.Time, m.Span.Microseconds(), m.ExtractBytes, m.ExtractRows, m.Commits,
		m.Latency.Microseconds(), m.ApplyBytes, m.ApplyRows, m.ApplyTransactions, m.ApplyDDLs, m.Batches, m.Execute.Microseconds(),
		m.Commit.Microseconds(), m.NetIn, m.NetOut, m.CPU.Microseconds(), m.DelayMs, m.LagBytes, m.SlotWALBytes, m.Streaming,
		m.Workers, m.MemoryBytes, m.DiskBytes)
	if err != nil {
		return fmt.Errorf("add metrics of task %s: %w", id, meaning(err))
	}
	return nil
}

// Alarms about the WAL that a slot retains.
const (
	AlarmNone     = ""
	AlarmSoon     = "soon"     // the limit is near
	AlarmExceeded = "exceeded" // more is retained than may be
)

// Slot is what is known of the replication slot of a task.
type Slot struct {
	SourceLSN  string
	WALBytes   *int64 // that it retains; nil when there is no slot
	LimitBytes *int64 // that it may retain; nil for no limit
	EtaS       *int64 // forecast of when it does; nil when that is not in sight
	Alarm      string // that was raised last
}

// SaveSlot replaces what is known of a task's slot. ErrNotFound if the task is gone.
func (c *Catalog) SaveSlot(ctx context.Context, id string, s Slot) error {
	_, err := c.pool.Exec(ctx, `INSERT INTO pgsyncd.slot (task_id, source_lsn, wal_bytes, limit_bytes, eta_s, alarm)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (task_id) DO UPDATE SET (source_lsn, wal_bytes, limit_bytes, eta_s, alarm, updated_at)
		= (excluded.source_lsn, excluded.wal_bytes, excluded.limit_bytes, excluded.eta_s, excluded.alarm, now())`,
		id, s.SourceLSN, s.WALBytes, s.LimitBytes, s.EtaS, s.Alarm)
	if err != nil {
		return fmt.Errorf("save slot of task %s: %w", id, meaning(err))
	}
	return nil
}

// SlotAlarm returns the alarm that was raised last about a task's slot.
func (c *Catalog) SlotAlarm(ctx context.Context, id string) (string, error) {
	var alarm string
	err := c.pool.QueryRow(ctx, "SELECT alarm FROM pgsyncd.slot WHERE task_id = $1", id).Scan(&alarm)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("slot of task %s: %w", id, err)
	}
	return alarm, nil
}
