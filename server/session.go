package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgx/v5/pgconn"
	wire "github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sync/errgroup"
)

// What a session ends with. Each is the cause of its context.
var (
	errClosed     = errors.New("client closed the connection")
	errShutdown   = sqlapi.Errorf(codeShutdown, "terminating connection due to administrator command")
	errNoCatalog  = sqlapi.Errorf(codeShutdown, "terminating connection because the catalog database ended it")
	errInternal   = sqlapi.Errorf(sqlapi.CodeInternal, "internal error; the session has been ended")
	errIdle       = sqlapi.Errorf(codeIdleInBlock, "terminating connection due to idle-in-transaction timeout")
	errAge        = sqlapi.Errorf(codeShutdown, "terminating connection because it reached the maximum session age")
	errNotReading = sqlapi.Errorf(sqlapi.CodeCancelled, "terminating connection because its statement could not be canceled")
)

// goodbyeTimeout is for a canceled statement to end and for a client to take the last message.
const goodbyeTimeout = 2 * time.Second

// session is one client that has logged in, and its connection to the catalog.
//
// Two goroutines: run's own receives from the client, relay receives from the backend. The session's context ends both; interrupt
// then wakes them from whatever they are blocked in.
type session struct {
	server  *Server
	log     *slog.Logger
	info    *sqlapi.Session
	pid     uint32 // what the client knows the session by
	key     uint32
	started time.Time
	client  net.Conn
	backend *pgconn.HijackedConn

	// Only the receiving goroutine's.
	frames *frameReader
	up     []byte // frames to the backend, not yet written

	out  sync.Mutex // held while whole frames are written to the client
	torn bool       // guarded by out: the client has got a part of a frame

	mu      sync.Mutex
	changed *sync.Cond // replies have been answered and passed on, or the session ends
	replies replies
	passing bool                    // the last replies are not with the client yet
	ended   bool                    // nothing more comes from the backend
	since   time.Time               // when replies last changed
	cancel  context.CancelCauseFunc // ends the control statement that is executing; nil when there is none
	end     context.CancelCauseFunc // ends the session
}

func newSession(s *Server, info *sqlapi.Session, client net.Conn, backend *pgconn.HijackedConn) *session {
	client, backend.Conn = asSocket(client), asSocket(backend.Conn)
	c := &session{
		server: s, info: info, client: client, backend: backend, frames: newFrameReader(client),
		replies: newReplies(), started: time.Now(), since: time.Now(),
		log: s.log.With("session", info.ID, "user", info.User, "remote", info.RemoteAddr),
	}
	c.changed = sync.NewCond(&c.mu)
	info.Notice = c.notice
	for name, value := range backend.ParameterStatuses {
		c.replies.setParameter(name, value)
	}
	return c
}

// run serves the client until it leaves, its connection or the backend's breaks, a limit is passed, or ctx ends.
func (c *session) run(ctx context.Context) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c.mu.Lock()
	c.end = end
	c.mu.Unlock()
	interrupted := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(interrupted)
		c.interrupt()
	})

	var relay errgroup.Group
	relay.Go(func() error {
		end(c.guard(func() error { return c.relay() }))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended = true
		c.changed.Broadcast()
		return nil
	})
	end(c.guard(func() error { return c.receive(ctx) }))
	<-interrupted // and does not touch deadlines any more
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) { // only the server's own context ends without a reason
		cause = errShutdown
	}
	c.closeBackend(context.WithoutCancel(ctx), cause)
	_ = relay.Wait() // its error is the cause of ctx already
	c.farewell(cause)
	if err := c.guard(func() error { c.server.control.Release(c.info); return nil }); err != nil {
		c.log.Error("release of a session did not end well", "error", err)
	}
	c.log.Debug("session ended", "reason", cause)
}

// guard turns a panic into the end of this session alone.
func (c *session) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("session panicked", "panic", p, "stack", string(debug.Stack()))
			err = errInternal
		}
	}()
	return f()
}

// interrupt wakes both goroutines when the session's context has ended.
func (c *session) interrupt() {
	_ = c.client.SetReadDeadline(longAgo)
	_ = c.client.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	_ = c.backend.Conn.SetWriteDeadline(longAgo)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

// closeBackend cancels what the backend is still executing, lets its last messages pass, and ends its session.
func (c *session) closeBackend(ctx context.Context, cause error) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	c.mu.Lock()
	busy := len(c.replies.queue) > 0 && !c.ended
	c.mu.Unlock()
	_ = c.backend.Conn.SetDeadline(time.Now().Add(goodbyeTimeout))
	if busy {
		c.cancelBackend(ctx)
	}
	if busy && !errors.Is(cause, errClosed) && len(c.up) == 0 { // what was not sent is not answered
		_ = c.settled(ctx) // the client then gets less than it could
	}
	_, _ = c.backend.Conn.Write(encodeFrontend(&wire.Terminate{})) // closing says the same, less politely
	_ = c.backend.Conn.Close()
}

// farewell tells the client why, unless it knows or cannot be told, and closes its connection. Nobody else writes any more.
func (c *session) farewell(cause error) {
	e, ok := errors.AsType[*sqlapi.Error](cause)
	if ok && !c.torn && !c.replies.endedByBackend {
		refuse(c.client, c.replies.charset, e)
	}
	_ = c.client.Close()
}

// refuse sends a FATAL error. A client that broke the protocol may be in the middle of sending: what still comes is
// discarded for a while, because closing a connection with unread input could take the message from the client.
func refuse(conn net.Conn, set charset, e *sqlapi.Error) {
	_ = conn.SetDeadline(time.Now().Add(goodbyeTimeout))
	if _, err := conn.Write(set.errorFrame(severityFatal, e)); err != nil || e.Code != codeProtocol {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// busy tells whether the backend owes replies.
func (c *session) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.replies.queue) > 0
}

// cancelBackend asks the database to cancel the statement it is executing for this session.
func (c *session) cancelBackend(ctx context.Context) {
	if err := c.server.backend.Cancel(ctx, c.backend); err != nil {
		c.log.Warn("statement could not be canceled", "error", err)
	}
}

// cancelStatement does what a cancel request asks for.
func (c *session) cancelStatement(ctx context.Context) {
	c.mu.Lock()
	cancel, busy := c.cancel, len(c.replies.queue) > 0
	c.mu.Unlock()
	switch {
	case cancel != nil:
		cancel(errCanceled)
	case busy:
		c.cancelBackend(ctx)
	}
}

// settled waits until the backend owes nothing and everything it sent has been passed on.
func (c *session) settled(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.replies.queue) > 0 || c.passing {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case c.ended:
			return errNoCatalog
		}
		c.changed.Wait()
	}
	return nil
}

// say writes whole frames of our own to the client. Replies of the backend must be settled, unless they may come in between.
func (c *session) say(frames []byte) error {
	c.out.Lock()
	defer c.out.Unlock()
	return c.write(frames)
}

// write sends bytes to the client; c.out is held.
func (c *session) write(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	n, err := c.client.Write(data)
	if err != nil {
		c.torn = c.torn || n > 0
		return fmt.Errorf("%w: %w", errClosed, err)
	}
	return nil
}

// notice sends a control statement's notice.
func (c *session) notice(n sqlapi.Notice) {
	c.mu.Lock()
	set := c.replies.charset
	c.mu.Unlock()
	_ = c.say(set.noticeFrame(n)) // a client that is gone is noticed by the reader
}
