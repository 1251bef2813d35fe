//go:build linux

// Package dataport shares one fixed TCP port among all captures, for networks
// that let only known ports through.
//
// A data connection doesn't say which capture it is for. It is told by where it
// comes from, so at any time only one capture of a peer may wait for its
// connection; the next waits for its turn, before its client is told to
// connect. A client that is gone may still have connected: its connection is
// owed, and would be taken for the next capture's. So that one has to wait until
// the connection has come, and has been closed, or can't come any more.
//
// Deviation: the reference fails a capture whose start meets another's, and
// gives the port to whoever connects first.
package dataport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// SelfEndpoints keeps own data connections out of captures.
type SelfEndpoints interface {
	Add(netip.AddrPort) error
	Release(netip.AddrPort)
}

// Config of a Port.
type Config struct {
	Number uint16
	// Shared says that other processes use the port, too, each only while it
	// waits for a connection. Then Listen waits for them as well.
	Shared  bool
	Self    SelfEndpoints
	Refused func() // is called for each connection that nobody waits for
}

// Port is the port on every local address that captures use it on.
type Port struct {
	cfg  Config
	owed sync.WaitGroup // one for each claim that is waiting for its connection
	done chan struct{}  // closed by Close

	mu     sync.Mutex // guards the following, and what locals and claims hold
	locals map[netip.Addr]*local
}

// New returns a port that nobody waits at yet.
func New(cfg Config) *Port {
	return &Port{cfg: cfg, done: make(chan struct{}), locals: make(map[netip.Addr]*local)}
}

// Listen returns a listener for the next data connection from peer to the
// address local, when it is the caller's turn. The error is that of ctx, or why
// the port can't be listened on. The listener waits for timeout.
func (p *Port) Listen(ctx context.Context, local, peer netip.Addr, timeout time.Duration) (*Listener, error) {
	c := &Listener{
		port: p, peer: peer.WithZone("").Unmap(), timeout: timeout,
		turn: make(chan struct{}), settled: make(chan struct{}), closed: make(chan struct{}),
	}
	if err := p.enqueue(c, local); err != nil {
		return nil, err
	}
	if err := p.await(ctx, c); err != nil {
		return nil, err
	}
	return c, nil
}

func (p *Port) enqueue(c *Listener, address netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed() {
		return net.ErrClosed
	}
	l := p.locals[address]
	if l == nil {
		l = newLocal(p, netip.AddrPortFrom(address, p.cfg.Number))
		if err := p.cfg.Self.Add(l.endpoint); err != nil {
			return err
		}
		p.locals[address] = l
	}
	c.local = l
	l.uses++
	l.queue[c.peer] = append(l.queue[c.peer], c)
	l.next(c.peer)
	return nil
}

func (p *Port) isClosed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// await waits for c's turn and makes sure that somebody listens then.
func (p *Port) await(ctx context.Context, c *Listener) error {
	var err error
	select {
	case <-c.turn:
	case <-p.done:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		c.withdraw()
		c.release()
		return fmt.Errorf("data port %d: another capture of this client waits for its connection: %w", p.cfg.Number, err)
	}
	for {
		err := c.arm()
		if err == nil {
			return nil
		}
		if p.cfg.Shared && errors.Is(err, unix.EADDRINUSE) && sleep(ctx, sharedPause) {
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		c.settle(nil)
		c.release()
		return fmt.Errorf("data listener: %w", err)
	}
}

// sharedPause is the time between attempts to get the port from another
// process; there is no event to wait for.
const sharedPause = 20 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Drain waits until no connection is owed any more, or ctx ends.
func (p *Port) Drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.Close)
	defer stop()
	p.owed.Wait()
}

// Close ends all listeners; what has been accepted stays.
func (p *Port) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed() {
		return
	}
	close(p.done)
	for _, l := range p.locals {
		for _, c := range l.waiting {
			c.settle(nil)
		}
	}
}
