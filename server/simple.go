package server

import (
	"context"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgproto3/v2"
	wire "github.com/jackc/pgx/v5/pgproto3"
)

// handleQuery handles a simple query. Plain SQL is forwarded as it is; a string with a control statement in it is taken apart and
// answered piece by piece, under a single ReadyForQuery.
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
			c.server.backend.Refresh(ctx)
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
		case sqlapi.Plain, sqlapi.Empty:
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
	for _, seg := range segments {
		run := c.runControl
		if seg.Kind != sqlapi.Control {
			run = c.runPlain
		}
		if ok, err := run(ctx, seg); err != nil {
			return err
		} else if !ok {
			break
		}
	}
	return c.say(encode(nil, &pgproto3.ReadyForQuery{TxStatus: c.block()}))
}

// runPlain executes a run of plain SQL; false means that it failed and that the client knows.
func (c *session) runPlain(ctx context.Context, seg sqlapi.Segment) (bool, error) {
	c.server.backend.Refresh(ctx)
	return c.query(ctx, reply{shift: seg.Chars}, seg.Text)
}

// runControl executes one control statement, and then has the backend execute what stands for it; false is as for runPlain.
func (c *session) runControl(ctx context.Context, seg sqlapi.Segment) (bool, error) {
	fail := func(e *sqlapi.Error) (bool, error) { return c.query(ctx, reply{err: e}, brokenSQL) }
	if c.block() == 'E' {
		return fail(errFailedBlock)
	}
	p, err := c.server.control.Prepare(c.info, seg.Text)
	if err != nil {
		return fail(sqlapi.AsError(err).Shift(seg.Chars))
	}
	e, err := c.execute(ctx, p)
	switch {
	case err != nil:
		return false, err
	case e != nil:
		return fail(e.Shift(seg.Chars))
	case p.Query != "":
		c.server.backend.Refresh(ctx)
		return c.query(ctx, reply{}, p.Query)
	}
	return c.query(ctx, reply{tag: p.Tag}, standIn)
}

// query has the backend execute a part of a string and waits for the end of it.
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
