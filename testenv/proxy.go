package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Direction of bytes through a Proxy.
type Direction int

// ToTarget is from client to server, ToClient the way back; Both is for Stall.
const (
	ToTarget Direction = iota
	ToClient
	Both
)

// String names the direction.
func (d Direction) String() string {
	return [...]string{"to target", "to client", "both"}[d]
}

// Match judges a frame of the PostgreSQL protocol (version 3, without TLS): its type, 0 for the untyped packets that open a
// connection, and its body without the length, cut after 64 KiB. It must neither keep body nor
// call the proxy.
type Match func(dir Direction, msgType byte, body []byte) bool

// Proxy forwards TCP connections to a target and does to them what networks do. The methods take effect on all
// connections, present and future, unless they say otherwise, and may be called concurrently.
type Proxy struct {
	port   *port
	listen func() error // opens the listener and serves it
	close  context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	target   string
	listener net.Listener // nil while refusing
	links    map[*link]struct{}
	stalled  [2]bool
	changed  chan struct{} // closed and renewed when stalled changes
	delay    time.Duration
	rate     int
	rules    []*rule
	closed   bool
}

// action is what a rule does about the frame it matched.
type action int

const (
	cutAfter action = iota
	cutBefore
	stallAfter
)

// rule acts once.
type rule struct {
	match  Match
	action action
	fired  chan struct{}
}

// NewProxy listens on a free port of 127.0.0.1 and forwards to target (host:port). ctx bounds only the call.
func NewProxy(ctx context.Context, target string) (*Proxy, error) {
	reserved, err := reservePort(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &Proxy{
		port: reserved, close: cancel, target: target,
		links: map[*link]struct{}{}, changed: make(chan struct{}),
	}
	p.listen = func() error {
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(reserved.number)))
		if err != nil {
			return fmt.Errorf("proxy: %w", err)
		}
		p.listener = listener
		p.done.Go(func() { p.accept(ctx, listener) })
		return nil
	}
	if err := p.listen(); err != nil {
		cancel()
		reserved.Close()
		return nil, err
	}
	return p, nil
}

// StartProxy makes a proxy that is closed when the test ends.
func StartProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := NewProxy(tb.Context(), target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("close proxy: %v", err)
		}
	})
	return p
}

// Addr is where the proxy listens. It never changes.
func (p *Proxy) Addr() (host string, port int) { return "127.0.0.1", p.port.number }

// SetTarget makes new connections go elsewhere.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Connections is the number of connections that are open now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Cut closes all present connections on both sides.
func (p *Proxy) Cut() { p.cut(false) }

// Reset is Cut with a TCP reset, which discards what was on its way.
func (p *Proxy) Reset() { p.cut(true) }

func (p *Proxy) cut(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut(reset)
	}
}

// Refuse makes new connections be refused by the kernel, as if nobody listened, or ends that. It fails when the port
// cannot be listened on again.
func (p *Proxy) Refuse(refuse bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || refuse == (p.listener == nil):
		return nil
	case !refuse:
		return p.listen()
	}
	err := p.listener.Close()
	p.listener = nil
	return err
}

// Stall stops forwarding in the given direction. Connections stay open, and new ones are accepted.
func (p *Proxy) Stall(dir Direction) { p.setStalled(dir, true) }

// Resume ends all stalls.
func (p *Proxy) Resume() { p.setStalled(Both, false) }

func (p *Proxy) setStalled(dir Direction, stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := range p.stalled {
		if dir == Both || int(dir) == d {
			p.stalled[d] = stalled
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Delay adds a latency to each direction; the throughput stays.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Throttle limits each direction of each connection; 0 ends that.
func (p *Proxy) Throttle(bytesPerSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytesPerSecond
}

// CutAfter forwards the first frame for which match is true, to its last byte, and then cuts all connections, before anything
// comes back. The channel is closed when that was done. match may be called from several goroutines, one call at a time.
func (p *Proxy) CutAfter(match Match) <-chan struct{} { return p.addRule(cutAfter, match) }

// CutBefore cuts all connections in place of forwarding the first frame for which match is true.
func (p *Proxy) CutBefore(match Match) <-chan struct{} { return p.addRule(cutBefore, match) }

// StallAfter forwards the first frame for which match is true and then stalls both directions.
func (p *Proxy) StallAfter(match Match) <-chan struct{} { return p.addRule(stallAfter, match) }

func (p *Proxy) addRule(a action, match Match) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &rule{match: match, action: a, fired: make(chan struct{})}
	p.rules = append(p.rules, r)
	return r.fired
}

// ClearRules forgets the rules that have not acted yet.
func (p *Proxy) ClearRules() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// judge takes the first rule that matches the frame; nil if none does.
func (p *Proxy) judge(dir Direction, f piece) *rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.rules {
		if r.match(dir, f.kind, f.body) {
			p.rules = append(p.rules[:i:i], p.rules[i+1:]...)
			return r
		}
	}
	return nil
}

// Close cuts everything and returns when no goroutine is left.
func (p *Proxy) Close() error {
	p.mu.Lock()
	var err error
	if p.listener != nil {
		err = p.listener.Close()
		p.listener = nil
	}
	p.closed = true
	p.close()
	for l := range p.links {
		l.cut(false)
	}
	p.mu.Unlock()
	p.done.Wait()
	p.port.Close()
	return err
}

// accept serves listener until it is closed.
func (p *Proxy) accept(ctx context.Context, listener net.Listener) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // that client is gone already
		}
		p.done.Go(func() { p.serve(ctx, client.(*net.TCPConn)) })
	}
}

// serve forwards one connection until it ends. A target that does not answer looks to the client like a connection that is
// closed at once.
func (p *Proxy) serve(ctx context.Context, client *net.TCPConn) {
	p.mu.Lock()
	address := p.target
	p.mu.Unlock()
	var dialer net.Dialer
	target, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		_ = client.Close()
		return
	}
	l := newLink(p, client, target.(*net.TCPConn))
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		l.cut(false)
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}
