// Package own knows the connections that the interceptor makes itself, so that
// what its sinks send is not reported when a captured interface shows it.
//
// A connection is known by its four-tuple, as the socket has it, which is what
// the interface of the same host shows; and, where it carries HTTP, by a header
// with a number drawn at the start, which address translation doesn't change.
package own

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	capstanv1 "capstan/proto/capstan/v1"
)

// Header is the field, in lower case, that our requests carry.
const Header = "capstan-instance"

// linger is how long a connection is known after its end: as long as what it
// carried may be under way to us.
const linger = 2 * time.Minute

// maxLingering bounds the ended connections known; beyond it all but the open
// ones are forgotten.
const maxLingering = 10_000

// Connections is a set of own connections. Any goroutine may use it.
type Connections struct {
	instance string
	now      func() time.Time
	reported atomic.Int64 // how many there are, to spare the lock while none is

	mu    sync.Mutex
	known map[pair]time.Time // when it is forgotten; zero while it is open
}

// pair is a connection, ours first.
type pair struct{ local, remote netip.AddrPort }

// New returns an empty set.
func New() *Connections {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return &Connections{instance: hex.EncodeToString(b[:]), now: time.Now, known: map[pair]time.Time{}}
}

// Instance is the value of Header.
func (c *Connections) Instance() string { return c.instance }

// DialFunc is net.Dialer.DialContext, or what does as it does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Dialer returns dial, but what it connects is known as ours.
func (c *Connections) Dialer(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return c.add(conn), nil
	}
}

func (c *Connections) add(conn net.Conn) net.Conn {
	local, err1 := netip.ParseAddrPort(conn.LocalAddr().String())
	remote, err2 := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err1 != nil || err2 != nil {
		return conn // no TCP: nothing that a capture shows
	}
	p := pair{plain(local), plain(remote)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
	c.known[p] = time.Time{}
	c.reported.Store(int64(len(c.known)))
	return &ownConn{Conn: conn, end: sync.OnceFunc(func() { c.ended(p) })}
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// forget removes what has ended long ago. c.mu is held.
func (c *Connections) forget() {
	now, all := c.now(), len(c.known) > maxLingering
	for p, until := range c.known {
		if !until.IsZero() && (all || until.Before(now)) {
			delete(c.known, p)
		}
	}
}

func (c *Connections) ended(p pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[p] = c.now().Add(linger)
}

// Has reports whether x was seen on one of the connections.
func (c *Connections) Has(x *capstanv1.Exchange) bool {
	if c.reported.Load() == 0 {
		return false
	}
	for _, h := range x.GetRequest().GetHeaders() {
		if len(h.Name) == len(Header) && strings.EqualFold(h.Name, Header) && h.Value == c.instance {
			return true
		}
	}
	client, ok1 := addrPort(x.GetClient())
	server, ok2 := addrPort(x.GetServer())
	if !ok1 || !ok2 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, has := c.known[pair{client, server}]
	if !has { // the roles may have been told wrongly
		_, has = c.known[pair{server, client}]
	}
	return has
}

func addrPort(e *capstanv1.Endpoint) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(e.GetAddress())
	return plain(netip.AddrPortFrom(a, uint16(e.GetPort()))), err == nil
}

// ownConn tells when it is closed.
type ownConn struct {
	net.Conn
	end func()
}

// Close implements net.Conn.
func (c *ownConn) Close() error {
	err := c.Conn.Close()
	c.end()
	return err
}
