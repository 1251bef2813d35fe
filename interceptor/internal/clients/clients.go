// Package clients bounds how many are connected to a listener at the same time, and
// counts them.
package clients

import (
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/net/netutil"
)

// Counts are those of some listeners. The zero value is ready; any goroutine may use it.
type Counts struct {
	connected atomic.Int64
	full      atomic.Uint64
}

// Stats is a copy of Counts.
type Stats struct {
	Connected int    // now
	Full      uint64 // times that a listener had as many as it may
}

// Stats returns the counts of this moment.
func (c *Counts) Stats() Stats {
	return Stats{Connected: int(c.connected.Load()), Full: c.full.Load()}
}

// Limit returns l with at most that many connections at the same time. More wait in the
// kernel until others have ended.
func (c *Counts) Limit(l net.Listener, most int) net.Listener {
	return &listener{Listener: netutil.LimitListener(l, most), counts: c, most: int64(most)}
}

type listener struct {
	net.Listener
	counts    *Counts
	most      int64
	connected atomic.Int64 // here
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.counts.connected.Add(1)
	if l.connected.Add(1) == l.most {
		l.counts.full.Add(1)
	}
	return &connection{Conn: conn, of: l}, nil
}

type connection struct {
	net.Conn
	of     *listener
	closed sync.Once
}

// Close implements net.Conn. The count goes down before another is let in.
func (c *connection) Close() error {
	c.closed.Do(func() {
		c.of.connected.Add(-1)
		c.of.counts.connected.Add(-1)
	})
	return c.Conn.Close()
}
