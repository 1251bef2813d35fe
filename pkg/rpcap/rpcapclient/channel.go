package rpcapclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"capstan/pkg/rpcap"
)

// Transport is the way of the frames from the server to the client.
type Transport uint8

// The transports. All but TransportDatagram carry the same bytes, over TLS if
// the session has TLS.
const (
	// TransportDefault is TransportConnect, and TransportAccept in a session
	// that the server has opened (see [Listener]).
	TransportDefault Transport = iota
	// TransportConnect: the client connects to a port that the server names.
	TransportConnect
	// TransportAccept: the server connects to a port that the client names.
	TransportAccept
	// TransportDatagram: the server sends one UDP datagram per frame, which
	// limits a frame to some 64 KiB, to a port that the client names. What is
	// lost on the way shows as [StreamStats.Missing].
	TransportDatagram
)

// String names the transport as in an option's value.
func (t Transport) String() string {
	switch t {
	case TransportDefault:
		return "default"
	case TransportConnect:
		return "connect"
	case TransportAccept:
		return "accept"
	case TransportDatagram:
		return "datagram"
	}
	return fmt.Sprintf("transport %d", uint8(t))
}

// channel makes the data connection of one capture. It is opened before
// STARTCAP_REQ is sent, since a server may connect before it replies.
type channel interface {
	// announce puts into the request how the server reaches the client.
	announce(*rpcap.StartCapRequest)
	// connect returns the connection once the server has agreed. The channel
	// is of no use afterwards.
	connect(ctx context.Context, reply rpcap.StartCapReply) (dataConn, error)
	// close frees what connect hasn't handed over. It may be called twice.
	close()
}

// openChannel opens the channel for a transport. The caller has to close it.
func (c *Client) openChannel(ctx context.Context, t Transport) (channel, error) {
	if t == TransportDefault {
		t = c.transport
	}
	switch t {
	case TransportConnect:
		return &connectChannel{client: c}, nil
	case TransportAccept:
		return c.openAccept(ctx)
	case TransportDatagram:
		return c.openDatagram(ctx)
	}
	return nil, fmt.Errorf("no such transport: %v", t)
}

// connectChannel connects to the server's port. Some small servers name none
// and send PACKETs on the control connection instead.
type connectChannel struct{ client *Client }

func (*connectChannel) announce(*rpcap.StartCapRequest) {}

func (*connectChannel) close() {}

func (d *connectChannel) connect(ctx context.Context, reply rpcap.StartCapReply) (dataConn, error) {
	if reply.DataPort == 0 {
		return d.client.takeInline()
	}
	return d.client.dial.data(ctx, d.client.conn.RemoteAddr(), reply.DataPort)
}

// acceptChannel waits for the server's connection.
type acceptChannel struct {
	listener *net.TCPListener
	peer     netip.Addr
	dial     *dialer
}

// openAccept listens at the address at which the server reaches this host.
func (c *Client) openAccept(ctx context.Context) (channel, error) {
	local, peer, err := c.endpoints()
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, fmt.Errorf("port for the data connection: %w", err)
	}
	return &acceptChannel{listener: l.(*net.TCPListener), peer: peer, dial: c.dial}, nil
}

// endpoints returns the addresses of the control connection.
func (c *Client) endpoints() (local, peer netip.Addr, err error) {
	here, ok := c.conn.LocalAddr().(*net.TCPAddr)
	there, ok2 := c.conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return local, peer, errors.New("data connection: the server can't open one to this host over a unix socket")
	}
	return here.AddrPort().Addr().Unmap(), there.AddrPort().Addr().Unmap(), nil
}

func (d *acceptChannel) announce(m *rpcap.StartCapRequest) {
	m.Flags |= rpcap.StartCapServerOpen
	m.DataPort = d.listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

// connect takes the server's connection. Deviation: libpcap's client takes the
// first that comes, whoever made it.
func (d *acceptChannel) connect(ctx context.Context, _ rpcap.StartCapReply) (dataConn, error) {
	defer d.close()
	ctx, cancel := context.WithTimeout(ctx, d.dial.timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = d.listener.SetDeadline(time.Unix(1, 0)) }) // fails only if it is closed
	defer stop()
	for {
		conn, err := d.listener.AcceptTCP()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("data connection: the server did not open it: %w", context.Cause(ctx))
		case err != nil:
			return nil, fmt.Errorf("data connection: %w", err)
		}
		if conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() != d.peer {
			conn.Close()
			continue
		}
		secured, err := d.dial.secure(ctx, conn)
		if err != nil {
			return nil, fmt.Errorf("data connection: %w", err)
		}
		return secured, nil
	}
}

func (d *acceptChannel) close() { d.listener.Close() }
