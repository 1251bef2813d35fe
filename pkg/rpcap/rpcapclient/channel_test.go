package rpcapclient

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// start opens eth0 and starts a capture.
func start(t *testing.T, c *Client, transport Transport) *Stream {
	t.Helper()
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	s, err := c.Start(t.Context(), StartRequest{SnapLen: 96, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var endCapture = []rpcaptest.Step{rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{}), rpcaptest.ExpectEnd()}

func TestServerOpensDataConnection(t *testing.T) {
	serverTLS, pool, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]rpcaptest.Config{"plain": {}, "tls": {TLS: serverTLS}} {
		t.Run(name, func(t *testing.T) {
			c := dialServer(t, rpcaptest.Start(t, config, append([]rpcaptest.Step{rpcaptest.Authenticate(),
				rpcaptest.Open("eth0"), rpcaptest.OpenData(), rpcaptest.SendData(packets(1, 7, 60))}, endCapture...)...),
				Options{TLS: &tls.Config{RootCAs: pool}})
			s := start(t, c, TransportAccept)
			nextFrames(t, s, 7)
			if err := c.EndCapture(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Next(new(capture.Frame)); err != io.EOF {
				t.Error(err)
			}
			c.Close()
		})
	}
}

// Only the server may make the data connection.
func TestStrangerOnDataPort(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.OpenDataAfter(func(port uint16) error {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		stranger, err := from.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
		if err != nil {
			return err
		}
		_, err = stranger.Write(packets(1, 1, 90))
		return errors.Join(err, stranger.Close())
	}), rpcaptest.SendData(packets(1, 1, 60)), rpcaptest.ExpectEnd())
	s := start(t, c, TransportAccept)
	var f capture.Frame
	if err := s.Next(&f); err != nil || f.Len != 60 {
		t.Errorf("%d bytes, %v", f.Len, err)
	}
	c.Close()
}

func TestServerDoesNotOpen(t *testing.T) {
	c := session(t, Options{DialTimeout: 20 * time.Millisecond}, rpcaptest.Open("eth0"),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.Send(&rpcap.StartCapReply{}), rpcaptest.ExpectEnd())
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), StartRequest{Transport: TransportAccept}); err == nil || !strings.Contains(err.Error(), "the server did not open it") {
		t.Error(err)
	}
	c.Close()
}

// Case 140: datagrams that never came are counted; so is one that was overtaken,
// until it comes.
func TestCase140DatagramHoles(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.OpenData(),
		rpcaptest.SendData(packets(1, 1, 60)), rpcaptest.SendData(packets(2, 1, 60)), rpcaptest.SendData(packets(5, 1, 60)),
		rpcaptest.SendData([]byte("no message at all")), rpcaptest.SendData(packets(6, 2, 60)), // two in one
		rpcaptest.SendData(packets(8, 1, 60)), rpcaptest.SendData(packets(7, 1, 60)), rpcaptest.SendData(packets(9, 1, 60)),
		rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.SendData(packets(10, 1, 60)), rpcaptest.Send(&rpcap.EndCapReply{}), rpcaptest.ExpectEnd())
	s := start(t, c, TransportDatagram)
	nextFrames(t, s, 3)
	if got := s.Stats().Missing; got != 2 {
		t.Errorf("%d missing, want 2", got)
	}
	nextFrames(t, s, 3)
	if got := s.Stats().Missing; got != 3 { // 3, 4, 6
		t.Errorf("%d missing, want 3", got)
	}
	if err := c.EndCapture(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all, err := readAll(s); len(all) != 1 || err != io.EOF {
		t.Errorf("at the end %d frames, %v", len(all), err)
	}
	if got := s.Stats(); got.Missing != 3 || got.Rejected != 2 {
		t.Errorf("%+v", got)
	}
	c.Close()
}

func TestTransportRefused(t *testing.T) {
	serverTLS, pool, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		config    rpcaptest.Config
		transport Transport
		want      string
	}{
		{rpcaptest.Config{TLS: serverTLS}, TransportDatagram, "TLS not supported with UDP forward of remote packets"},
		{rpcaptest.Config{Network: "unix"}, TransportDatagram, "unix socket"},
		{rpcaptest.Config{Network: "unix"}, TransportAccept, "unix socket"},
		{rpcaptest.Config{}, 17, "no such transport: transport 17"},
	} {
		c := dialServer(t, rpcaptest.Start(t, tc.config, rpcaptest.Authenticate(), rpcaptest.Open("eth0"), rpcaptest.ExpectEnd()),
			Options{TLS: &tls.Config{RootCAs: pool}})
		if _, err := c.Open(t.Context(), "eth0"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(t.Context(), StartRequest{Transport: tc.transport}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
		c.Close()
	}
}

// Case 129: fields in the byte order of the capturing host.
func TestCase129HostOrder(t *testing.T) {
	other := binary.ByteOrder(binary.LittleEndian)
	if hostOrder() == other {
		other = binary.BigEndian
	}
	sll := append(make([]byte, 14), 0, sllCAN, 1, 2, 3, 4, 8, 9)
	xl := append([]byte{0, sllCANXL}, append(make([]byte, 18), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)...)
	length := binary.NativeEndian.AppendUint16(nil, 6)
	nflog := []byte{2, 0, 0, 0, length[1], length[0], 1, 2, 3, 4, 0, 0, length[1]}
	for _, tc := range []struct {
		name string
		link capture.LinkType
		from []byte
		at   int
		want []byte
	}{
		{"CAN behind SLL", capture.LinkTypeLinuxSLL, sll, 16, []byte{4, 3, 2, 1, 8, 9}},
		{"CAN XL behind SLL2", capture.LinkTypeLinuxSLL2, xl, 20, []byte{4, 3, 2, 1, 5, 6, 8, 7, 12, 11, 10, 9, 13}},
		{"NFLOG", capture.LinkTypeNFLOG, nflog, 4, []byte{length[0], length[1], 2, 1, 3, 4, 0, 0, length[1]}},
		{"Ethernet", capture.LinkTypeEthernet, sll, 16, []byte{1, 2, 3, 4, 8, 9}},
		{"SLL cut short", capture.LinkTypeLinuxSLL, sll[:18], 16, []byte{1, 2}},
	} {
		c := session(t, Options{}, rpcaptest.ExpectType(rpcap.TypeOpenRequest), rpcaptest.Send(&rpcap.OpenReply{LinkType: tc.link}),
			rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(0),
			rpcaptest.SendData(rpcaptest.AppendPacket(nil, rpcap.PacketHeader{Number: 1}, tc.from)), rpcaptest.ExpectEnd())
		c.order = other
		s := start(t, c, TransportDefault)
		var f capture.Frame
		if err := s.Next(&f); err != nil || string(f.Data[tc.at:]) != string(tc.want) {
			t.Errorf("%s: % x, %v, want % x", tc.name, f.Data, err, tc.want)
		}
		c.Close()
	}
}
