package server

import (
	"bytes"
	"context"
	"time"

	"pgsyncd/sqlapi"

	wire "github.com/jackc/pgx/v5/pgproto3"
)

// Limits on control statements, in bytes of text: of one, and of all a session keeps prepared or bound.
const (
	maxControlText = 1 << 20
	maxControlHeld = 16 << 20
)

// standIn is what the backend is given instead of a control statement that returns no rows: it does nothing, in any transaction
// state but a failed one, and has neither parameters nor columns. The control statement's own text holds passwords and is never
// forwarded.
const standIn = `UNLISTEN "pgsyncd_control"`

// What ends the context of a control statement.
var (
	errCanceled       = sqlapi.Errorf(sqlapi.CodeCancelled, "canceling statement due to user request")
	errControlTimeout = sqlapi.Errorf(sqlapi.CodeCancelled, "canceling statement due to statement timeout")
)

// Errors that depend on the transaction state.
var (
	errFailedBlock = sqlapi.Errorf(codeFailedBlock, "current transaction is aborted, commands ignored until end of transaction block")
	errSeveral     = sqlapi.Errorf(sqlapi.CodeSyntax, "cannot insert multiple commands into a prepared statement")
)

// handleParse forwards plain SQL as it is, and a stand-in for a control statement.
func (c *session) handleParse(ctx context.Context, frame []byte) error {
	var parse wire.Parse
	if err := parse.Decode(frame[headerSize:]); err != nil {
		return c.reject(ctx, protocolError("invalid Parse message"))
	}
	if e := c.readable(parse.Query); e != nil {
		return c.reject(ctx, e)
	}
	segments, err := sqlapi.Split(parse.Query)
	if err != nil {
		return c.reject(ctx, sqlapi.AsError(err))
	}
	switch seg := segments[0]; {
	case len(segments) > 1:
		return c.reject(ctx, errSeveral)
	case seg.Kind == sqlapi.Refused:
		return c.reject(ctx, seg.Err.Shift(seg.Chars))
	case seg.Kind == sqlapi.Control:
		return c.parseControl(ctx, &parse, seg)
	}
	return c.send(ctx, reply{awaits: awaitsParse, name: parse.Name}, frame)
}

func (c *session) parseControl(ctx context.Context, parse *wire.Parse, seg sqlapi.Segment) error {
	if e := c.controllable(seg.Text); e != nil {
		return c.reject(ctx, e)
	}
	if c.holds(len(seg.Text)) {
		return c.reject(ctx, errTooManyPrepared())
	}
	p, err := c.server.control.Prepare(c.info, seg.Text)
	if err != nil {
		return c.reject(ctx, sqlapi.AsError(err).Shift(seg.Chars))
	}
	parse.Query = standIn
	if p.Query != "" {
		parse.Query = p.Query
	}
	stmt := &statement{prepared: p, size: len(seg.Text), shift: seg.Chars}
	return c.send(ctx, reply{awaits: awaitsParse, name: parse.Name, stmt: stmt}, encodeFrontend(parse))
}

// holds tells whether the session already keeps so much control statement text that more of it is too much.
func (c *session) holds(more int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replies.held+more > maxControlHeld
}

func errTooManyPrepared() *sqlapi.Error {
	return sqlapi.Errorf(codeLimit, "too many control statements are prepared in this session").
		WithHint("Close prepared statements that are no longer needed.")
}

func (c *session) handleBind(ctx context.Context, frame []byte) error {
	name, rest := cut(frame[headerSize:])
	source, _ := cut(rest)
	stmt, err := lookup(ctx, c, (*replies).statement, source)
	if err != nil {
		return err
	}
	if stmt == nil {
		c.server.backend.Refresh(ctx) // a query's snapshot is taken now
		return c.send(ctx, reply{awaits: awaitsBind, name: name}, frame)
	}
	p := &portal{stmt: stmt}
	if stmt.prepared.Query != "" {
		p.bind = bytes.Clone(frame)
	}
	if c.holds(p.size()) {
		return c.reject(ctx, errTooManyPrepared())
	}
	return c.send(ctx, reply{awaits: awaitsBind, name: name, portal: p}, frame)
}

