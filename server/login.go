package server

import (
	"context"
	"errors"
	"net"

	"github.com/jackc/pgproto3/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"pgsyncd/sqlapi"
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
		s.release()
		closeCatalog(c.backend)
		return nil, context.Cause(ctx)
	}
	if e, ok := errors.AsType[*sqlapi.Error](err); ok {
		refuse(st.conn, "", e)
	}
	return c, err
}

// open authenticates the client and gives it a session.
func (s *Server) open(ctx context.Context, st *startup) (c *session, err error) {
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
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if _, err := st.conn.Write(encode(nil, &pgproto3.AuthenticationOk{})); err != nil {
		return nil, err
	}
	backend, err := s.backend.Open(ctx, privilege, params)
	if err != nil {
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == sqlapi.CodeInvalidValue {
			return nil, sqlapi.AsError(pg) // a parameter's value the client chose
		}
		s.log.Error("session could not be opened in the catalog database", "error", err)
		return nil, sqlapi.Errorf(codeCannotConnect, "the catalog database is not available now")
	}
	id, pid, key := s.newIdentity()
	info := &sqlapi.Session{ID: id, User: st.params["user"], Privilege: privilege, LocalSocket: st.local}
	if !st.local {
		info.RemoteAddr = st.conn.RemoteAddr().String()
	}
	c = newSession(s, info, st.conn, backend)
	c.pid, c.key = pid, key
	s.remember(c) // before the client learns its key
	if _, err := st.conn.Write(greeting(c)); err != nil {
		closeCatalog(backend)
		return nil, err
	}
	return c, nil
}

// closeCatalog ends a backend connection that no session uses.
func closeCatalog(backend *pgconn.HijackedConn) { _ = backend.Conn.Close() }
