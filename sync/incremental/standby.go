package incremental

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"pgsyncd/sync/endpoint"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
)

const (
	standbyInterval = time.Second // between two looks at standbys that are waited for
	standbySearch   = 10          // so many times longer where there are none
	standbyPatience = time.Minute // a standby that lags for longer is not waited for
)

// hold keeps what is confirmed to the source behind what the destination has committed, where that could still be lost with its
// server. It is part of progress and guarded by its mutex.
type hold struct {
	waiting bool          // standbys are waited for
	safe    pglogrepl.LSN // of the source: these have everything before
	durable pglogrepl.LSN // of the source: the destination has
}

// limit returns what may be confirmed; before is what was.
func (h *hold) limit(before, durable pglogrepl.LSN) pglogrepl.LSN {
	h.durable = max(h.durable, durable)
	if !h.waiting {
		return h.durable
	}
	return max(before, min(h.safe, h.durable))
}

// standbys watches the physical standbys of the destination. One may be promoted any moment and then has to be sent again what it
// lacks, so the source must not have forgotten that. It has a connection of its own and is used by one goroutine at a time.
type standbys struct {
	conn     *pgx.Conn
	query    string // standbySQL
	cfg      Config
	progress *progress
	known    map[string]*standby
	ahead    []milestone // positions that some of them do not have yet, in order
	safe     pglogrepl.LSN
	hidden   bool // it was told that they cannot be seen
}

// standby is one that streams, or did so a moment ago.
type standby struct {
	flushed pglogrepl.LSN // of the destination's WAL
	present bool
	dropped bool // it lagged for too long and is not waited for until it has caught up
}

// milestone is a position of the source whose commit lies before one in the destination's WAL.
type milestone struct {
	source, written pglogrepl.LSN
	at              time.Time
}

// openStandbys looks for the first time, before anything is confirmed. told is what was confirmed by earlier streams, durable the
// ledger's position. version is the destination's server_version_num.
func openStandbys(ctx context.Context, cfg Config, version int, p *progress, told, durable pglogrepl.LSN) (*standbys, error) {
	conn, err := cfg.Destination.Connect(ctx, "pgsyncd "+cfg.Task+" standbys")
	if err != nil {
		return nil, err
	}
	s := newStandbys(conn, cfg, version, p, told, durable)
	if err := s.look(ctx, time.Now()); err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

func newStandbys(conn *pgx.Conn, cfg Config, version int, p *progress, told, durable pglogrepl.LSN) *standbys {
	p.mu.Lock()
	p.hold.durable = durable
	p.mu.Unlock()
	return &standbys{conn: conn, query: standbySQL(version), cfg: cfg, progress: p, known: map[string]*standby{}, safe: told}
}

// AwaitStandbys returns when the physical standbys of the destination have everything that is committed there now, except for those that lag
// for too long. It needs a Config's Task and Destination.
func AwaitStandbys(ctx context.Context, cfg Config) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	conn, err := cfg.Destination.Connect(ctx, "pgsyncd "+cfg.Task+" standbys")
	if err != nil {
		return err
	}
	defer endpoint.CloseConn(ctx, conn)
	var version int
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return fmt.Errorf("look for standbys of the destination: %w", err)
	}
	const present = pglogrepl.LSN(1) // of a source of which nothing else is to be known
	s := newStandbys(conn, cfg, version, newProgress(), 0, present)
	for {
		if err := s.look(ctx, time.Now()); err != nil || s.safe == present {
			return err
		}
		if err := sleep(ctx, standbyInterval); err != nil {
			return err
		}
	}
}

func (s *standbys) close(ctx context.Context) { endpoint.CloseConn(ctx, s.conn) }

// watch looks regularly until ctx ends.
func (s *standbys) watch(ctx context.Context) error {
	ticker := time.NewTicker(standbyInterval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if len(s.known) == 0 && n%standbySearch != 0 {
			continue
		}
		if err := s.look(ctx, time.Now()); err != nil {
			return err
		}
	}
}

// standbySQL reads how much WAL is durable here and what each physical standby has of it. Of sessions that the role may not see there is
// only the number. Whoever decodes has a logical slot; pg_basebackup and its like report no position.
func standbySQL(version int) string {
	current, flushed := "pg_current_wal_flush_lsn", "flush_lsn"
	switch {
	case version < 90600: // there is no function for what is flushed; what is written lies behind it and is flushed soon
		current, flushed = "pg_current_xlog_location", "flush_location"
	case version < 100000:
		current, flushed = "pg_current_xlog_flush_location", "flush_location"
	}
	return `SELECT w.lsn::text, r.pid IS NOT NULL, coalesce(r.state, ''),
		coalesce(r.application_name || ' at ' || coalesce(r.client_addr::text, 'a socket'), ''), coalesce(r.` + flushed + `::text, '')
	FROM (SELECT pg_catalog.` + current + `()) AS w (lsn) LEFT JOIN pg_catalog.pg_stat_replication r
	ON NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')`
}

