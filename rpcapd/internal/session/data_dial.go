package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The longest payload of a UDP datagram (RFC 768, RFC 8200 §4.5): the IP
// packet's 65,535 bytes without the headers that count.
const (
	maxDatagramIPv4 = 65535 - 20 - 8
	maxDatagramIPv6 = 65535 - 8
)

// DialData implements [DataOpener]. The port is always one of the control
// connection's peer, so a client can't aim at somebody else.
func (d *TCPData) DialData(ctx context.Context, network string, port uint16) (*DialedData, error) {
	if port == 0 {
		return nil, errors.New("the client's data port is missing")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, netip.AddrPortFrom(d.Peer, port).String())
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the client's data port %d: %w", port, dialCause(err))
	}
	local, err := d.enter(conn.LocalAddr())
	if err != nil {
		conn.Close()
		return nil, err
	}
	data := &DialedData{Conn: conn, Release: func() { d.Self.Release(local) }}
	if network == "udp" {
		data.MaxDatagram = maxDatagramIPv6
		if d.Peer.Is4() {
			data.MaxDatagram = maxDatagramIPv4
		}
	}
	return data, nil
}

// dialCause leaves away the addresses, which the client knows.
func dialCause(err error) error {
	if errno := unix.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}

// enter makes an endpoint of ours one whose packets are left out of captures.
func (d *TCPData) enter(a net.Addr) (netip.AddrPort, error) {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	return ap, d.Self.Add(ap)
}
