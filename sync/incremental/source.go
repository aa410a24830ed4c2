package incremental

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pgsyncd/sync/endpoint"
	"pgsyncd/sync/ledger"
	"pgsyncd/sync/schema"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A walsender that has lost its client keeps the slot until it notices.
const (
	slotPatience = 20 * time.Second
	slotRetry    = 250 * time.Millisecond
)

// source is the source's side of a running stream: the replication connection, and an ordinary one for everything that is
// not replication.
type source struct {
	link    *link
	queue   *queue
	spill   *spill    // belongs to the decoder; nil where the source sends committed transactions only
	control *pgx.Conn // belongs to the heartbeat once the stream runs
	catalog *pgx.Conn // belongs to the decoder; nil with pgoutput
	version int       // server_version_num
	watch   *watcher  // likewise
}

// openSource checks that the slot continues at the destination's position and starts streaming.
func openSource(ctx context.Context, cfg Config, dst *session, w *watcher, c *counters) (_ *source, err error) {
	at := dst.position
	control, err := cfg.Source.Connect(ctx, "pgsyncd "+cfg.Task+" source")
	if err != nil {
		return nil, err
	}
	s := &source{control: control, queue: newQueue(cfg.BatchBytes), watch: w}
	s.queue.meter = cfg.Meter
	replication, err := cfg.Source.ConnectReplication(ctx, "pgsyncd "+cfg.Task+" stream")
	defer func() {
		if err != nil {
			s.close(ctx)
			closeRaw(ctx, replication)
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := sameSystem(ctx, replication, at); err != nil {
		return nil, err
	}
	if err := endpoint.Verbatim(ctx, replication, dst.pg); err != nil {
		return nil, err
	}
	if err := s.inspect(ctx, cfg, at, c); err != nil {
		return nil, err
	}
	d, err := s.decoder(ctx, cfg, dst, c)
	if err != nil {
		return nil, err
	}
	if s.link, err = acquire(ctx, replication, cfg.Slot, at.LSN, d); err != nil {
		return nil, err
	}
	s.link.meter = cfg.Meter
	// Nobody can replace or move the slot any more, so this look is the one that counts.
	return s, s.checkSlot(ctx, cfg, at)
}

// decoder makes the one for the slot's plugin.
func (s *source) decoder(ctx context.Context, cfg Config, dst *session, c *counters) (decoder, error) {
	if cfg.Plugin == PluginPgoutput {
		if cfg.SpillDir != "" && s.version >= 140000 {
			var err error
			if s.spill, err = openSpill(cfg.SpillDir, cfg.Task, cfg.SpillReserve); err != nil {
				return nil, err
			}
		}
		return newPgoutput(cfg.Publication, s.spill, c), nil
	}
	marks, err := scout(ctx, cfg, dst, s.watch.copied)
	if err != nil {
		return nil, err
	}
	if s.catalog, err = cfg.Source.Connect(ctx, "pgsyncd "+cfg.Task+" catalog"); err != nil {
		return nil, err
	}
	return newTestDecoding(ctx, s.catalog, s.version, dst.position.LSN, marks, c)
}

// acquire starts streaming as soon as nobody else holds the slot.
func acquire(ctx context.Context, conn *pgconn.PgConn, slot string, from pglogrepl.LSN, d decoder) (*link, error) {
	for patience := time.Now().Add(slotPatience); ; {
		l, err := startLink(ctx, conn, slot, from, d)
		if err == nil {
			return l, nil
		}
		if sqlState(err) != "55006" || time.Now().After(patience) {
			return nil, err
		}
		if err := sleep(ctx, slotRetry); err != nil {
			return nil, err
		}
	}
}

// inspect reads what must be known before the stream starts.
func (s *source) inspect(ctx context.Context, cfg Config, at ledger.Position, c *counters) error {
	before := time.Now()
	var version string
	var clock time.Time
	if err := s.control.QueryRow(ctx, `SELECT current_setting('server_version_num'), clock_timestamp()`).Scan(&version, &clock); err != nil {
		return fmt.Errorf("look at source: %w", err)
	}
	cfg.Meter.Clock(before, clock, time.Now())
	var err error
	if s.version, err = strconv.Atoi(version); err != nil {
		return fmt.Errorf("look at source: %w", err)
	}
	if at.Slot != cfg.Slot {
		return permanentf("%w: the destination's position belongs to slot %q, the task to %q", ErrSlotLost, at.Slot, cfg.Slot)
	}
	if err := s.checkSlot(ctx, cfg, at); err != nil {
		return err
	}
	if err := s.checkWAL(ctx, at); err != nil {
		return err
	}
	s.watch.plain = s.version < 100000
	if err := s.watch.look(ctx, s.control); err != nil {
		return err
	}
	above, err := readAncestors(ctx, s.control, s.version)
	if err != nil {
		return err
	}
	c.partitions(above)
	return nil
}

// slotSQL reads one row about a slot as JSON, because its columns differ from version to version. Before 9.6 the confirmed
// position is not shown, and the one that the slot keeps WAL from, which is never greater, must do.
const slotSQL = `SELECT s.slot_type, coalesce(s.plugin, ''), s.database IS NOT DISTINCT FROM pg_catalog.current_database(),
	coalesce(pg_catalog.to_json(s) ->> 'confirmed_flush_lsn', s.restart_lsn::text, '0/0'), coalesce(pg_catalog.to_json(s) ->> 'wal_status', ''),
	coalesce(pg_catalog.to_json(s) ->> 'invalidation_reason', ''), coalesce(pg_catalog.to_json(s) ->> 'conflicting', '')
	FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1`

// checkSlot makes sure that the slot holds everything after the destination's position. The server would silently begin at
// the slot's own position if that were later.
func (s *source) checkSlot(ctx context.Context, cfg Config, at ledger.Position) error {
	var kind, plugin, confirmedText, status, reason, conflicting string
	var here bool
	err := s.control.QueryRow(ctx, slotSQL, cfg.Slot).Scan(&kind, &plugin, &here, &confirmedText, &status, &reason, &conflicting)
	if errors.Is(err, pgx.ErrNoRows) {
		return permanentf("%w: %s does not exist", ErrSlotLost, cfg.Slot)
	}
	if err != nil {
		return fmt.Errorf("look at slot %s: %w", cfg.Slot, err)
	}
	confirmed, err := pglogrepl.ParseLSN(confirmedText)
	switch {
	case err != nil:
		return fmt.Errorf("look at slot %s: %w", cfg.Slot, err)
	case kind != "logical" || plugin != cfg.Plugin:
		return permanentf("%w: %s is %s with plugin %q", ErrSlotLost, cfg.Slot, kind, plugin)
	case !here:
		return permanentf("%w: %s belongs to another database", ErrSlotLost, cfg.Slot)
	case status == "lost" || reason != "" || conflicting == "true":
		return permanentf("%w: %s is invalidated (wal_status %q, reason %q)", ErrSlotLost, cfg.Slot, status, reason)
	case confirmed > at.LSN:
		return permanentf("%w: %s is confirmed up to %s, the destination has come to %s", ErrAhead, cfg.Slot, confirmed, at.LSN)
	}
	return nil
}

// checkWAL refuses a source whose WAL does not reach the destination's position: what it writes up to there would be skipped
// in silence. A standby may have that part yet to replay.
func (s *source) checkWAL(ctx context.Context, at ledger.Position) error {
	var end string
	var behind bool
	current := "pg_current_wal_flush_lsn"
	switch {
	case s.version < 90600: // there is no function for what is flushed
		current = "pg_current_xlog_location"
	case s.version < 100000:
		current = "pg_current_xlog_flush_location"
	}
	err := s.control.QueryRow(ctx, `SELECT w.lsn::text, NOT pg_catalog.pg_is_in_recovery() AND w.lsn < $1::text::pg_lsn
		FROM (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN '0/0' ELSE pg_catalog.`+current+`() END) AS w (lsn)`,
		at.LSN.String()).Scan(&end, &behind)
	if err != nil {
		return fmt.Errorf("read end of WAL: %w", err)
	}
	if behind {
		return permanentf("%w: its WAL ends at %s, the destination has come to %s", ErrBehind, end, at.LSN)
	}
	return nil
}

// sameSystem compares the cluster behind the connection with the one the position belongs to.
func sameSystem(ctx context.Context, conn *pgconn.PgConn, at ledger.Position) error {
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	switch {
	case err != nil:
		return fmt.Errorf("identify source: %w", err)
	case system.SystemID != at.SystemID:
		return permanentf("%w: its system identifier is %s, not %s", ErrOtherSystem, system.SystemID, at.SystemID)
	case system.Timeline != at.Timeline:
		return permanentf("%w: %d, not %d", ErrTimeline, system.Timeline, at.Timeline)
	}
	return nil
}

// readAncestors returns the partitioned tables above every partition, from the nearest on.
func readAncestors(ctx context.Context, conn *pgx.Conn, version int) (map[schema.Name][]schema.Name, error) {
	if version < 100000 {
		return nil, nil
	}
	rows, err := conn.Query(ctx, `
		WITH RECURSIVE up (leaf, parent, level) AS (
			SELECT c.oid, i.inhparent, 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
			WHERE c.relispartition
			UNION ALL
			SELECT up.leaf, i.inhparent, up.level + 1 FROM up JOIN pg_catalog.pg_class p ON p.oid = up.parent AND p.relispartition
			JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.parent)
		SELECT ln.nspname, l.relname, pn.nspname, p.relname FROM up
		JOIN pg_catalog.pg_class p ON p.oid = up.parent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
		JOIN pg_catalog.pg_class l ON l.oid = up.leaf JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace ORDER BY up.level`)
	if err != nil {
		return nil, fmt.Errorf("read partitions of the source: %w", err)
	}
	above := map[schema.Name][]schema.Name{}
	var leaf, parent schema.Name
	_, err = pgx.ForEachRow(rows, []any{&leaf.Schema, &leaf.Name, &parent.Schema, &parent.Name}, func() error {
		above[leaf] = append(above[leaf], parent)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read partitions of the source: %w", err)
	}
	return above, nil
}

// heartbeat writes to the source's WAL when nothing came for a while, so that the slot can move on with an otherwise idle
// database, and when somebody waits for a position that the source has no reason to pass. In between it watches the source.
func (s *source) heartbeat(ctx context.Context, cfg Config, kick <-chan struct{}, p *progress) error {
	ticker := time.NewTicker(cfg.Heartbeat)
	defer ticker.Stop()
	watch := time.NewTicker(max(cfg.Heartbeat, watchInterval))
	defer watch.Stop()
	var seen pglogrepl.LSN
	for {
		select {
		case <-watch.C:
			if err := s.watch.look(ctx, s.control); err != nil {
				return err
			}
			continue
		case <-ticker.C:
			if now := p.read().Received; now != seen {
				seen = now
				continue
			}
		case <-kick:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := s.beat(ctx); err != nil {
			return err
		}
	}
}

// beat writes a transactional message: its commit is flushed at once, and decoded as a transaction without changes. Before 9.6
// there are no messages, but a transaction that has taken a number leaves a commit as well, which is flushed soon after.
func (s *source) beat(ctx context.Context) error {
	write := "pg_catalog.pg_logical_emit_message(true, 'pgsyncd', '')"
	if s.version < 90600 {
		write = "pg_catalog.txid_current()"
	}
	_, err := s.control.Exec(ctx, `SELECT `+write+` WHERE NOT pg_catalog.pg_is_in_recovery()`)
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}

func (s *source) close(ctx context.Context) {
	if s.link != nil {
		s.link.close()
	}
	s.spill.close()
	if s.catalog != nil {
		closeRaw(ctx, s.catalog.PgConn())
	}
	closeRaw(ctx, s.control.PgConn())
}

// closeRaw closes a connection whose work is done or lost.
func closeRaw(ctx context.Context, conn *pgconn.PgConn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