// look brings what is known of the standbys up to date and moves on what may be confirmed. What was committed before it is in the WAL that
// it reads the end of.
func (s *standbys) look(ctx context.Context, now time.Time) error {
	s.progress.mu.Lock()
	durable := s.progress.hold.durable
	s.progress.mu.Unlock()
	for _, sb := range s.known {
		sb.present = false
	}
	rows, err := s.conn.Query(ctx, s.query)
	if err != nil {
		return fmt.Errorf("look for standbys of the destination: %w", err)
	}
	var end, flushed pglogrepl.LSN
	var endText, state, name, flushedText string
	var some bool
	_, err = pgx.ForEachRow(rows, []any{&endText, &some, &state, &name, &flushedText}, func() (err error) {
		if end, err = pglogrepl.ParseLSN(endText); err != nil || !some {
			return err
		}
		if state == "" {
			s.cannotSee()
		}
		if state != "streaming" || flushedText == "" {
			return nil
		}
		if flushed, err = pglogrepl.ParseLSN(flushedText); err == nil {
			s.seen(name, flushed)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look for standbys of the destination: %w", err)
	}
	s.move(ctx, durable, end, now)
	return nil
}

func (s *standbys) cannotSee() {
	if !s.hidden {
		s.cfg.Logger.Info("the destination has standbys that its user may not see, so they are not waited for", "advice", "GRANT pg_monitor")
	}
	s.hidden = true
}

func (s *standbys) seen(name string, flushed pglogrepl.LSN) {
	sb := s.known[name]
	if sb == nil {
		s.cfg.Logger.Info("standby of the destination is waited for", "standby", name)
		sb = &standby{flushed: flushed}
		s.known[name] = sb
	}
	if sb.present { // two of one name
		flushed = min(flushed, sb.flushed)
	}
	sb.flushed, sb.present = flushed, true
}

// move takes note that everything of the source before durable lies before end in the destination's WAL, and finds out what all that are
// waited for have of it.
func (s *standbys) move(ctx context.Context, durable, end pglogrepl.LSN, now time.Time) {
	if n := len(s.ahead); n == 0 && durable > s.safe || n > 0 && durable > s.ahead[n-1].source {
		s.ahead = append(s.ahead, milestone{source: durable, written: end, at: now})
	}
	s.pass()
	if len(s.ahead) > 0 && now.Sub(s.ahead[0].at) > standbyPatience {
		for name, sb := range s.known {
			if !sb.dropped && sb.flushed < s.ahead[0].written {
				sb.dropped = true
				s.cfg.notice(ctx, "standby not waited for", fmt.Sprintf("standby %s of the destination lags by more than %s", name, standbyPatience),
					"What it lacks is confirmed to the source all the same: if it is promoted before it has caught up, the task has to begin anew.")
			}
		}
		s.pass()
	}
	waiting := false
	for name, sb := range s.known {
		switch {
		case sb.dropped && !sb.present:
			delete(s.known, name)
		case sb.dropped && sb.flushed >= end:
			s.cfg.Logger.Info("standby of the destination has caught up", "standby", name)
			sb.dropped = false
		}
		waiting = waiting || !sb.dropped
	}
	p := s.progress
	p.mu.Lock()
	p.hold.waiting, p.hold.safe = waiting, s.safe
	p.mu.Unlock()
	p.update(func(*Progress) {})
}

// pass drops the milestones that everybody who is waited for has passed.
func (s *standbys) pass() {
	for len(s.ahead) > 0 {
		for _, sb := range s.known {
			if !sb.dropped && sb.flushed < s.ahead[0].written {
				return
			}
		}
		s.safe = s.ahead[0].source
		s.ahead = s.ahead[1:]
	}
}

// notice logs what an operator should know, and puts it on record.
func (c Config) notice(ctx context.Context, event, message, detail string) {
	c.Logger.WarnContext(ctx, "notice", "event", event, "message", message, "detail", detail)
	if c.Notice != nil {
		c.Notice(ctx, event, message, detail)
	}
}
