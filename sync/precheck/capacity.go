package precheck

import (
	"context"
	"fmt"
	"time"
)

var capacityChecks = []check{
	{"capacity", "disk of the destination", inventory, copied, disk},
	{"capacity", "forecast", source | inventory, copied, forecast},
}

// bytes is the size of the task's tables in the source, without their indexes.
func (e *env) bytes() (n int64) {
	for _, t := range e.inv.Tables {
		n += t.Bytes
	}
	return n
}

// disk states the need. PostgreSQL tells nobody how much room its disks have.
func disk(_ context.Context, e *env) (finding, error) {
	const most = 200 << 30
	bytes := e.bytes()
	return finding{
		Passed, fmt.Sprintf("%s should be free for %s of data; SQL cannot tell what is", size(min(bytes+bytes/2, bytes+most)), size(bytes)),
		"Compare with what df shows on the destination's machine for the directory that SHOW data_directory; names.",
	}, nil
}

// assumedRate is what a copy over an ordinary network moves in a second; only a forecast depends on it.
const assumedRate = 50 << 20

// forecast tells how long the copy takes, and what the source keeps for the task meanwhile.
func forecast(ctx context.Context, e *env) (finding, error) {
	bytes := e.bytes()
	duration, slowed := e.in.copyTime(bytes, time.Now())
	text := fmt.Sprintf("%s are copied in about %s at %s per second", size(bytes), duration, size(assumedRate))
	if slowed {
		text = fmt.Sprintf("%s are copied in about %s under the flow limit, and at %s per second where it does not hold", size(bytes), duration, size(assumedRate))
	}
	if !e.in.Incremental {
		return passed("%s", text)
	}
	now, err := e.src.wal(ctx)
	if err != nil {
		return finding{}, err
	}
	elapsed := now.at.Sub(e.began.at)
	if e.began.at.IsZero() || elapsed <= 0 {
		return passed("%s", text)
	}
	rate := float64(now.bytes-e.began.bytes) / elapsed.Seconds()
	return passed("%s; the source writes %s of WAL per second at present, so that its slot keeps about %s for it", text,
		size(int64(rate)), size(int64(rate*duration.Seconds())))
}

// copyTime is how long it takes to move some bytes, and whether the flow limit makes it longer. The limit may be another every minute.
func (in Input) copyTime(bytes int64, begin time.Time) (took time.Duration, slowed bool) {
	now := begin
	for left := float64(bytes); left > 0; {
		rate := float64(assumedRate)
		if limit := in.limit(now); limit > 0 && float64(limit) < rate {
			rate, slowed = float64(limit), true
		}
		next := now.Truncate(time.Minute).Add(time.Minute)
		if moved := rate * next.Sub(now).Seconds(); moved < left {
			left, now = left-moved, next
			continue
		}
		now, left = now.Add(time.Duration(left/rate*float64(time.Second))), 0
	}
	return now.Sub(begin).Round(time.Second), slowed
}

func (in Input) limit(at time.Time) int {
	if in.FlowLimit == nil {
		return 0
	}
	return in.FlowLimit(at)
}

// walPosition is how much WAL a server had written at a time.
type walPosition struct {
	bytes int64
	at    time.Time
}

func (s *side) wal(ctx context.Context) (walPosition, error) {
	position := "pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, '0/0')"
	if s.version < 100000 {
		position = "pg_catalog.pg_xlog_location_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_xlog_replay_location() ELSE pg_catalog.pg_current_xlog_location() END, '0/0')"
	}
	p := walPosition{}
	err := s.conn.QueryRow(ctx, "SELECT coalesce("+position+", 0)::int8, pg_catalog.clock_timestamp()").Scan(&p.bytes, &p.at)
	return p, err
}