// lookup finds a statement or portal by name, and waits for outstanding replies when the answer depends on them.
func lookup[T any](ctx context.Context, c *session, find func(*replies, string) (*T, bool), name string) (*T, error) {
	for {
		c.mu.Lock()
		found, certain := find(&c.replies, name)
		c.mu.Unlock()
		if certain {
			return found, nil
		}
		if err := c.drain(ctx); err != nil {
			return nil, err
		}
	}
}

// handleExecute runs a control statement when its portal is executed for the first time, then has the backend execute the
// stand-in, whose command tag is replaced.
func (c *session) handleExecute(ctx context.Context, frame []byte) error {
	name, _ := cut(frame[headerSize:])
	target, err := lookup(ctx, c, (*replies).portal, name)
	if err != nil {
		return err
	}
	execute := reply{awaits: awaitsExecute}
	if target == nil {
		return c.send(ctx, execute, frame)
	}
	p := target.stmt.prepared
	if target.ran {
		return c.send(ctx, execute, frame)
	}
	alive, err := c.probe(ctx, name, p.Query != "")
	if err != nil {
		return err
	}
	if !alive || c.block() == 'E' {
		return c.send(ctx, execute, frame) // fails, or is ignored
	}
	e, err := c.execute(ctx, p)
	if err != nil {
		return err
	}
	if e != nil {
		return c.reject(ctx, e.Shift(target.stmt.shift))
	}
	target.ran = true
	if p.Query != "" {
		err = c.rebind(ctx, name, target)
	} else {
		execute.tag = p.Tag
	}
	if err != nil {
		return err
	}
	return c.send(ctx, execute, frame)
}

// rebind gives a portal a new snapshot: the old one was taken by Bind, before the statement did the work whose rows are read.
func (c *session) rebind(ctx context.Context, name string, p *portal) error {
	c.server.backend.Refresh(ctx)
	closing := reply{awaits: awaitsClosePortal, name: name, hidden: true}
	if err := c.send(ctx, closing, encodeFrontend(&wire.Close{ObjectType: 'P', Name: name})); err != nil {
		return err
	}
	return c.send(ctx, reply{awaits: awaitsBind, name: name, portal: p, hidden: true}, p.bind)
}

// probe settles the session and asks the backend whether a portal still is what it was bound as: it may have been closed by the end
// of its transaction or by a statement. False also means that the backend skips messages, in the end possibly because of the probe.
func (c *session) probe(ctx context.Context, name string, rows bool) (bool, error) {
	var found outcome
	r := reply{awaits: awaitsDescribe, hidden: true, outcome: &found}
	if err := c.send(ctx, r, encodeFrontend(&wire.Describe{ObjectType: 'P', Name: name})); err != nil {
		return false, err
	}
	if err := c.drain(ctx); err != nil {
		return false, err
	}
	return !found.failed && !c.skips() && found.rows == rows, nil
}

// execute runs a control statement. The session must be settled. The first result is the statement's error, the second the end of
// the session.
func (c *session) execute(ctx context.Context, p *sqlapi.Prepared) (*sqlapi.Error, error) {
	c.info.InBlock = c.block() == 'T'
	form := sqlapi.FormOf(p.Statement)
	if c.info.InBlock && form.Changes {
		return sqlapi.Errorf(sqlapi.CodeInTransaction, "%s cannot run inside a transaction block", form.Tag), nil
	}
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if limit := c.server.cfg.ControlTimeout; limit > 0 {
		var stop context.CancelFunc
		runCtx, stop = context.WithTimeoutCause(runCtx, limit, errControlTimeout)
		defer stop()
	}
	c.setCancel(cancel)
	defer c.setCancel(nil)
	err := c.watched(func() error { return c.server.control.Run(runCtx, c.info, p) })
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil && runCtx.Err() != nil:
		return sqlapi.AsError(context.Cause(runCtx)), nil
	case err != nil:
		e := sqlapi.AsError(err)
		if e.Code == sqlapi.CodeInternal {
			c.log.Error("control statement met an internal error", "statement", form.Tag, "error", err)
		}
		return e, nil
	}
	return nil, nil
}

// setCancel says what a cancel request is to do.
func (c *session) setCancel(cancel context.CancelCauseFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel, c.since = cancel, time.Now()
}
