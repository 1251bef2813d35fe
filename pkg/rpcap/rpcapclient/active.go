package rpcapclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"capstan/pkg/rpcap"
)

// Listener waits for daemons in active mode, which connect to their client.
// Its methods may be called from any goroutine; several calls of Accept at a
// time keep a silent peer from holding up the others. Where all of them are with
// peers that take long, the first of these has to give way to another that connects.
type Listener struct {
	tcp     *net.TCPListener
	options ListenOptions

	incoming chan *net.TCPConn // from the goroutine that accepts
	ended    chan struct{}     // closed with its end
	err      error             // why it ended; set before
	closing  chan struct{}
	close    sync.Once

	mu       sync.Mutex
	greeting []*greeting // under way, in the order of their beginning; guarded by mu
}

// greeting is the making of a session with a peer.
type greeting struct {
	began  time.Time
	cancel context.CancelCauseFunc
}

// ListenOptions of [Listen]. The zero value lets every host in and
// authenticates as nobody.
type ListenOptions struct {
	Options
	// Allow are the hosts whose connections are taken; empty means all.
	Allow []netip.Prefix
	// User and Password authenticate this client to the daemon; without User
	// it is nobody.
	User, Password string
	// Secure asks for TLS. This side is the client in it, although the daemon
	// connects. The daemon's certificate is verified for TLS.ServerName, or
	// else for the address that it connects from.
	Secure bool
}

// Listen listens at a TCP address, host:port; the port of the reference's
// clients is [rpcap.DefaultActivePort].
func Listen(ctx context.Context, address string, o ListenOptions) (*Listener, error) {
	o.Options = o.Options.withDefaults()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for daemons in active mode: %w", err)
	}
	listener := &Listener{
		tcp: l.(*net.TCPListener), options: o,
		incoming: make(chan *net.TCPConn), ended: make(chan struct{}), closing: make(chan struct{}),
	}
	go listener.run() // ended by Close, which waits for it
	return listener, nil
}

// acceptPause follows a failed accept: nothing tells when it is worth trying.
const acceptPause = 100 * time.Millisecond

// run hands connections to whoever calls Accept.
func (l *Listener) run() {
	defer close(l.ended)
	for {
		conn, err := l.tcp.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			l.err = fmt.Errorf("accept a daemon: %w", err)
			return
		case err != nil: // most often there is no descriptor for now
			select {
			case <-time.After(acceptPause):
			case <-l.closing:
			}
			continue
		}
		l.hand(conn)
	}
}

const (
	// patience is how long a peer may take, at least, while another one waits.
	patience = 2 * time.Second
	// turn is how long that one waits, at least: whoever calls Accept again does so before.
	turn = 100 * time.Millisecond
)

// errGivesWay ends the greeting of a peer that took long, for another's.
var errGivesWay = errors.New("no answer while others wait")

// hand hands conn to a call of Accept. If there is none but with peers that take long, one
// is ended.
func (l *Listener) hand(conn *net.TCPConn) {
	for {
		var due <-chan time.Time
		longest := l.longest()
		if longest != nil {
			due = time.After(max(patience-time.Since(longest.began), turn))
		}
		select {
		case l.incoming <- conn:
			return
		case <-due:
			longest.cancel(errGivesWay)
			l.greeted(longest)
		case <-l.closing:
			conn.Close()
			return
		}
	}
}

// longest returns the greeting that has been under way for longest, or nil if none is.
func (l *Listener) longest() *greeting {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.greeting) == 0 {
		return nil
	}
	return l.greeting[0]
}

// greeted removes a greeting that is over, or is to be.
func (l *Listener) greeted(g *greeting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.greeting = slices.DeleteFunc(l.greeting, func(other *greeting) bool { return other == g })
}

// Addr returns the address that the Listener listens at.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// Close ends every Accept. Clients stay.
func (l *Listener) Close() (err error) {
	l.close.Do(func() {
		close(l.closing)
		err = l.tcp.Close()
	})
	<-l.ended
	return err
}

// ErrNotAllowed, in a [*PeerError], tells that the daemon's host is not among those
// that may connect.
var ErrNotAllowed = errors.New("host is not allowed")

// PeerError is what was wrong with one daemon; others are still accepted.
type PeerError struct {
	Peer netip.AddrPort
	Err  error
}

// Error names the daemon.
func (e *PeerError) Error() string { return fmt.Sprintf("daemon at %v: %v", e.Peer, e.Err) }

// Unwrap returns Err.
func (e *PeerError) Unwrap() error { return e.Err }

// Accept waits for a daemon and authenticates. The caller has to Close the
// Client, which tells the daemon not to connect again, or to Disconnect it. ctx bounds Accept alone.
// After a [*PeerError] it may be called again; any other error is the
// Listener's or that of ctx.
func (l *Listener) Accept(ctx context.Context) (*Client, error) {
	conn, err := l.accept(ctx)
	if err != nil {
		return nil, err
	}
	peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g := &greeting{time.Now(), cancel}
	l.mu.Lock()
	l.greeting = append(l.greeting, g)
	l.mu.Unlock()
	defer l.greeted(g)
	c, err := l.greet(ctx, conn, peer.Addr())
	if err != nil {
		return nil, &PeerError{Peer: peer, Err: err}
	}
	return c, nil
}

// accept waits for a connection, no longer than ctx.
func (l *Listener) accept(ctx context.Context) (*net.TCPConn, error) {
	select {
	case conn := <-l.incoming:
		return conn, nil
	case <-l.ended:
		return nil, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// greet makes a session of conn, or closes it.
func (l *Listener) greet(ctx context.Context, conn *net.TCPConn, peer netip.Addr) (*Client, error) {
	if !l.allows(peer) {
		refuse(conn, "The host is not in the allowed host list. Connection refused.")
		return nil, ErrNotAllowed
	}
	d := &dialer{timeout: l.options.DialTimeout}
	var control net.Conn = conn
	if l.options.Secure {
		d.tls = l.options.tlsConfig(peer.String())
		handshake, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		var err error
		if control, err = d.secure(handshake, conn); err != nil {
			return nil, err
		}
	}
	c := newClient(control, d, l.options.RequestTimeout)
	c.transport = TransportAccept
	if err := c.authenticate(ctx, l.options.User, l.options.Password); err != nil {
		c.Disconnect()
		return nil, fmt.Errorf("authentication: %w", err)
	}
	return c, nil
}

func (l *Listener) allows(a netip.Addr) bool {
	for _, p := range l.options.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return len(l.options.Allow) == 0
}

// refuse tells a daemon that it isn't wanted, as libpcap's client does.
func refuse(conn net.Conn, text string) {
	_ = conn.SetWriteDeadline(time.Now().Add(closeTimeout)) // what comes of the message doesn't matter
	_, _ = conn.Write(rpcap.Append(nil, &rpcap.Error{Code: rpcap.CodeRemoteAccept, Text: text}))
	conn.Close()
}
