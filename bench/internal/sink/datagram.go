//go:build linux

package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
)

const (
	datagramBatch   = 64
	datagramMaxLen  = 1 << 16
	datagramBuffer  = 16 << 20 // of the socket
	datagramQuiet   = 300 * time.Millisecond
	datagramTimeout = 10 * time.Second // of a request
)

// datagramSession has its frames in UDP datagrams, one PACKET in each, which the
// server sends to a port of ours; requests go over TCP.
type datagramSession struct {
	control net.Conn
	reader  *rpcap.Reader
	link    capture.LinkType

	// Owned by the caller of next.
	data     *net.UDPConn
	batch    *ipv4.PacketConn
	messages []ipv4.Message
	have     int // datagrams in messages
	used     int // of these
	numbers  numbers

	ending atomic.Bool
}

func openDatagrams(ctx context.Context, c Config) (session, error) {
	if c.URL.Scheme != rpcap.SchemeTCP {
		return nil, fmt.Errorf("frames over UDP need a server at an %s:// address, not %v", rpcap.SchemeTCP, c.URL)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.URL.Address())
	if err != nil {
		return nil, err
	}
	s := &datagramSession{control: conn, reader: rpcap.NewReader(conn, nil)}
	if err := s.start(c); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *datagramSession) start(c Config) error {
	auth := &rpcap.AuthRequest{}
	if c.URL.User != "" {
		auth = &rpcap.AuthRequest{AuthType: rpcap.AuthPassword, User: c.URL.User, Password: []byte(c.URL.Password)}
	}
	var opened rpcap.OpenReply
	err := s.request(auth, &rpcap.AuthReply{})
	if err == nil {
		err = s.request(&rpcap.OpenRequest{Device: c.URL.Device}, &opened)
	}
	if err == nil {
		err = s.listen()
	}
	if err != nil {
		return err
	}
	s.link = capture.LinkType(opened.LinkType)
	snapLen := uint32(rpcap.EffectiveSnapLen(uint32(c.SnapLen)))
	start := &rpcap.StartCapRequest{
		SnapLen: snapLen, ReadTimeout: c.ReadTimeout, Flags: rpcap.StartCapDatagram,
		DataPort: s.data.LocalAddr().(*net.UDPAddr).AddrPort().Port(),
		Filter:   []rpcap.Instruction{{Op: 0x06, K: snapLen}}, // ret #snaplen
	}
	if c.Promiscuous {
		start.Flags |= rpcap.StartCapPromiscuous
	}
	return s.request(start, &rpcap.StartCapReply{})
}

// listen opens the socket for the frames at the address that the server sees.
func (s *datagramSession) listen() error {
	local := s.control.LocalAddr().(*net.TCPAddr)
	data, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
	if err != nil {
		return err
	}
	s.data, s.batch = data, ipv4.NewPacketConn(data)
	s.messages = make([]ipv4.Message, datagramBatch)
	for i := range s.messages {
		s.messages[i].Buffers = [][]byte{make([]byte, datagramMaxLen)}
	}
	raw, err := data.SyscallConn()
	if err != nil {
		return err
	}
	var forced error
	err = raw.Control(func(fd uintptr) {
		forced = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, datagramBuffer)
	})
	if forced != nil { // without CAP_NET_ADMIN: as much as there is
		forced = data.SetReadBuffer(datagramBuffer)
	}
	return errors.Join(err, forced)
}

// request sends m and waits for reply.
func (s *datagramSession) request(m, reply rpcap.Message) error {
	if err := s.control.SetDeadline(time.Now().Add(datagramTimeout)); err != nil {
		return err
	}
	if _, err := s.control.Write(rpcap.Append(nil, m)); err != nil {
		return fmt.Errorf("%v: %w", m.Type(), err)
	}
	h, body, err := s.reader.Next()
	if err != nil {
		return fmt.Errorf("%v: %w", m.Type(), err)
	}
	switch h.Type {
	case reply.Type():
		return rpcap.Decode(h, body, reply)
	case rpcap.TypeError:
		var told rpcap.Error
		if err := rpcap.Decode(h, body, &told); err != nil {
			return err
		}
		return fmt.Errorf("%v: the server says: %s (%v)", m.Type(), told.Text, told.Code)
	}
	return fmt.Errorf("%v: answered by %v", m.Type(), h.Type)
}

func (s *datagramSession) linkType() capture.LinkType { return s.link }

func (s *datagramSession) buffered() bool { return s.used < s.have }

func (s *datagramSession) next(f *capture.Frame) error {
	for {
		for s.used < s.have {
			m := &s.messages[s.used]
			s.used++
			if s.take(f, m.Buffers[0][:m.N]) {
				return nil
			}
		}
		if err := s.read(); err != nil {
			return err
		}
	}
}

// read waits for datagrams. After end, silence is the end.
func (s *datagramSession) read() error {
	for {
		n, err := s.batch.ReadBatch(s.messages, 0)
		switch {
		case err == nil:
			s.have, s.used = n, 0
			if s.ending.Load() {
				return s.data.SetReadDeadline(time.Now().Add(datagramQuiet))
			}
			return nil
		case s.ending.Load() && errors.Is(err, os.ErrDeadlineExceeded):
			return io.EOF
		default:
			return err
		}
	}
}

// take reads a PACKET. What isn't one is skipped, as libpcap's client does.
func (s *datagramSession) take(f *capture.Frame, b []byte) bool {
	if len(b) < rpcap.HeaderLen || rpcap.ParseHeader(b).Type != rpcap.TypePacket {
		return false
	}
	p, err := rpcap.ParsePacketHeader(b[rpcap.HeaderLen:])
	if err != nil {
		return false
	}
	f.Timestamp, f.Len, f.LinkType = p.Timestamp, int(max(p.Len, p.CapLen)), s.link
	f.Data = b[rpcap.PacketOverhead:][:p.CapLen:p.CapLen]
	s.numbers.add(p.Number)
	return true
}

// numbers counts what is missing among packet numbers from 1 on. Datagrams may
// overtake one another, so it counts numbers, not steps.
type numbers struct {
	next    uint64 // above the highest so far, minus 1
	arrived uint64
}

func (n *numbers) add(number uint32) {
	n.arrived++
	// The number nearest to the one expected that has these 32 bits.
	full := n.next + uint64(int64(int32(number-1-uint32(n.next))))
	if int64(full) >= int64(n.next) {
		n.next = full + 1
	}
}

func (n *numbers) missing() uint64 { return n.next - min(n.arrived, n.next) }

func (s *datagramSession) holes() uint64 { return s.numbers.missing() }

func (s *datagramSession) stats(context.Context) (rpcap.StatsReply, error) {
	var reply rpcap.StatsReply
	err := s.request(&rpcap.StatsRequest{}, &reply)
	return reply, err
}

func (s *datagramSession) end(context.Context) error {
	err := s.request(&rpcap.EndCapRequest{}, &rpcap.EndCapReply{})
	s.ending.Store(true)
	return errors.Join(err, s.data.SetReadDeadline(time.Now().Add(datagramQuiet)))
}

func (s *datagramSession) close() error {
	err := s.control.Close()
	if s.data != nil {
		err = errors.Join(err, s.data.Close())
	}
	return err
}
