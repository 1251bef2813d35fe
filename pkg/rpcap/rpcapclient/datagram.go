package rpcapclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"capstan/pkg/rpcap"
)

const (
	maxDatagram = 1 << 16
	// datagramQuiet is the silence that ends a capture over UDP after
	// EndCapture: nothing tells which datagram is the last.
	datagramQuiet = 200 * time.Millisecond
	// datagramBuffer is the receive buffer asked for; a burst that exceeds it
	// is lost.
	datagramBuffer = 4 << 20
)

// datagramChannel is the socket for a capture over UDP.
type datagramChannel struct {
	conn *net.UDPConn
	peer netip.Addr
	kept bool // handed over by connect
}

func (c *Client) openDatagram(ctx context.Context) (channel, error) {
	if c.dial.tls != nil {
		return nil, errors.New("TLS not supported with UDP forward of remote packets")
	}
	local, peer, err := c.endpoints()
	if err != nil {
		return nil, err
	}
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, fmt.Errorf("port for the datagrams: %w", err)
	}
	udp := conn.(*net.UDPConn)
	if err := udp.SetReadBuffer(datagramBuffer); err != nil {
		udp.Close()
		return nil, fmt.Errorf("receive buffer for the datagrams: %w", err)
	}
	return &datagramChannel{conn: udp, peer: peer}, nil
}

func (d *datagramChannel) announce(m *rpcap.StartCapRequest) {
	m.Flags |= rpcap.StartCapDatagram
	m.DataPort = d.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func (d *datagramChannel) connect(context.Context, rpcap.StartCapReply) (dataConn, error) {
	d.kept = true
	return &datagramConn{conn: d.conn, peer: d.peer, datagram: make([]byte, maxDatagram)}, nil
}

func (d *datagramChannel) close() {
	if !d.kept {
		d.conn.Close()
	}
}

// datagramConn makes a byte stream of the datagrams that are whole PACKETs of
// the server. Deviation: libpcap's client takes datagrams from anybody.
type datagramConn struct {
	conn *net.UDPConn
	peer netip.Addr

	// Owned by the reader.
	datagram []byte
	rest     []byte // of datagram, not yet read

	rejected atomic.Uint64

	mu     sync.Mutex
	ending bool // guarded by mu: silence is the end
}

// Read implements io.Reader.
func (d *datagramConn) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		n, from, err := d.conn.ReadFromUDPAddrPort(d.datagram)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && d.isEnding() {
				return 0, io.EOF
			}
			return 0, err
		}
		d.stillComes()
		if from.Addr().Unmap() != d.peer || !isPacket(d.datagram[:n]) {
			d.rejected.Add(1)
			continue
		}
		d.rest = d.datagram[:n]
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// isPacket reports whether b is one PACKET and nothing else.
func isPacket(b []byte) bool {
	if len(b) < rpcap.PacketOverhead {
		return false
	}
	h := rpcap.ParseHeader(b)
	if h.Version != rpcap.Version || h.Type != rpcap.TypePacket || int64(h.Len) != int64(len(b)-rpcap.HeaderLen) {
		return false
	}
	p, err := rpcap.ParsePacketHeader(b[rpcap.HeaderLen:])
	return err == nil && int(p.CapLen) == len(b)-rpcap.PacketOverhead
}

func (d *datagramConn) isEnding() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ending
}

// finish implements finisher.
func (d *datagramConn) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ending = true
	d.awaitQuiet()
}

// stillComes gives a capture that is ending more time.
func (d *datagramConn) stillComes() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending {
		d.awaitQuiet()
	}
}

// awaitQuiet sets the deadline that ends the stream. mu is held.
func (d *datagramConn) awaitQuiet() {
	_ = d.conn.SetReadDeadline(time.Now().Add(datagramQuiet)) // fails if it is closed, and then Read ends anyway
}

// SetReadDeadline implements dataConn. Once the capture is ending, its own
// deadline is near and stands.
func (d *datagramConn) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending {
		return nil
	}
	return d.conn.SetReadDeadline(t)
}

// Close implements io.Closer.
func (d *datagramConn) Close() error { return d.conn.Close() }
