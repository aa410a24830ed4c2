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
	slotRetry    = 50 * time.Millisecond
)

// source is the source's side of a running stream: the replication connection, and an ordinary one for everything that is
// not replication.
type source struct {
	cfg      Config
	at       ledger.Position // where the stream began
	counters *counters
	queue    *queue
	in       *intake
	link     *link         // belongs to feed once the stream runs
	spill    *spill        // belongs to the link's decoder; nil where the source sends committed transactions only
	control  *pgx.Conn     // belongs to the heartbeat once the stream runs
	catalog  *pgx.Conn     // belongs to the decoder; nil with pgoutput
	lines    *testDecoding // nil with pgoutput
	verbatim bool          // the encoding of text is not known
	version  int           // server_version_num
	interval time.Duration // between statuses
	watch    *watcher      // likewise

	// Of feed:
	overtaken bool      // the walsender would send again what was fed
	drainAt   time.Time // not to be drained before
}

// openSource checks that the slot continues at the destination's position and starts streaming.
func openSource(ctx context.Context, cfg Config, dst *session, w *watcher, c *counters, p *progress) (_ *source, err error) {
	control, err := cfg.Source.Connect(ctx, "pgsyncd "+cfg.Task+" source")
	if err != nil {
		return nil, err
	}
	s := &source{cfg: cfg, at: dst.position, counters: c, queue: newQueue(cfg.BatchBytes), control: control, watch: w}
	s.queue.meter = cfg.Meter
	s.in = &intake{queue: s.queue, progress: p, meter: cfg.Meter, fed: dst.position.LSN}
	var sender *pgconn.PgConn
	defer func() {
		if err != nil {
			s.close(ctx)
			endpoint.Close(ctx, sender)
		}
	}()
	// As in endpoint.Verbatim, which the sessions that come later cannot use: the applier has its session then.
	s.verbatim = control.PgConn().ParameterStatus("server_encoding") == "SQL_ASCII" && dst.pg.ParameterStatus("server_encoding") == "SQL_ASCII"
	if s.verbatim {
		if err := endpoint.Verbatim(ctx, dst.pg); err != nil {
			return nil, err
		}
	}
	if sender, err = connectSender(ctx, cfg, s.at, s.verbatim); err != nil {
		return nil, err
	}
	if err := s.inspect(ctx, c); err != nil {
		return nil, err
	}
	if cfg.Plugin == PluginTestDecoding {
		if err := s.readLines(ctx); err != nil {
			return nil, err
		}
	}
	d, err := s.begin()
	if err != nil {
		return nil, err
	}
	if s.link, err = acquire(ctx, sender, cfg.Slot, s.at.LSN, d, s.in); err != nil {
		return nil, err
	}
	s.link.interval = s.interval
	// Nobody can replace or move the slot any more, so this look is the one that counts.
	return s, checkSlot(ctx, s.control, cfg, s.at)
}

// connectSender opens a replication connection to the cluster that a position belongs to.
func connectSender(ctx context.Context, cfg Config, at ledger.Position, verbatim bool) (*pgconn.PgConn, error) {
	conn, err := cfg.Source.ConnectReplication(ctx, "pgsyncd "+cfg.Task+" stream")
	if err != nil {
		return nil, err
	}
	err = sameSystem(ctx, conn, at)
	if err == nil && verbatim {
		err = endpoint.Verbatim(ctx, conn)
	}
	if err != nil {
		endpoint.Close(ctx, conn)
		return nil, err
	}
	return conn, nil
}

// begin makes the decoder for a walsender that is to be started. What another one sent of transactions in progress, it sends again.
func (s *source) begin() (decoder, error) {
	if s.lines != nil {
		return s.lines, nil
	}
	s.spill.close()
	s.spill = nil
	if s.cfg.SpillDir != "" && s.version >= 140000 {
		var err error
		if s.spill, err = openSpill(s.cfg.SpillDir, s.cfg.Task, s.cfg.SpillReserve); err != nil {
			return nil, err
		}
	}
	return newPgoutput(s.cfg.Publication, s.spill, s.counters), nil
}

// readLines prepares for test_decoding.
func (s *source) readLines(ctx context.Context) error {
	marks, err := scout(ctx, s.cfg, s.at, s.verbatim, s.watch.copied)
	if err != nil {
		return err
	}
	if s.catalog, err = s.cfg.Source.Connect(ctx, "pgsyncd "+s.cfg.Task+" catalog"); err != nil {
		return err
	}
	s.lines, err = newTestDecoding(ctx, s.catalog, s.version, s.at.LSN, marks, s.counters)
	return err
}

