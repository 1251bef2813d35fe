package rpcapclient

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"capstan/pkg/rpcap"
)

// Dial connects to the server that u names and authenticates: with u's user and
// password if there is a user, else as nobody. ctx bounds Dial alone, not the
// session. The caller has to Close the Client.
//
// An answer that refuses the client is a [*rpcap.RemoteError].
func Dial(ctx context.Context, u rpcap.URL, o Options) (*Client, error) {
	o = o.withDefaults()
	d := &dialer{timeout: o.DialTimeout}
	switch u.Scheme {
	case rpcap.SchemeTCP, rpcap.SchemeUnix:
	case rpcap.SchemeTLS:
		d.tls = o.tlsConfig(u.Host)
	default:
		return nil, fmt.Errorf("%v names a local device, not a server", u)
	}
	conn, err := d.control(ctx, u)
	if err != nil {
		return nil, err
	}
	c := newClient(conn, d, o.RequestTimeout)
	if err := c.authenticate(ctx, u.User, u.Password); err != nil {
		c.Disconnect()
		return nil, fmt.Errorf("%v: authentication: %w", u, err)
	}
	return c, nil
}

// dialer makes the connections of one session.
type dialer struct {
	timeout time.Duration
	tls     *tls.Config // nil: plain
}

// control connects to the server's control port.
func (d *dialer) control(ctx context.Context, u rpcap.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, fmt.Errorf("no answer within %v: %w", d.timeout, context.DeadlineExceeded))
	defer cancel()
	if u.Scheme == rpcap.SchemeUnix {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", u.SocketPath)
		if err != nil {
			return nil, fmt.Errorf("%s%s: %w", textNoServer, u.SocketPath, err)
		}
		return conn, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Host)
	if err != nil {
		return nil, fmt.Errorf("resolve the server's name: %w", err)
	}
	conn, err := dialFirst(ctx, candidates(addrs), u.Port)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", textNoServer, u.Host, err)
	}
	return d.secure(ctx, conn)
}

// candidates returns the addresses in the order they are tried: IPv4 first, as
// libpcap does, since a daemon that listens on one family listens on that.
func candidates(addrs []netip.Addr) []netip.Addr {
	var v4, v6 []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	return append(v4, v6...)
}

// dialFirst returns a connection to the first address that takes one. Each
// attempt gets an equal part of the time that is left.
func dialFirst(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	var failed []error
	for i, a := range addrs {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if end, ok := ctx.Deadline(); ok {
			attempt, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(addrs)-i))
		}
		conn, err := new(net.Dialer).DialContext(attempt, "tcp", netip.AddrPortFrom(a, port).String())
		cancel()
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// data connects to the data port that the server announced, at the address
// that the control connection leads to. For a unix socket the port is a suffix
// of its path.
func (d *dialer) data(ctx context.Context, control net.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	address := control.String() + "." + strconv.Itoa(int(port))
	if tcp, ok := control.(*net.TCPAddr); ok {
		address = netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap(), port).String()
	}
	conn, err := new(net.Dialer).DialContext(ctx, control.Network(), address)
	if err != nil {
		return nil, fmt.Errorf("data connection: %w", err)
	}
	if conn, err = d.secure(ctx, conn); err != nil {
		return nil, fmt.Errorf("data connection: %w", err)
	}
	return conn, nil
}

// secure makes conn a TLS connection if the session has TLS. The client of the
// session is the TLS client on both connections.
func (d *dialer) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if d.tls == nil {
		return conn, nil
	}
	secured := tls.Client(conn, d.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx) // which says how long it took
		}
		return nil, fmt.Errorf("TLS handshake with %s: %w", conn.RemoteAddr(), err)
	}
	return secured, nil
}

// authenticate sends the first request of the session and sets the server's
// byte order.
func (c *Client) authenticate(ctx context.Context, user, password string) error {
	request := &rpcap.AuthRequest{}
	if user != "" {
		if len(user) > maxCredential || len(password) > maxCredential {
			return fmt.Errorf("user or password is longer than %d bytes", maxCredential)
		}
		request = &rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: user, Password: []byte(password)}
	}
	var reply rpcap.AuthReply
	if err := c.request(ctx, request, &reply); err != nil {
		var d *rpcap.DecodeError
		if errors.As(err, &d) && d.Short() {
			return fmt.Errorf("%w: %w", errShortAuth, err)
		}
		return err
	}
	switch {
	case reply.MinVersion > reply.MaxVersion:
		return fmt.Errorf("the server's lowest protocol version %d is above its highest, %d", reply.MinVersion, reply.MaxVersion)
	case reply.MinVersion > rpcap.Version:
		return errNoVersion
	}
	if c.order = reply.ByteOrder; c.order == nil {
		c.order = hostOrder()
	}
	return nil
}

// maxCredential is what the length fields of an AUTH_REQ can tell.
const maxCredential = 1<<16 - 1

// hostOrder is the byte order of this host, which libpcap assumes for servers
// too old to tell theirs.
func hostOrder() binary.ByteOrder {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}
