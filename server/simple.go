package server

import (
	"context"

	"github.com/jackc/pgproto3/v2"
	wire "github.com/jackc/pgx/v5/pgproto3"

	"pgsyncd/sqlapi"
)

// handleQuery handles a simple query. Strings of plain SQL are forwarded as they are; one with a control statement in it is taken
// apart and answered piece by piece, under a single ReadyForQuery.
func (c *session) handleQuery(ctx context.Context, frame []byte) error {
	var query wire.Query
	if err := query.Decode(frame[headerSize:]); err != nil {
		return c.rejectQuery(ctx, protocolError("invalid Query message"))
	}
	if e := c.readable(query.String); e != nil {
		return c.rejectQuery(ctx, e)
	}
	segments, err := sqlapi.Split(query.String)
	if err != nil {
		return c.rejectQuery(ctx, sqlapi.AsError(err))
	}
	if len(segments) == 1 && segments[0].Kind != sqlapi.Control && segments[0].Kind != sqlapi.Refused {
		if segments[0].Kind == sqlapi.Plain {
			c.refresh(ctx)
		}
		return c.send(ctx, reply{awaits: awaitsQuery}, frame)
	}
	if e := c.checkSegments(segments); e != nil {
		return c.rejectQuery(ctx, e)
	}
	return c.runSegments(ctx, segments)
}

// checkSegments finds what is wrong with a string before any of it runs, as PostgreSQL parses all of it first.
func (c *session) checkSegments(segments []sqlapi.Segment) *sqlapi.Error {
	for _, seg := range segments {
		switch seg.Kind {
		case sqlapi.Refused:
			return seg.Err.Shift(seg.Chars)
		case sqlapi.Control:
			if e := c.controllable(seg.Text); e != nil {
				return e
			}
			if _, err := sqlapi.Parse(seg.Text); err != nil {
				return sqlapi.AsError(err).Shift(seg.Chars)
			}
		}
	}
	return nil
}

// runSegments executes a string piece by piece until one fails.
func (c *session) runSegments(ctx context.Context, segments []sqlapi.Segment) error {
	if err := c.drain(ctx); err != nil {
		return err
	}
	if c.skips() {
		return nil // PostgreSQL ignores a query, too, while it waits for a Sync
	}
	var last []byte // the last control statement's CommandComplete, which goes out together with ReadyForQuery
	for _, seg := range segments {
		if err := c.say(last); err != nil {
			return err
		}
		var ok bool
		var err error
		if seg.Kind == sqlapi.Control {
			last, ok, err = c.runSegment(ctx, seg)
		} else {
			last = nil
			c.refresh(ctx)
			ok, err = c.query(ctx, reply{shift: seg.Chars}, seg.Text)
		}
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	return c.say(encode(last, &pgproto3.ReadyForQuery{TxStatus: c.block()}))
}

// query has the backend execute a part of a string and waits for the end of it. False means that it failed and that the client
// knows.
func (c *session) query(ctx context.Context, r reply, sql string) (bool, error) {
	var done outcome
	r.awaits, r.hideReady, r.outcome = awaitsQuery, true, &done
	if err := c.send(ctx, r, encodeFrontend(&wire.Query{String: sql})); err != nil {
		return false, err
	}
	if err := c.drain(ctx); err != nil {
		return false, err
	}
	return !done.failed, nil
}

// runSegment executes one control statement of a string and returns its CommandComplete, if the client has not got it yet.
func (c *session) runSegment(ctx context.Context, seg sqlapi.Segment) (complete []byte, ok bool, err error) {
	fail := func(e *sqlapi.Error) ([]byte, bool, error) {
		ok, err := c.query(ctx, reply{err: e}, brokenSQL)
		return nil, ok, err
	}
	if c.block() == 'E' {
		return fail(errFailedBlock)
	}
	p, prepareErr := c.server.control.Prepare(c.info, seg.Text)
	if prepareErr != nil {
		return fail(sqlapi.AsError(prepareErr).Shift(seg.Chars))
	}
	e, err := c.execute(ctx, p)
	switch {
	case err != nil:
		return nil, false, err
	case e != nil:
		return fail(e.Shift(seg.Chars))
	case p.Query != "":
		c.refresh(ctx)
		ok, err := c.query(ctx, reply{}, p.Query)
		return nil, ok, err
	}
	return encode(nil, &pgproto3.CommandComplete{CommandTag: []byte(p.Tag)}), true, nil
}

// skips tells whether the backend ignores messages until the next Sync. The session must be settled.
func (c *session) skips() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replies.skipping
}

// block returns the transaction state. The session must be settled.
func (c *session) block() byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replies.block
}