// acquire starts streaming as soon as nobody else holds the slot.
func acquire(ctx context.Context, conn *pgconn.PgConn, slot string, from pglogrepl.LSN, d decoder, in *intake) (*link, error) {
	for patience := time.Now().Add(slotPatience); ; {
		l, err := startLink(ctx, conn, slot, from, d, in)
		if err == nil {
			return l, nil
		}
		if endpoint.SQLState(err) != "55006" || time.Now().After(patience) {
			return nil, err
		}
		if err := sleep(ctx, slotRetry); err != nil {
			return nil, err
		}
	}
}

// inspect reads what must be known before the stream starts.
func (s *source) inspect(ctx context.Context, c *counters) error {
	before := time.Now()
	var version string
	var clock time.Time
	var timeout time.Duration // wal_sender_timeout
	if err := s.control.QueryRow(ctx, `SELECT current_setting('server_version_num'), clock_timestamp(),
		(SELECT setting::bigint * 1000000 FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout')`).Scan(&version, &clock, &timeout); err != nil {
		return fmt.Errorf("look at source: %w", err)
	}
	s.cfg.Meter.Clock(before, clock, time.Now())
	if s.interval = statusInterval; timeout > 0 {
		s.interval = min(statusInterval, timeout/4) // while the queue is full, the source's requests for an answer are not read
	}
	var err error
	if s.version, err = strconv.Atoi(version); err != nil {
		return fmt.Errorf("look at source: %w", err)
	}
	if s.at.Slot != s.cfg.Slot {
		return permanentf("%w: the destination's position belongs to slot %q, the task to %q", ErrSlotLost, s.at.Slot, s.cfg.Slot)
	}
	if err := checkSlot(ctx, s.control, s.cfg, s.at); err != nil {
		return err
	}
	if err := s.checkWAL(ctx); err != nil {
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
func checkSlot(ctx context.Context, control *pgx.Conn, cfg Config, at ledger.Position) error {
	var kind, plugin, confirmedText, status, reason, conflicting string
	var here bool
	err := control.QueryRow(ctx, slotSQL, cfg.Slot).Scan(&kind, &plugin, &here, &confirmedText, &status, &reason, &conflicting)
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
		return &AheadError{Slot: cfg.Slot, Position: at.LSN, Confirmed: confirmed}
	}
	return nil
}

// checkWAL refuses a source whose WAL does not reach the destination's position: what it writes up to there would be skipped
// in silence. A standby may have that part yet to replay.
func (s *source) checkWAL(ctx context.Context) error {
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
		s.at.LSN.String()).Scan(&end, &behind)
	if err != nil {
		return fmt.Errorf("read end of WAL: %w", err)
	}
	if behind {
		return permanentf("%w: its WAL ends at %s, the destination has come to %s", ErrBehind, end, s.at.LSN)
	}
	return nil
}

// sameSystem compares the cluster behind the connection with the one the position belongs to.
func sameSystem(ctx context.Context, conn *pgconn.PgConn, at ledger.Position) error {
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return fmt.Errorf("identify source: %w", err)
	}
	return belongs(at, system.SystemID, system.Timeline)
}

// sameServer does so over an ordinary connection, which may have found another server than the walsender's where the source has several
// hosts. Roles may not be allowed to ask, and standbys do not tell their timeline.
func sameServer(ctx context.Context, conn *pgconn.PgConn, at ledger.Position) error {
	result := conn.ExecParams(ctx, `SELECT s.system_identifier::text,
			CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN "left"(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END
		FROM pg_catalog.pg_control_system() s`, nil, nil, nil, nil).Read()
	switch {
	case endpoint.SQLState(result.Err) == "42501":
		return nil
	case result.Err != nil:
		return fmt.Errorf("identify source: %w", result.Err)
	}
	system, now := string(result.Rows[0][0]), uint64(at.Timeline)
	if file := result.Rows[0][1]; file != nil {
		var err error
		if now, err = strconv.ParseUint(string(file), 16, 31); err != nil {
			return fmt.Errorf("identify source: %w", err)
		}
	}
	return belongs(at, system, int32(now))
}

// belongs compares a cluster and its timeline with those of a position.
func belongs(at ledger.Position, systemID string, timeline int32) error {
	switch {
	case systemID != at.SystemID:
		return permanentf("%w: its system identifier is %s, not %s", ErrOtherSystem, systemID, at.SystemID)
	case timeline != at.Timeline:
		return permanentf("%w: %d, not %d", ErrTimeline, timeline, at.Timeline)
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
	endpoint.CloseConn(ctx, s.catalog)
	endpoint.CloseConn(ctx, s.control)
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
