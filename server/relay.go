package server

import (
	"fmt"
	"time"
)

// Sizes in bytes of the buffer between backend and client. A row larger than that is passed on piecewise; no other message of a
// backend comes near the limit.
const (
	relayBuffer   = 32 << 10
	maxReplyFrame = 64 << 20
)

// relay passes the backend's messages on to the client until either connection breaks. It holds no more than one buffer: when
// the client is slow, the backend has to wait.
func (c *session) relay() error {
	buf := make([]byte, relayBuffer)
	n := 0
	for {
		m, readErr := c.backend.Conn.Read(buf[n:])
		n += m
		used, err := c.pass(buf[:n])
		if err != nil {
			return err
		}
		if readErr != nil {
			c.log.Debug("backend connection ended", "error", readErr)
			return errNoCatalog
		}
		copy(buf, buf[used:n])
		n -= used
		switch size := frameSize(buf[:n]); {
		case size > maxReplyFrame:
			return c.derailed(fmt.Errorf("catalog sent a message of %d bytes", size))
		case size > len(buf):
			buf = append(make([]byte, 0, size), buf[:n]...)[:size]
		case n == 0 && len(buf) > relayBuffer:
			buf = make([]byte, relayBuffer)
		}
	}
}

// derailed ends a session whose backend did what it cannot do.
func (c *session) derailed(err error) error {
	c.log.Error("relay lost track of the catalog's messages", "error", err)
	return errInternal
}

// pass takes note of the complete frames in data, passes them on, and returns how many bytes are done with. Of an incomplete row
// it passes on everything at once, together with what is still to be read of it.
func (c *session) pass(data []byte) (int, error) {
	c.out.Lock()
	defer c.out.Unlock()
	written, pos := 0, 0 // data[written:pos] waits to be written
	for {
		size := frameSize(data[pos:])
		if size == 0 {
			break
		}
		if size < headerSize {
			return 0, c.derailed(fmt.Errorf("catalog sent a message of %d bytes", size))
		}
		row := data[pos] == 'D' || data[pos] == 'd'
		if missing := pos + size - len(data); missing > 0 {
			if !row {
				break
			}
			return len(data), c.passRest(data[written:], missing)
		}
		if !row {
			v, err := c.answer(data[pos : pos+size])
			if err != nil {
				return 0, c.derailed(err)
			}
			if v.drop || v.replace != nil {
				if err := c.write(data[written:pos]); err != nil {
					return 0, err
				}
				if err := c.write(v.replace); err != nil {
					return 0, err
				}
				written = pos + size
			}
		}
		pos += size
	}
	if err := c.write(data[written:pos]); err != nil {
		return 0, err
	}
	c.passed()
	return pos, nil
}

// passRest writes what there is of an incomplete row, then what the backend still sends of it. Nothing else may be written to the
// client meanwhile; c.out is held.
func (c *session) passRest(have []byte, missing int) error {
	if err := c.write(have); err != nil {
		return err
	}
	c.torn = true
	buf := make([]byte, min(missing, relayBuffer))
	for missing > 0 {
		n, err := c.backend.Conn.Read(buf[:min(missing, len(buf))])
		if err != nil {
			return errNoCatalog
		}
		if err := c.write(buf[:n]); err != nil {
			return err
		}
		missing -= n
	}
	c.torn = false
	return nil
}

// answer is replies.answer under the lock. From now on until passed, the session is not settled.
func (c *session) answer(frame []byte) (verdict, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passing = true
	popped := c.replies.popped
	v, err := c.replies.answer(frame)
	if c.replies.popped != popped {
		c.since = time.Now()
	}
	return v, err
}

// passed notes that everything answered is with the client.
func (c *session) passed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.passing {
		c.passing = false
		c.changed.Broadcast()
	}
}
