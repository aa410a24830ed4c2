package compare

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"pgsyncd/catalog"

	"github.com/jackc/pgx/v5"
)

// pace is how fast one side may be read, by all workers of a run together. Its methods are safe for concurrent use.
type pace struct {
	mu          sync.Mutex
	rows, bytes meter
}

// newPace returns nil where nothing is limited.
func newPace(o catalog.CompareOptions) *pace {
	if o.MaxRowsPerSecond == 0 && o.MaxMBPerSecond == 0 {
		return nil
	}
	return &pace{rows: meter{rate: float64(o.MaxRowsPerSecond)}, bytes: meter{rate: float64(o.MaxMBPerSecond) * 1e6}}
}

// meter spreads what is counted evenly over time.
type meter struct {
	rate float64   // per second; 0: not limited
	due  time.Time // when all that was counted may have been read
}

// slack is how far reading may fall behind its pace and still make up for it.
const slack = 250 * time.Millisecond

// count returns how long to wait after n more were read.
func (m *meter) count(now time.Time, n int64) time.Duration {
	if m.rate == 0 {
		return 0
	}
	if earliest := now.Add(-slack); m.due.Before(earliest) {
		if m.due.IsZero() {
			earliest = now
		}
		m.due = earliest
	}
	m.due = m.due.Add(time.Duration(float64(n) / m.rate * float64(time.Second)))
	return m.due.Sub(now)
}

// took waits after rows were read; nil does not.
func (p *pace) took(ctx context.Context, rows, bytes int64) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	wait := max(p.rows.count(now, rows), p.bytes.count(now, bytes))
	p.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// portion is how many rows to read at once: what takes a twentieth of a second. size is the average of their bytes, 0 while unknown.
func (p *pace) portion(size float64) int64 {
	n := 10_000.0
	if p == nil {
		return int64(n)
	}
	if p.rows.rate > 0 {
		n = min(n, p.rows.rate/20)
	}
	if p.bytes.rate > 0 {
		if size == 0 {
			return 1
		}
		n = min(n, p.bytes.rate/20/size)
	}
	return max(1, int64(n))
}

// trickle reads every row at the side's pace, through a cursor, and waits where the stream has fallen behind.
func (r *reading) trickle(ctx context.Context, each func(entry)) error {
	return within(ctx, r.conn, func() error {
		conn := r.conn.PgConn()
		if _, err := conn.Exec(ctx, "DECLARE trickle NO SCROLL CURSOR FOR "+r.slowQuery()).ReadAll(); err != nil {
			return err
		}
		var rows, bytes int64
		for size := 0.0; ; size = float64(bytes) / float64(rows) {
			if err := r.brake.wait(ctx); err != nil {
				return err
			}
			portion, before, length := r.pace.portion(size), rows, int64(0)
			result := conn.ExecParams(ctx, "FETCH "+strconv.FormatInt(portion, 10)+" FROM trickle", nil, nil, nil, []int16{pgx.BinaryFormatCode})
			for result.NextRow() {
				values := result.Values()
				length += int64(binary.BigEndian.Uint64(values[3]))
				rows++
				each(readEntry(values))
			}
			if _, err := result.Close(); err != nil {
				return err
			}
			bytes += length
			if err := r.pace.took(ctx, rows-before, length); err != nil {
				return err
			}
			if rows-before < portion {
				_, err := conn.Exec(ctx, "CLOSE trickle").ReadAll()
				return err
			}
		}
	})
}

// slowQuery gives every row as an entry with the size of its image, if that matters.
func (r *reading) slowQuery() string {
	if r.hash == "" && (r.pace == nil || r.pace.bytes.rate == 0) {
		return "SELECT 0::bigint, 0::bigint, '(0,0)'::pg_catalog.tid, 0::bigint FROM (" + r.rows(func(origin) []string { return []string{"1"} }) + ") AS r"
	}
	if r.pace == nil { // and its size does not matter
		return "SELECT k, h, t, 0::bigint FROM (" + r.rows(func(o origin) []string { return []string{r.keyHash(o), r.imageHash(o), r.tid()} }) + ") AS r (k, h, t)"
	}
	key, hash := "0::bigint", "0::bigint"
	inner := func(o origin) []string { return []string{image(r.columns, o.name), r.tid()} }
	names := "i, t"
	if r.hash != "" {
		hash = fmt.Sprintf(r.hash, "i")
		key = hash
	}
	if r.key != nil && r.hash != "" {
		key, names = "k", "i, t, k"
		inner = func(o origin) []string { return []string{image(r.columns, o.name), r.tid(), r.keyHash(o)} }
	}
	// OFFSET keeps the planner from computing the image twice.
	return "SELECT " + strings.Join([]string{key, hash, "t", "pg_catalog.octet_length(i)::bigint"}, ", ") +
		" FROM (" + r.rows(inner) + " OFFSET 0) AS r (" + names + ")"
}
