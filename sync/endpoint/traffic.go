package endpoint

import (
	"context"
	"net"
	"sync/atomic"
)

// Traffic counts the bytes that connections receive and send, those of TLS and of logging in included. It is safe for concurrent
// use.
type Traffic struct {
	in, out atomic.Int64
}

// Bytes returns what was received from and sent to servers so far.
func (t *Traffic) Bytes() (in, out int64) { return t.in.Load(), t.out.Load() }

// Metered returns the same endpoint; what its connections receive and send is counted by t.
func (e Endpoint) Metered(t *Traffic) *Endpoint {
	s := *e.settings
	s.traffic = t
	return &Endpoint{settings: &s}
}

// dial is the dialer's DialContext with what is needed to count.
func (s *settings) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.dialer().DialContext(ctx, network, address)
	if err != nil || s.traffic == nil {
		return conn, err
	}
	return &meteredConn{conn, s.traffic}, nil
}

// meteredConn counts what goes through a connection.
type meteredConn struct {
	net.Conn
	traffic *Traffic
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.traffic.in.Add(int64(n))
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.traffic.out.Add(int64(n))
	return n, err
}
