package testenv

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection through a Proxy. Each direction has a reader and a writer with a queue between them, so that a
// delay adds latency without limiting the throughput.
type link struct {
	proxy *Proxy
	ends  [2]*net.TCPConn // where the bytes of each Direction go
	gone  chan struct{}   // closed by cut
	once  sync.Once
	// Bytes to a silent end are thrown away: what is about to be forwarded the other way is the last.
	silent [2]atomic.Bool

	mu       sync.Mutex
	requests int  // SSL and GSS requests that the server has not answered
	secret   bool // the server agreed to encryption
}

// chunk is what one read returned.
type chunk struct {
	bytes []byte
	read  time.Time
}

func newLink(p *Proxy, client, target *net.TCPConn) *link {
	return &link{proxy: p, ends: [2]*net.TCPConn{target, client}, gone: make(chan struct{})}
}

// run returns when both directions have ended.
func (l *link) run() {
	var wg sync.WaitGroup
	for _, dir := range []Direction{ToTarget, ToClient} {
		queue := make(chan chunk, 64)
		wg.Go(func() { l.read(dir, queue) })
		wg.Go(func() { l.forward(dir, queue) })
	}
	wg.Wait()
}

// cut closes both ends. Without reset what was written before still arrives.
func (l *link) cut(reset bool) {
	l.once.Do(func() {
		close(l.gone)
		for _, conn := range l.ends {
			if reset {
				_ = conn.SetLinger(0)
			} else {
				_ = conn.CloseWrite()
			}
			_ = conn.Close()
		}
	})
}

// read fills the queue with what the direction's source sends.
func (l *link) read(dir Direction, queue chan<- chunk) {
	defer close(queue)
	source := l.ends[1-dir]
	for {
		buf := make([]byte, 32<<10)
		n, err := source.Read(buf)
		if n > 0 {
			select {
			case queue <- chunk{buf[:n], time.Now()}:
			case <-l.gone:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// forward writes what the queue brings. When that has ended, or cannot be written, the link ends.
func (l *link) forward(dir Direction, queue <-chan chunk) {
	var frames framer
	if dir == ToClient {
		frames.phase = typed
	}
	var pending *rule // acts when the current frame has been forwarded
	for c := range queue {
		if !l.wait(c.read) || !l.forwardChunk(dir, &frames, &pending, c.bytes) {
			break
		}
	}
	l.gate(dir) // a stall holds the end back as well
	l.cut(false)
}

// forwardChunk returns false when the link is at its end.
func (l *link) forwardChunk(dir Direction, frames *framer, pending **rule, data []byte) bool {
	for len(data) > 0 {
		var ok bool
		if l.answering(dir, frames, data[0]) {
			ok = l.write(dir, data[:1])
			data = data[1:]
		} else {
			var p piece
			var whole bool
			p, data, whole = frames.next(data)
			if !whole {
				return true
			}
			ok = l.forwardPiece(dir, frames, pending, p)
		}
		if !ok {
			return false
		}
	}
	return true
}

// forwardPiece writes one piece and does what a rule wants done about its frame.
func (l *link) forwardPiece(dir Direction, frames *framer, pending **rule, p piece) bool {
	if p.first {
		*pending = l.proxy.judge(dir, p)
		if r := *pending; r != nil && r.action == cutBefore {
			l.proxy.Cut()
			close(r.fired)
			return false
		}
		l.opening(frames, p)
	}
	r := *pending
	if r != nil && p.last && r.action == cutAfter {
		l.silent[1-dir].Store(true) // no answer overtakes the cut
	}
	if !l.write(dir, p.bytes) {
		return false
	}
	if r == nil || !p.last {
		return true
	}
	*pending = nil
	if r.action == stallAfter {
		l.proxy.Stall(Both)
		close(r.fired)
		return true
	}
	l.proxy.Cut()
	close(r.fired)
	return false
}

// opening follows the client through the untyped packets at the start of a connection.
func (l *link) opening(frames *framer, p piece) {
	if frames.phase != startup || p.kind != 0 {
		return
	}
	switch p.code() {
	case sslRequest, gssRequest:
		l.mu.Lock()
		l.requests++
		l.mu.Unlock()
	case cancelRequest:
	default:
		frames.phase = typed
	}
}

// answering reports whether b is the server's one-byte answer to a request for encryption, and takes note of it. From a
// consent on, both directions are opaque. An ErrorResponse, the answer of servers that know no such request, is a frame.
func (l *link) answering(dir Direction, frames *framer, b byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.secret {
		frames.phase = opaque
		return false
	}
	if dir != ToClient || l.requests == 0 || b == 'E' {
		return false
	}
	l.requests--
	l.secret = b != 'N'
	return true
}

// write forwards bytes once the direction is not stalled, at the proxy's rate.
func (l *link) write(dir Direction, data []byte) bool {
	for len(data) > 0 {
		if !l.gate(dir) {
			return false
		}
		if l.silent[dir].Load() {
			return true
		}
		l.proxy.mu.Lock()
		rate := l.proxy.rate
		l.proxy.mu.Unlock()
		n := len(data)
		if rate > 0 {
			n = min(n, max(rate/50, 1)) // a fiftieth of a second's worth at a time
		}
		if _, err := l.ends[dir].Write(data[:n]); err != nil {
			return false
		}
		data = data[n:]
		if rate > 0 && !l.pause(time.Duration(n)*time.Second/time.Duration(rate)) {
			return false
		}
	}
	return true
}

// gate waits while the direction is stalled.
func (l *link) gate(dir Direction) bool {
	for {
		l.proxy.mu.Lock()
		stalled, changed := l.proxy.stalled[dir], l.proxy.changed
		l.proxy.mu.Unlock()
		if !stalled {
			return true
		}
		select {
		case <-changed:
		case <-l.gone:
			return false
		}
	}
}

// wait lets the proxy's delay pass since the bytes were read.
func (l *link) wait(read time.Time) bool {
	l.proxy.mu.Lock()
	delay := l.proxy.delay
	l.proxy.mu.Unlock()
	return delay <= 0 || l.pause(time.Until(read.Add(delay)))
}

func (l *link) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.gone:
		return false
	}
}
