package incremental

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"pgsyncd/sync/endpoint"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// A call that has not decoded what was asked for by then has met a giant transaction, and fills the source's disk with it.
	copyPatience = 10 * time.Second
	// Calls begin with this part of Drain.Changes, and ask at most for so many times that.
	copyFirst, copyMost = 4, 4
	// Rows of a call up to this size do not go through a file.
	copyWorkMem = "64MB"
)

// slotCopy is a session of the source with a temporary copy of the slot. Nobody else can use the copy, and it vanishes with the session,
// as it does with any error.
type slotCopy struct {
	conn     *pgconn.PgConn
	slot     string // that is copied
	plugin   string
	name     string
	options  []string // of the plugin
	changes  int      // to ask for
	deadline time.Time

	at, restart pglogrepl.LSN // what committed before has been read; where the next call begins to read
	end         pglogrepl.LSN // of the WAL, when it was looked at last
}

// openCopy connects and looks how far the WAL goes.
func (s *source) openCopy(ctx context.Context) (_ *slotCopy, err error) {
	conn, err := s.cfg.Source.ConnectRaw(ctx, "pgsyncd "+s.cfg.Task+" drain")
	if err != nil {
		return nil, err
	}
	suffix := make([]byte, 8)
	_, _ = rand.Read(suffix) // never fails
	name := s.cfg.Slot[:min(len(s.cfg.Slot), 40)] + "_" + hex.EncodeToString(suffix)
	c := &slotCopy{conn: conn, slot: s.cfg.Slot, plugin: s.cfg.Plugin, name: name, changes: max(1, s.cfg.Drain.Changes/copyFirst)}
	if err = sameServer(ctx, conn, s.at); err == nil && s.verbatim {
		err = endpoint.Verbatim(ctx, conn)
	}
	if err == nil {
		_, err = conn.Exec(ctx, `SET work_mem = '`+copyWorkMem+`'`).ReadAll()
	}
	if err == nil {
		err = c.look(ctx)
	}
	if err != nil {
		c.close(ctx)
		return nil, fmt.Errorf("look at the end of WAL: %w", err)
	}
	return c, nil
}

// create makes the copy and moves it to a position that the slot has not passed. From there on it brings what the slot brings.
func (c *slotCopy) create(ctx context.Context, from pglogrepl.LSN) error {
	_, err := c.query(ctx, `SELECT pg_catalog.pg_copy_logical_replication_slot($1, $2, true, $3)`, c.slot, c.name, c.plugin)
	if err != nil {
		return fmt.Errorf("copy slot %s: %w", c.slot, err)
	}
	if _, err := c.query(ctx, `SELECT pg_catalog.pg_replication_slot_advance($1, $2)`, c.name, from.String()); err != nil {
		return fmt.Errorf("advance the copy of slot %s to %s: %w", c.slot, from, err)
	}
	if err := c.look(ctx); err != nil {
		return err
	}
	if c.at != from {
		return fmt.Errorf("the copy of slot %s is at %s, not at %s", c.slot, c.at, from)
	}
	return nil
}

// left is how much WAL there was behind a position.
func (c *slotCopy) left(from pglogrepl.LSN) int64 { return int64(c.end) - int64(from) }

// look reads how far the WAL and the copy are.
func (c *slotCopy) look(ctx context.Context) error {
	row, err := c.query(ctx, `SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
			ELSE pg_catalog.pg_current_wal_flush_lsn() END)::text, coalesce(s.confirmed_flush_lsn, '0/0')::text, coalesce(s.restart_lsn, '0/0')::text
		FROM (VALUES ($1::text)) AS n (name) LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = n.name`, c.name)
	for i, lsn := range []*pglogrepl.LSN{&c.end, &c.at, &c.restart} {
		if err == nil {
			*lsn, err = pglogrepl.ParseLSN(string(row[i]))
		}
	}
	if err != nil {
		return fmt.Errorf("look at the copy of slot %s: %w", c.slot, err)
	}
	return nil
}

// read fetches what comes next from the copy: whole transactions, as many as it takes to have the changes asked for. It returns the number
// of messages. keep copies one out of what the next row overwrites.
func (c *slotCopy) read(ctx context.Context, keep func([]byte) []byte, out chan<- portion) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{c.name, strconv.Itoa(c.changes)}
	sql := `SELECT lsn, data FROM pg_catalog.pg_logical_slot_get_binary_changes($1, NULL, $2::int`
	for _, option := range c.options {
		args = append(args, option)
		sql += `, $` + strconv.Itoa(len(args))
	}
	result := c.conn.ExecParams(ctx, sql+`)`, parameters(args), nil, nil, []int16{1, 1})
	var rows []row
	for size := 0; c.patient(ctx, n == 0) && result.NextRow(); {
		n++
		values := result.Values()
		rows = append(rows, row{pglogrepl.LSN(binary.BigEndian.Uint64(values[0])), keep(values[1])})
		if size += len(values[1]); size < portionBytes {
			continue
		}
		if err = give(ctx, out, portion{rows: rows}); err != nil {
			cancel() // the other rows are not read
			break
		}
		rows, size = make([]row, 0, len(rows)), 0
	}
	if _, closed := result.Close(); err == nil && closed != nil {
		err = fmt.Errorf("read from the copy of slot %s: %w", c.slot, closed)
	}
	if err == nil {
		err = c.conn.Conn().SetReadDeadline(time.Time{})
	}
	if err == nil {
		err = give(ctx, out, portion{rows: rows})
	}
	return n, err
}

// patient sets how long the next row is waited for, unless ctx has ended.
func (c *slotCopy) patient(ctx context.Context, first bool) bool {
	now, limit := time.Now(), silenceLimit
	if first {
		limit = copyPatience
	}
	if first || c.deadline.Sub(now) < silenceLimit/2 {
		c.deadline = now.Add(limit)
		_ = c.conn.Conn().SetReadDeadline(c.deadline) // reading will tell
	}
	if ctx.Err() != nil {
		_ = c.conn.Conn().SetReadDeadline(time.Unix(1, 0)) // as the end of ctx did, perhaps before the above
		return false
	}
	return true
}

// grow asks for more than the last time: the first calls are to bring something soon. More than usual is asked for where the next call
// reads more again than the last one brought.
func (c *slotCopy) grow(before pglogrepl.LSN, usual int) {
	if c.changes < usual || c.changes < copyMost*usual && c.at-c.restart > c.at-before {
		c.changes *= 2
	}
}

func (c *slotCopy) query(ctx context.Context, sql string, args ...string) ([][]byte, error) {
	result := c.conn.ExecParams(ctx, sql, parameters(args), nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	if len(result.Rows) != 1 {
		return nil, fmt.Errorf("%d rows instead of one", len(result.Rows))
	}
	return result.Rows[0], nil
}

func parameters(args []string) [][]byte {
	list := make([][]byte, len(args))
	for i, a := range args {
		list[i] = []byte(a)
	}
	return list
}

// close ends the session; the copy of the slot goes with it.
func (c *slotCopy) close(ctx context.Context) {
	endpoint.Close(ctx, c.conn)
	select {
	case <-c.conn.CleanupDone():
	case <-time.After(closeTimeout):
	}
}
