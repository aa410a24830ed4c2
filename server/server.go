package server

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"pgsyncd/sqlapi"

	"golang.org/x/sync/errgroup"
)

// acceptPause is how long a listener rests when accept fails, for instance for want of file descriptors.
const acceptPause = 100 * time.Millisecond

// cancelGrace is how long the database has to cancel an overdue statement before its session ends.
const cancelGrace = 30 * time.Second

// Server accepts clients and relays between them and the catalog.
type Server struct {
	cfg       Config
	control   Control
	backend   Backend
	log       *slog.Logger
	listeners []net.Listener
	pending   chan struct{} // holds one element per connection that has not logged in

	mu       sync.Mutex
	lastID   uint64
	admitted int                 // sessions, those still opening their backend included
	sessions map[uint32]*session // by the process id the client was told
}

// New checks the configuration and opens the listeners. Clients are served, and the listeners closed, by Run.
func New(cfg Config, control Control, backend Backend) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if len(cfg.MockSecret) == 0 {
		cfg.MockSecret = make([]byte, 32)
		_, _ = rand.Read(cfg.MockSecret) // never fails
	}
	s := &Server{
		cfg: cfg, control: control, backend: backend, log: cfg.Logger,
		pending: make(chan struct{}, cfg.MaxPending), sessions: map[uint32]*session{},
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.closeListeners())
	}
	return s, nil
}

// Addrs returns the addresses the server listens at, TCP first and in the order of Config.Listen.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, l := range s.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Run serves clients until ctx ends, then ends every session with 57P01, waits for them, and returns nil. Sessions that are
// executing something have it canceled first.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		<-ctx.Done()
		return s.closeListeners()
	})
	for _, l := range s.listeners {
		g.Go(func() error { return s.accept(ctx, g, l) })
	}
	g.Go(func() error { return s.watchLimits(ctx, g) })
	return g.Wait()
}

func (s *Server) accept(ctx context.Context, g *errgroup.Group, l net.Listener) error {
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				err = conn.Close()
			}
			s.log.Debug("listener closed", "address", l.Addr().String(), "error", err)
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept at %s: %w", l.Addr(), err)
		case err != nil:
			s.log.Error("accept did not work", "address", l.Addr().String(), "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		select {
		case s.pending <- struct{}{}:
			g.Go(func() error { s.serve(ctx, conn); return nil })
		default:
			s.log.Warn("too many connections have not logged in yet", "remote", conn.RemoteAddr().String())
			_ = conn.Close()
		}
	}
}

// serve sees one connection through from login to its end.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	loggedIn := sync.OnceFunc(func() { <-s.pending })
	defer loggedIn()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("login panicked", "remote", conn.RemoteAddr().String(), "panic", p, "stack", string(debug.Stack()))
			_ = conn.Close()
		}
	}()
	c, err := s.login(ctx, conn)
	if err != nil {
		s.log.Debug("connection ended before login", "remote", conn.RemoteAddr().String(), "error", err)
		_ = conn.Close()
		return
	}
	loggedIn()
	defer s.forget(c)
	c.run(ctx)
}

// admit reserves a place for a session; the local socket may use the last ones.
func (s *Server) admit(local bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.cfg.MaxSessions
	if !local {
		limit = max(limit-s.cfg.ReservedSessions, 1)
	}
	if s.admitted >= limit {
		return sqlapi.Errorf(codeTooManySessions, "sorry, too many clients already")
	}
	s.admitted++
	return nil
}

// release gives the place back.
func (s *Server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted--
}

// newIdentity returns the next session's number and the key for its cancel requests.
func (s *Server) newIdentity() (id uint64, pid, key uint32) {
	var secret [4]byte
	_, _ = rand.Read(secret[:]) // never fails
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return s.lastID, uint32(s.lastID), binary.BigEndian.Uint32(secret[:])
}

func (s *Server) remember(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[c.pid] = c
}

func (s *Server) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c.pid)
	s.admitted--
}
