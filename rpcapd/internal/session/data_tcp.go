package session

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"capstan/rpcapd/internal/dataport"
)

// SelfEndpoints keeps own data connections out of captures;
// device.Endpoints is the real one.
type SelfEndpoints interface {
	Add(netip.AddrPort) error
	Release(netip.AddrPort)
}

// TCPData makes the data connections of a TCP session. It listens on the
// address that the client reached the control connection at, on a port the
// kernel chooses. Deviation: the reference listens on all addresses, takes
// whoever comes first and waits for ever.
type TCPData struct {
	Local, Peer netip.Addr // of the control connection
	Self        SelfEndpoints
	Fixed       *dataport.Port // listen on this port instead, with all others
}

// NewTCPData returns the opener for the session of control connection conn;
// fixed may be nil.
func NewTCPData(conn *net.TCPConn, self SelfEndpoints, fixed *dataport.Port) *TCPData {
	local, _ := conn.LocalAddr().(*net.TCPAddr)
	peer, _ := conn.RemoteAddr().(*net.TCPAddr)
	return &TCPData{Local: local.AddrPort().Addr().Unmap(), Peer: peer.AddrPort().Addr().Unmap(), Self: self, Fixed: fixed}
}

// ListenData implements [DataOpener].
func (d *TCPData) ListenData(ctx context.Context, timeout time.Duration, refused func()) (DataListener, error) {
	if d.Fixed != nil {
		return d.Fixed.Listen(ctx, d.Local, d.Peer, timeout)
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.Local, 0)))
	if err != nil {
		return nil, fmt.Errorf("data listener: %w", err)
	}
	_ = l.SetDeadline(time.Now().Add(timeout))
	endpoint, err := d.enter(l.Addr())
	if err != nil {
		l.Close()
		return nil, err
	}
	return &tcpListener{opener: d, listener: l, endpoint: endpoint, refused: refused}, nil
}

type tcpListener struct {
	opener   *TCPData
	listener *net.TCPListener
	endpoint netip.AddrPort
	refused  func()
}

func (l *tcpListener) Port() uint16 { return l.endpoint.Port() }

func (l *tcpListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.listener.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if peer, ok := conn.RemoteAddr().(*net.TCPAddr); ok && peer.AddrPort().Addr().Unmap().WithZone("") == l.opener.Peer.WithZone("") {
			return conn, nil
		}
		l.refused()
		conn.Close()
	}
}

func (l *tcpListener) Close() { l.listener.Close() }

func (l *tcpListener) Release() { l.opener.Self.Release(l.endpoint) }
