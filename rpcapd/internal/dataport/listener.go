//go:build linux

package dataport

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Listener waits for the data connection of one capture.
type Listener struct {
	// immutable
	port    *Port
	local   *local
	peer    netip.Addr
	timeout time.Duration
	turn    chan struct{} // closed when it is this one's turn
	settled chan struct{} // closed when there is nothing to wait for any more
	closed  chan struct{} // closed by Close

	// guarded by the port's mutex
	timer     *time.Timer // ends the wait; nil before the turn
	announced bool        // the client knows that it shall connect
	abandoned bool        // nobody wants the connection any more
	expired   bool        // the wait has ended without one
	done      bool        // settled is closed
	conn      net.Conn    // what came; nil after Accept
}

// arm opens the port for c, whose turn it is.
func (c *Listener) arm() error {
	c.port.mu.Lock()
	defer c.port.mu.Unlock()
	if c.done {
		return net.ErrClosed
	}
	if err := c.local.open(); err != nil {
		return err
	}
	c.timer = time.AfterFunc(c.timeout, func() {
		c.port.mu.Lock()
		defer c.port.mu.Unlock()
		c.expired = !c.done
		c.settle(nil)
	})
	return nil
}

// settle ends the wait, with the connection that came or without one, and
// passes the turn on.
func (c *Listener) settle(conn net.Conn) {
	if c.done {
		return
	}
	c.done, c.conn = true, conn
	close(c.settled)
	if c.timer != nil {
		c.timer.Stop()
	}
	delete(c.local.waiting, c.peer)
	c.port.owed.Done()
	if !c.port.isClosed() {
		c.local.next(c.peer)
	}
	c.local.settle()
}

// withdraw takes c out of the queue, or gives its turn back.
func (c *Listener) withdraw() {
	if c.local.waiting[c.peer] == c {
		c.settle(nil)
		return
	}
	queue := slices.DeleteFunc(c.local.queue[c.peer], func(q *Listener) bool { return q == c })
	if c.local.queue[c.peer] = queue; len(queue) == 0 {
		delete(c.local.queue, c.peer)
	}
}

// release says that c needs the local address no more.
func (c *Listener) release() {
	c.local.uses--
	c.local.settle()
}

// Port returns the number. From then on the client is expected to connect, and
// what has come before is not its connection.
func (c *Listener) Port() uint16 {
	c.port.mu.Lock()
	defer c.port.mu.Unlock()
	if c.local.backlog != nil {
		c.local.deliver(c.local.backlog.all())
	}
	c.announced = true
	return c.port.cfg.Number
}

// Accept waits for the connection. Without one it fails with
// os.ErrDeadlineExceeded when the time is over, and with net.ErrClosed after
// Close.
func (c *Listener) Accept() (net.Conn, error) {
	select {
	case <-c.settled:
	case <-c.closed:
	}
	c.port.mu.Lock()
	defer c.port.mu.Unlock()
	conn := c.conn
	c.conn = nil
	switch {
	case conn != nil:
		return conn, nil
	case c.expired:
		return nil, os.ErrDeadlineExceeded
	}
	return nil, net.ErrClosed
}

// Close stops waiting. If the client has been told to connect, its connection
// stays owed until it comes or the time is over.
func (c *Listener) Close() {
	c.port.mu.Lock()
	defer c.port.mu.Unlock()
	if c.abandoned {
		return
	}
	c.abandoned = true
	close(c.closed)
	if !c.announced {
		c.settle(nil)
	}
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// Release says that the accepted connection, if any, is closed.
func (c *Listener) Release() {
	c.port.mu.Lock()
	defer c.port.mu.Unlock()
	c.release()
}
