package server

import (
	"context"
	"errors"
	"net"

	"pgsyncd/sqlapi"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5/pgconn"
)

// login takes a connection to the point where it is a session that is ready for its first query. A client that can be told what is
// wrong is told; the caller closes the connection.
func (s *Server) login(ctx context.Context, conn net.Conn) (*session, error) {
	cancel := context.CancelFunc(func() {})
	if s.cfg.LoginTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, s.cfg.LoginTimeout)
	}
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	st, err := s.negotiate(ctx, conn)
	var c *session
	if err == nil {
		c, err = s.open(ctx, st)
	}
	if !stop() && err == nil {
		// The deadline is set, or is about to be, on a connection that would otherwise be served.
		s.discard(c)
		return nil, context.Cause(ctx)
	}
	if e, ok := errors.AsType[*sqlapi.Error](err); ok {
		refuse(st.conn, "", e)
	}
	return c, err
}

// open authenticates the client and gives it a session.
func (s *Server) open(ctx context.Context, st *startup) (*session, error) {
	privilege, err := s.authenticate(ctx, st)
	if err != nil {
		return nil, err
	}
	params, err := sessionParams(st.params)
	if err != nil {
		return nil, err
	}
	if err := s.admit(st.local); err != nil {
		return nil, err
	}
	backend, err := s.openCatalog(ctx, st, privilege, params)
	if err != nil {
		s.release()
		return nil, err
	}
	id, pid, key := s.newIdentity()
	info := &sqlapi.Session{ID: id, User: st.params["user"], Privilege: privilege, LocalSocket: st.local}
	if !st.local {
		info.RemoteAddr = st.conn.RemoteAddr().String()
	}
	c := newSession(s, info, st.conn, backend)
	c.pid, c.key = pid, key
	s.remember(c) // before the client learns its key
	if _, err := st.conn.Write(greeting(c)); err != nil {
		s.discard(c)
		return nil, err
	}
	return c, nil
}

// openCatalog tells the client that it is authenticated and opens its backend connection.
func (s *Server) openCatalog(
	ctx context.Context, st *startup, privilege sqlapi.Privilege, params map[string]string,
) (*pgconn.HijackedConn, error) {
	if _, err := st.conn.Write(encode(nil, &pgproto3.AuthenticationOk{})); err != nil {
		return nil, err
	}
	backend, err := s.backend.Open(ctx, privilege, params)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == sqlapi.CodeInvalidValue {
		return nil, sqlapi.AsError(pg) // a parameter's value the client chose
	}
	if e, ok := errors.AsType[*sqlapi.Error](err); ok {
		return nil, e
	}
	if err != nil {
		s.log.Error("session could not be opened in the catalog database", "error", err)
		return nil, sqlapi.Errorf(codeCannotConnect, "the catalog database is not available now")
	}
	return backend, nil
}

// discard ends a session that has not begun.
func (s *Server) discard(c *session) {
	s.forget(c)
	_ = c.backend.Conn.Close()
}
