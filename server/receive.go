package server

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"pgsyncd/sqlapi"

	wire "github.com/jackc/pgx/v5/pgproto3"
)

const (
	upBuffer       = 32 << 10
	maxOutstanding = 4096 // replies the backend may owe before the client has to wait
)

// receive handles the client's frames one after the other until it leaves or the session ends.
func (c *session) receive(ctx context.Context) error {
	for {
		if !c.frames.ready() {
			if err := c.flush(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		frame, err := c.frames.next()
		if err != nil {
			if e, ok := errors.AsType[*sqlapi.Error](err); ok {
				return c.leave(ctx, e)
			}
			return errClosed
		}
		if err := c.handle(ctx, frame); err != nil {
			return err
		}
	}
}

// handle does what one frame asks for. Names are read by hand, so that a message the backend will refuse need not be understood
// here; its text is forwarded as it came.
func (c *session) handle(ctx context.Context, frame []byte) error {
	body := frame[headerSize:]
	switch frame[0] {
	case 'Q':
		return c.handleQuery(ctx, frame)
	case 'P':
		return c.handleParse(ctx, frame)
	case 'B':
		return c.handleBind(ctx, frame)
	case 'E':
		return c.handleExecute(ctx, frame)
	case 'D':
		return c.send(ctx, reply{awaits: awaitsDescribe}, frame)
	case 'C':
		r := reply{awaits: awaitsClosePortal}
		if len(body) > 0 && body[0] == 'S' {
			r.awaits = awaitsCloseStatement
		}
		if len(body) > 0 {
			r.name, _ = cut(body[1:])
		}
		return c.send(ctx, r, frame)
	case 'S':
		return c.send(ctx, reply{awaits: awaitsSync}, frame)
	case 'H', 'd', 'c', 'f': // Flush; copy data outside of COPY FROM STDIN, which the backend ignores
		return c.forward(frame)
	case 'F':
		return c.rejectQuery(ctx, sqlapi.Errorf(sqlapi.CodeUnsupported, "the function call protocol is not supported").
			WithHint("Call the function in a SELECT."))
	case 'X':
		return c.leave(ctx, errClosed)
	}
	return c.leave(ctx, protocolError("invalid frontend message type %d", frame[0]))
}

// cut returns the string that body begins with, and the rest.
func cut(body []byte) (string, []byte) {
	name, rest, _ := bytes.Cut(body, []byte{0})
	return string(name), rest
}

// leave ends the session for a reason that lies in the client's stream. As with PostgreSQL, what was sent before is done first.
func (c *session) leave(ctx context.Context, reason error) error {
	if err := c.drain(ctx); err != nil {
		return err
	}
	return reason
}

// send forwards a message and notes the reply it will have.
func (c *session) send(ctx context.Context, r reply, frame []byte) error {
	for !c.expect(r) {
		if err := c.drain(ctx); err != nil {
			return err
		}
	}
	return c.forward(frame)
}

// expect notes a reply, unless too many are outstanding.
func (c *session) expect(r reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := len(c.replies.queue); {
	case n >= maxOutstanding:
		return false
	case n == 0:
		c.since = time.Now()
	}
	c.replies.push(r)
	return true
}

// forward queues a frame for the backend. It is written when the client's input is used up or the queue is full.
func (c *session) forward(frame []byte) error {
	c.up = append(c.up, frame...)
	if len(c.up) < upBuffer {
		return nil
	}
	return c.flush()
}

// flush writes the queued frames.
func (c *session) flush() error {
	if len(c.up) == 0 {
		return nil
	}
	_, err := c.backend.Conn.Write(c.up)
	c.up = c.up[:0]
	if cap(c.up) > 4*upBuffer {
		c.up = nil
	}
	if err != nil {
		return errNoCatalog
	}
	return nil
}

// drain has the backend answer everything it was sent, and waits until that is with the client, unless the client leaves.
func (c *session) drain(ctx context.Context) error {
	if !c.busy() {
		return c.settled(ctx) // at most the client has to take what it was sent
	}
	if err := c.forward(encodeFrontend(&wire.Flush{})); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.watched(func() error { return c.settled(ctx) })
}

// watched does something that takes its time, and ends the session when the client leaves meanwhile.
func (c *session) watched(run func() error) error {
	stop := c.frames.watch(func(error) { c.end(errClosed) })
	defer stop()
	return run()
}

// brokenSQL is what the backend is given where a statement must fail: a syntax error fails in every transaction state, and leaves
// the state, the messages up to the next Sync and the unnamed statement exactly as PostgreSQL does.
const (
	brokenSQL  = "!"
	brokenName = "pgsyncd_failed"
)

// reject fails an extended-protocol message with an error of ours.
func (c *session) reject(ctx context.Context, e *sqlapi.Error) error {
	return c.send(ctx, reply{awaits: awaitsParse, name: brokenName, err: e},
		encodeFrontend(&wire.Parse{Name: brokenName, Query: brokenSQL}))
}

// rejectQuery fails a simple query with an error of ours.
func (c *session) rejectQuery(ctx context.Context, e *sqlapi.Error) error {
	return c.send(ctx, reply{awaits: awaitsQuery, err: e}, encodeFrontend(&wire.Query{String: brokenSQL}))
}

// readable refuses text that the catalog would read differently from our lexer.
func (c *session) readable(text string) *sqlapi.Error {
	c.mu.Lock()
	set, nonconforming := c.replies.charset, c.replies.nonconforming
	c.mu.Unlock()
	switch {
	case nonconforming && strings.Contains(text, `\`):
		return sqlapi.Errorf(sqlapi.CodeUnsupported, "backslashes are not supported while standard_conforming_strings is off").
			WithHint("SET standard_conforming_strings = on, and write escapes as E'…'.")
	case !set.lexable() && !ascii(text):
		return sqlapi.Errorf(sqlapi.CodeUnsupported, "client_encoding %s is not supported", set).
			WithHint("SET client_encoding = 'UTF8'.")
	}
	return nil
}

// controllable refuses the text of a control statement that does not arrive in UTF-8.
func (c *session) controllable(text string) *sqlapi.Error {
	c.mu.Lock()
	set := c.replies.charset
	c.mu.Unlock()
	switch {
	case len(text) > maxControlText:
		return sqlapi.Errorf(codeTooLong, "control statement of %d bytes exceeds the limit of %d bytes", len(text), maxControlText)
	case !set.transparent() && !ascii(text):
		return sqlapi.Errorf(sqlapi.CodeInvalidEncoding, "control statements must be in UTF8, not in client_encoding %s", set).
			WithHint("SET client_encoding = 'UTF8'.")
	case !utf8.ValidString(text):
		return sqlapi.Errorf(sqlapi.CodeInvalidEncoding, `invalid byte sequence for encoding "UTF8"`)
	}
	return nil
}

// ascii tells whether text is the same in every encoding.
func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
