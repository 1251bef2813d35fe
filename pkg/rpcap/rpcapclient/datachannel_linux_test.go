package rpcapclient

import (
	"net"
	"syscall"
	"testing"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// receiveBuffer returns the SO_RCVBUF of a connection.
func receiveBuffer(t *testing.T, conn any) (n int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	must(t, err)
	var inner error
	must(t, raw.Control(func(fd uintptr) { n, inner = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF) }))
	must(t, inner)
	return n
}

// Whatever buffer the server tells, the data connection's stays the kernel's.
func TestReceiveBufferIsTheKernels(t *testing.T) {
	buffers := map[uint32]int{}
	for _, told := range []uint32{0, 64 << 20} {
		c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(told), rpcaptest.ExpectEnd())
		_, err := c.Open(t.Context(), "eth0")
		must(t, err)
		s, err := c.Start(t.Context(), StartRequest{})
		must(t, err)
		buffers[told] = receiveBuffer(t, s.conn.(*socket).Conn)
		c.Close()
	}
	if buffers[0] != buffers[64<<20] {
		t.Errorf("receive buffers %v", buffers)
	}
}

// A datagram of somebody else is not taken for the server's.
func TestDatagramsOfStrangers(t *testing.T) {
	sent := make(chan struct{})
	c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.OpenData(), rpcaptest.SendData(packets(1, 1, 60)),
		rpcaptest.WaitFor(sent), rpcaptest.SendData(packets(2, 1, 60)), rpcaptest.ExpectEnd())
	s := start(t, c, TransportDatagram)
	stranger := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := stranger.Dial("udp", s.conn.(*datagramConn).conn.LocalAddr().String())
	must(t, err)
	defer conn.Close()
	nextFrames(t, s, 1)
	_, err = conn.Write(packets(2, 1, 60)) // on loopback it is there when Write returns
	must(t, err)
	close(sent)
	nextFrames(t, s, 1)
	if got := s.Stats(); got.Frames != 2 || got.Rejected != 1 || got.Missing != 0 {
		t.Errorf("%+v", got)
	}
	c.Close()
}
