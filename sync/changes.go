package sync

import (
	"sync"
	"time"
)

// changes tells whoever waits that something changed.
type changes struct {
	mu   sync.Mutex
	next chan struct{}
	last time.Time
}

// wait returns a channel that is closed at the next change.
func (c *changes) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

// since returns the time of the last change.
func (c *changes) since() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *changes) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}
