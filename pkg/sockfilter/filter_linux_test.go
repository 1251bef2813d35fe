package sockfilter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"capstan/pkg/capture"
	"capstan/pkg/netns"
	"capstan/pkg/netns/netnstest"
)

// testWait bounds waiting for something that has to come.
const testWait = 20 * time.Second

// link is a veth pair tx–rx between two namespaces with addresses 10.9.0.1,
// fd00::1 and 10.9.0.2, fd00::2.
type link struct {
	sender, receiver           *netns.NS
	senderIndex, receiverIndex int
}

func newLink(t testing.TB) *link {
	t.Helper()
	netnstest.RequireCapture(t)
	l := &link{sender: netnstest.New(t), receiver: netnstest.New(t)}
	err := netns.Veth(l.sender, "tx", l.receiver, "rx")
	if err == nil {
		l.senderIndex, err = l.sender.Index("tx")
	}
	if err == nil {
		l.receiverIndex, err = l.receiver.Index("rx")
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *link) addAddresses(t testing.TB) {
	t.Helper()
	err := errors.Join(
		l.sender.AddAddr("tx", netip.MustParsePrefix("10.9.0.1/24")),
		l.sender.AddAddr("tx", netip.MustParsePrefix("fd00::1/64")),
		l.receiver.AddAddr("rx", netip.MustParsePrefix("10.9.0.2/24")),
		l.receiver.AddAddr("rx", netip.MustParsePrefix("fd00::2/64")),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// capturer is a packet socket with a filter.
type capturer struct {
	t       testing.TB
	fd      int
	filter  *Filter
	buf     []byte
	packets uint64 // of the socket's statistics
	drops   uint64
}

func openCapture(t testing.TB, n *netns.NS, ifindex int, cfg Config) *capturer {
	t.Helper()
	f, err := NewFilter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := &capturer{t: t, filter: f, buf: make([]byte, 1<<18)}
	c.fd = openPacketSocket(t, n)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<26); err != nil {
		t.Fatal(err)
	}
	if err := f.Attach(c.fd); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifindex}); err != nil {
		t.Fatal(err)
	}
	return c
}

func openPacketSocket(t testing.TB, n *netns.NS) (fd int) {
	t.Helper()
	err := n.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (c *capturer) set(p *Program) Judged {
	c.t.Helper()
	judged, err := c.filter.Set(p)
	if err != nil {
		c.t.Fatal(err)
	}
	return judged
}

// next returns the next frame, valid until the next call, and its packet type;
// nil if there is none.
func (c *capturer) next() (frame []byte, packetType uint8) {
	c.t.Helper()
	n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
	if errors.Is(err, unix.EAGAIN) {
		return nil, 0
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return c.buf[:n], from.(*unix.SockaddrLinklayer).Pkttype
}

// waitSeen waits until the filter has seen n frames, and returns the counts.
func (c *capturer) waitSeen(n uint64) Counts {
	c.t.Helper()
	for end := time.Now().Add(testWait); ; time.Sleep(time.Millisecond) {
		counts, err := c.filter.Counts()
		if err != nil {
			c.t.Fatal(err)
		}
		if counts.Seen >= n {
			return counts
		}
		if time.Now().After(end) {
			c.t.Fatalf("the filter has seen %d frames, want %d", counts.Seen, n)
		}
	}
}

// stats returns the socket's packets and drops since it was opened.
func (c *capturer) stats() (packets, drops uint64) {
	c.t.Helper()
	s, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		c.t.Fatal(err)
	}
	c.packets += uint64(s.Packets)
	c.drops += uint64(s.Drops)
	return c.packets, c.drops
}

func send(t testing.TB, fd, ifindex int, frame []byte) {
	t.Helper()
	to := &unix.SockaddrLinklayer{Ifindex: ifindex}
	err := unix.Sendto(fd, frame, 0, to)
	for end := time.Now().Add(testWait); errors.Is(err, unix.EAGAIN) && time.Now().Before(end); {
		// The receiving side is behind: frames on their way fill the send buffer.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 100)
		err = unix.Sendto(fd, frame, 0, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// allJudged is the answer of Set when user space has nothing to do.
var allJudged = Judged{Untagged: true, Tagged: true}

func ret(k uint32) []bpf.RawInstruction { return []bpf.RawInstruction{{Op: opRetK, K: k}} }

func TestDirectionAndLoopback(t *testing.T) {
	l := newLink(t)
	lo, err := l.receiver.Index("lo")
	if err != nil {
		t.Fatal(err)
	}
	out := openPacketSocket(t, l.receiver)
	in := openPacketSocket(t, l.sender)
	for _, tt := range []struct {
		name            string
		loopback        bool // capture on lo, not on rx
		cfg             Config
		wantIn, wantOut int
	}{
		{"both", false, Config{}, 3, 2},
		{"in", false, Config{Direction: capture.DirectionIn}, 3, 0},
		{"out", false, Config{Direction: capture.DirectionOut}, 0, 2},
		{"both, not loopback", false, Config{LoopbackInterface: lo}, 3, 2},
		{"loopback twice", true, Config{}, 4, 4},
		{"loopback once", true, Config{LoopbackInterface: lo}, 4, 0},
		{"loopback in", true, Config{LoopbackInterface: lo, Direction: capture.DirectionIn}, 4, 0},
		{"loopback out", true, Config{LoopbackInterface: lo, Direction: capture.DirectionOut}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			index, seen := l.receiverIndex, uint64(5)
			if tt.loopback {
				index, seen = lo, 8
			}
			c := openCapture(t, l.receiver, index, tt.cfg)
			c.set(nil)
			frame := ethernet(0x88b5, 1, 2, 3) // to another host: still "in"
			if tt.loopback {
				for range 4 {
					send(t, out, lo, frame)
				}
			} else {
				for range 3 {
					send(t, in, l.senderIndex, frame)
				}
				for range 2 {
					send(t, out, l.receiverIndex, frame)
				}
			}
			counts := c.waitSeen(seen)
			gotIn, gotOut := 0, 0
			for f, typ := c.next(); f != nil; f, typ = c.next() {
				if typ == unix.PACKET_OUTGOING {
					gotOut++
				} else {
					gotIn++
				}
			}
			if gotIn != tt.wantIn || gotOut != tt.wantOut {
				t.Errorf("%d in and %d out, want %d and %d", gotIn, gotOut, tt.wantIn, tt.wantOut)
			}
			want := Counts{Seen: seen, Excluded: seen - uint64(tt.wantIn+tt.wantOut)}
			if counts != want {
				t.Errorf("%+v, want %+v", counts, want)
			}
		})
	}
}

// TestSelfRecognition sends crafted packets past tables with one endpoint.
func TestSelfRecognition(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	const port, other = 40123, 443
	v4 := func(protocol byte, fragment uint16, options int, src, dst uint16) []byte {
		return ethernet(0x0800, ipv4(protocol, fragment, options, segment(src, dst, "x"))...)
	}
	v6 := func(next byte, src, dst uint16) []byte {
		return ethernet(0x86dd, ipv6(next, segment(src, dst, "x"))...)
	}
	damaged := v4(6, 0, 0, port, other)
	damaged[14] = 0x43 // header of 12 bytes
	hopByHop := ethernet(0x86dd, ipv6(0, append([]byte{6, 0, 1, 4, 0, 0, 0, 0}, segment(port, other, "x")...))...)
	for _, tt := range []struct {
		name     string
		endpoint string
		frame    []byte
		want     bool // excluded
	}{
		{"IPv4 source", "10.9.0.1:40123", v4(6, 0, 0, port, other), true},
		{"IPv4 destination", "10.9.0.2:40123", v4(6, 0, 0, other, port), true},
		{"IPv4 UDP", "10.9.0.1:40123", v4(17, 0, 0, port, other), true},
		{"IPv4-mapped endpoint", "[::ffff:10.9.0.1]:40123", v4(6, 0, 0, port, other), true},
		{"IPv4 options", "10.9.0.2:40123", v4(6, 0, 12, other, port), true},
		{"IPv4 first fragment", "10.9.0.1:40123", v4(6, 0x2000, 0, port, other), true},
		{"IPv4 later fragment", "10.9.0.1:40123", v4(6, 0x2001, 0, port, other), false},
		{"IPv4 other protocol", "10.9.0.1:40123", v4(1, 0, 0, port, other), false},
		{"IPv4 header too short", "10.9.0.1:40123", damaged, false},
		{"IPv4 cut before the ports", "10.9.0.1:40123", v4(6, 0, 0, port, other)[:35], false},
		{"IPv4 cut in the header", "10.9.0.1:40123", v4(6, 0, 0, port, other)[:20], false},
		{"source's port at the destination's address", "10.9.0.2:40123", v4(6, 0, 0, port, other), false},
		{"destination's port at the source's address", "10.9.0.1:40123", v4(6, 0, 0, other, port), false},
		{"other address", "10.9.0.3:40123", v4(6, 0, 0, port, other), false},
		{"other port", "10.9.0.1:40124", v4(6, 0, 0, port, other), false},
		{"both ports in use, destination ours", "10.9.0.2:40123", v4(6, 0, 0, port, port), true},
		{"any IPv4 address", "0.0.0.0:40123", v4(6, 0, 0, other, port), true},
		{"any IPv6 address, IPv4 packet", "[::]:40123", v4(6, 0, 0, port, other), true},
		{"any address, other port", "[::]:40123", v4(6, 0, 0, other, other), false},
		{"IPv6 source", "[fd00::1]:40123", v6(6, port, other), true},
		{"IPv6 destination", "[fd00::2]:40123", v6(17, other, port), true},
		{"any IPv4 address, IPv6 packet", "0.0.0.0:40123", v6(6, port, other), true},
		{"IPv6 other address", "[fd00::3]:40123", v6(6, port, other), false},
		{"IPv6 other protocol", "[fd00::1]:40123", v6(58, port, other), false},
		{"IPv6 extension header", "[fd00::1]:40123", hopByHop, false},
		{"IPv6 cut in the header", "[fd00::1]:40123", v6(6, port, other)[:50], false},
		{"not IP", "10.9.0.1:40123", ethernet(0x88b5, 1, 2, 3), false},
		{"lowest port", "10.9.0.1:0", v4(6, 0, 0, 0, other), true},
		{"highest port", "10.9.0.2:65535", v4(6, 0, 0, other, 65535), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			self, err := NewSelfTable()
			if err != nil {
				t.Fatal(err)
			}
			defer self.Close()
			c := openCapture(t, l.receiver, l.receiverIndex, Config{Self: self})
			c.set(nil)
			ap := netip.MustParseAddrPort(tt.endpoint)
			for _, step := range []struct {
				name string
				do   func(netip.AddrPort) error
				want bool
			}{
				{"empty", func(netip.AddrPort) error { return nil }, false},
				{"added", self.Add, tt.want},
				{"added twice", self.Add, tt.want},
				{"removed once", self.Remove, tt.want},
				{"removed", self.Remove, false},
				{"removed too often", self.Remove, false},
			} {
				if err := step.do(ap); err != nil {
					t.Fatal(err)
				}
				before, err := c.filter.Counts()
				if err != nil {
					t.Fatal(err)
				}
				send(t, fd, l.senderIndex, tt.frame)
				after := c.waitSeen(before.Seen + 1)
				if got := after.Excluded > before.Excluded; got != step.want {
					t.Errorf("%s: excluded: %v, want %v", step.name, got, step.want)
				}
				if f, _ := c.next(); bytes.Equal(f, tt.frame) == step.want {
					t.Errorf("%s: delivered %x", step.name, f)
				}
			}
		})
	}
}

func TestSelfTableSharesPorts(t *testing.T) {
	netnstest.RequireBPF(t)
	s, err := NewSelfTable()
	if err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80")
	if err := errors.Join(s.Add(a), s.Add(b), s.Remove(a)); err != nil {
		t.Fatal(err)
	}
	ports := make([]byte, portsLen)
	if err := s.ports.Lookup(uint32(0), &ports); err != nil {
		t.Fatal(err)
	}
	if ports[portsCountLen+80/8] != 1<<(80%8) || binary.NativeEndian.Uint64(ports) != 1 {
		t.Error("port 80 is free while one of its endpoints is left")
	}
	if err := s.Add(netip.AddrPort{}); err == nil {
		t.Error("took no address")
	}
	if err := errors.Join(s.Close(), s.Close(), s.Remove(b)); err != nil {
		t.Error(err)
	}
	if err := s.Add(a); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
}

// exchange moves data both ways over a TCP connection from inside n to
// address, after calling with with the client's endpoint.
func exchange(t *testing.T, n *netns.NS, l net.Listener, with func(netip.AddrPort)) netip.AddrPort {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer c.Close()
		io.Copy(c, c)
	})
	// The port has to be known before the first packet: take a free one.
	local := netip.MustParseAddrPort(l.Addr().String())
	var c net.Conn
	err := n.Do(func() error {
		free, err := net.Listen("tcp", net.JoinHostPort(localAddress(local), "0"))
		if err != nil {
			return err
		}
		addr := free.Addr().(*net.TCPAddr)
		free.Close()
		local = addr.AddrPort()
		with(local)
		d := net.Dialer{LocalAddr: addr, Timeout: testWait}
		c, err = d.Dial("tcp", l.Addr().String())
		return err
	})
	if err != nil {
		l.Close()
		t.Fatal(err)
	}
	defer c.Close()
	want := bytes.Repeat([]byte("self"), 5000)
	wg.Go(func() {
		c.Write(want)
		c.(*net.TCPConn).CloseWrite()
	})
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("echoed %d bytes of %d, %v", len(got), len(want), err)
	}
	return local
}

// localAddress returns the client's address for a server at ap.
func localAddress(ap netip.AddrPort) string {
	switch ap.Addr().String() {
	case "10.9.0.2":
		return "10.9.0.1"
	case "fd00::2":
		return "fd00::1"
	}
	return ap.Addr().String()
}

// framesOfPort counts the TCP frames from and to a port.
func framesOfPort(c *capturer, port uint16) (from, to int) {
	for f, _ := c.next(); f != nil; f, _ = c.next() {
		ip := f[min(14, len(f)):]
		var tcp []byte
		switch {
		case len(ip) >= 24 && ip[0]>>4 == 4 && ip[9] == 6:
			tcp = ip[ip[0]&15*4:]
		case len(ip) >= 44 && ip[0]>>4 == 6 && ip[6] == 6:
			tcp = ip[40:]
		default:
			continue
		}
		if binary.BigEndian.Uint16(tcp) == port {
			from++
		}
		if binary.BigEndian.Uint16(tcp[2:]) == port {
			to++
		}
	}
	return from, to
}

// TestSelfExclusionOfConnections has real connections over veth and lo, in
// both families, captured at both ends: of those in the table no frame comes
// through, in neither direction, and of the others frames of both.
func TestSelfExclusionOfConnections(t *testing.T) {
	l := newLink(t)
	l.addAddresses(t)
	lo, err := l.sender.Index("lo")
	if err != nil {
		t.Fatal(err)
	}
	self, err := NewSelfTable()
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for _, tt := range []struct {
		name           string
		server, client *netns.NS
		address        string
	}{
		{"veth IPv4", l.receiver, l.sender, "10.9.0.2:0"},
		{"veth IPv6", l.receiver, l.sender, "[fd00::2]:0"},
		{"lo IPv4", l.sender, l.sender, "127.0.0.1:0"},
		{"lo IPv6", l.sender, l.sender, "[::1]:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Self: self, LoopbackInterface: lo}
			captures := []*capturer{openCapture(t, l.sender, lo, cfg)}
			if tt.server != tt.client {
				captures = []*capturer{openCapture(t, l.sender, l.senderIndex, cfg), openCapture(t, l.receiver, l.receiverIndex, cfg)}
			}
			listener, err := tt.server.Listen("tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			for _, c := range captures {
				c.set(nil)
			}
			own := exchange(t, tt.client, listener, func(ap netip.AddrPort) {
				if err := self.Add(ap); err != nil {
					t.Error(err)
				}
			})
			other := own
			for other.Port() == own.Port() {
				other = exchange(t, tt.client, listener, func(netip.AddrPort) {})
			}
			for i, c := range captures {
				if err := c.filter.Stop(); err != nil {
					t.Fatal(err)
				}
				counts := c.waitSeen(1)
				packets, drops := c.stats()
				if counts.Excluded-counts.Inactive < 10 || counts.Seen != counts.Excluded+packets || drops != 0 {
					t.Errorf("capture %d: %+v, socket: %d packets, %d drops", i, counts, packets, drops)
				}
				from, to := framesOfPort(c, other.Port())
				if from < 3 || to < 3 || uint64(from+to) > packets {
					t.Errorf("capture %d: %d frames from and %d to the other connection, %d in all", i, from, to, packets)
				}
				if tt.server == tt.client && uint64(from+to) != packets {
					t.Errorf("capture %d: %d frames that are not of the other connection", i, packets-uint64(from+to))
				}
			}
			if err := self.Remove(own); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSelfExclusionIsComplete looks for the excluded connection's port.
func TestSelfExclusionIsComplete(t *testing.T) {
	l := newLink(t)
	l.addAddresses(t)
	self, err := NewSelfTable()
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	captures := []*capturer{
		openCapture(t, l.sender, l.senderIndex, Config{Self: self}),
		openCapture(t, l.receiver, l.receiverIndex, Config{Self: self}),
	}
	for _, c := range captures {
		c.set(nil)
	}
	for _, address := range []string{"10.9.0.2:0", "[fd00::2]:0"} {
		listener, err := l.receiver.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		own := exchange(t, l.sender, listener, func(ap netip.AddrPort) {
			if err := self.Add(ap); err != nil {
				t.Error(err)
			}
		})
		for i, c := range captures {
			if from, to := framesOfPort(c, own.Port()); from != 0 || to != 0 {
				t.Errorf("%s: capture %d: %d frames from and %d to the excluded connection", address, i, from, to)
			}
		}
	}
}

// TestVerdictsOnTaggedFrames holds the contract of Set for frames whose tag is
// metadata: the kernel cuts them to the program's verdict on the frame with the
// tag in place, or passes them whole.
func TestVerdictsOnTaggedFrames(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	c := openCapture(t, l.receiver, l.receiverIndex, Config{SnapLen: 60})
	plain := ethernet(0x88b5, bytes.Repeat([]byte("x"), 300)...)
	tagged := append(append(append([]byte(nil), plain[:12]...), 0x81, 0, 0, 10), plain[12:]...)
	whole := len(plain) // without the tag, which is not among the bytes
	lengths := func() (got []int) {
		seen := c.waitSeen(0).Seen
		send(t, fd, l.senderIndex, plain)
		send(t, fd, l.senderIndex, tagged)
		c.waitSeen(seen + 2)
		for f, _ := c.next(); f != nil; f, _ = c.next() {
			got = append(got, len(f))
		}
		return got
	}
	vlan10 := []bpf.RawInstruction{
		{Op: opLoadAbsH, K: 12}, {Op: opJumpEqK, K: 0x8100, Jf: 3},
		{Op: opLoadAbsH, K: 14}, {Op: opJumpEqK, K: 10, Jf: 1}, {Op: opRetK, K: 50}, {Op: opRetK},
	}
	loadA := func(a uint32) []bpf.RawInstruction {
		return []bpf.RawInstruction{{Op: opLoadImm, K: a}, {Op: opRetA}}
	}
	untagged := Judged{Untagged: true}
	for _, tt := range []struct {
		name       string
		program    []bpf.RawInstruction
		wantJudged Judged
		want       []int
	}{
		{"refuse all", ret(0), allJudged, nil},
		{"keep 40", ret(40), allJudged, []int{40, 36}},
		{"keep 100 of at most 60", ret(100), allJudged, []int{60, 56}},
		{"keep the addresses", ret(11), allJudged, []int{11, 11}},
		{"keep half of the tag", ret(14), untagged, []int{14, whole}},
		{"keep A of at most 60", loadA(0x8000_0000), untagged, []int{60, whole}},
		{"keep A", loadA(40), untagged, []int{40, whole}},
		{"VLAN 10", vlan10, allJudged, []int{46}},
		{"no program", nil, allJudged, []int{60, 60}},
	} {
		var p *Program
		if tt.program != nil {
			p = mustCompile(t, tt.program)
		}
		judged := c.set(p)
		if got := lengths(); judged != tt.wantJudged || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %+v, lengths %d, want %+v, %d", tt.name, judged, got, tt.wantJudged, tt.want)
		}
	}
}

// TestFallback has programs that can't run in the kernel: everything comes.
func TestFallback(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	frame := ethernet(0x88b5, make([]byte, 300)...)
	// All loads, to be expanded by the kernel.
	dear := slices.Repeat([]bpf.RawInstruction{{Op: opLoadAbsB, K: 1}}, MaxInstructions-1)
	dear = append(dear, bpf.RawInstruction{Op: opRetK})
	ancillary := func(ad uint32) []bpf.RawInstruction {
		return []bpf.RawInstruction{{Op: opLoadAbsW, K: offsetAncillary + ad}, {Op: opRetK}}
	}
	for _, tt := range []struct {
		name     string
		cfg      Config
		program  []bpf.RawInstruction
		refusals uint64
	}{
		{"sender's address in a cooked header", Config{SnapLen: 60, View: ViewCooked}, []bpf.RawInstruction{{Op: opLoadAbsB, K: 6}, {Op: opRetK}}, 0},
		{"length with a cooked header", Config{SnapLen: 60, View: ViewCooked2}, []bpf.RawInstruction{{Op: opLoadLen}, {Op: opRetK}}, 0},
		{"payload offset", Config{SnapLen: 60}, ancillary(adPayloadOffset), 0},
		{"hardware type", Config{SnapLen: 60}, ancillary(adHardwareType), 0},
		{"too dear", Config{SnapLen: 60}, dear, 1},
	} {
		c := openCapture(t, l.receiver, l.receiverIndex, tt.cfg)
		if judged := c.set(mustCompile(t, tt.program)); judged != (Judged{}) {
			t.Errorf("%s: %+v", tt.name, judged)
		}
		send(t, fd, l.senderIndex, frame)
		counts := c.waitSeen(1)
		if f, _ := c.next(); !bytes.Equal(f, frame) {
			t.Errorf("%s: %d bytes of %d", tt.name, len(f), len(frame))
		}
		if counts != (Counts{Seen: 1, Refusals: tt.refusals}) {
			t.Errorf("%s: %+v", tt.name, counts)
		}
	}
}

// TestOnlyTheKernelKnows has a program that user space can't run, once alone
// and once with a load that the kernel can't do.
func TestOnlyTheKernelKnows(t *testing.T) {
	netnstest.RequireBPF(t)
	f, err := NewFilter(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mark := bpf.RawInstruction{Op: opLoadAbsW, K: offsetAncillary + adMark}
	payload := bpf.RawInstruction{Op: opLoadAbsW, K: offsetAncillary + adPayloadOffset}
	last := bpf.RawInstruction{Op: opRetK, K: 100}
	if judged, err := f.Set(mustCompile(t, []bpf.RawInstruction{mark, last})); err != nil || judged != allJudged {
		t.Errorf("mark: %+v, %v", judged, err)
	}
	_, err = f.Set(mustCompile(t, []bpf.RawInstruction{payload, mark, last}))
	if e := (*UnsupportedError)(nil); !errors.As(err, &e) || e.Index != 1 || e.Load != "SKF_AD_MARK" {
		t.Errorf("mark and payload offset: %v", err)
	}
}

// TestReplacementWhileTrafficFlows holds that every frame meets the old or the
// new program, and none is lost.
func TestReplacementWhileTrafficFlows(t *testing.T) {
	const count = 50_000
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	c := openCapture(t, l.receiver, l.receiverIndex, Config{})
	a, b := mustCompile(t, ret(60)), mustCompile(t, ret(100))
	c.set(a)
	descriptors := bpfDescriptors(t)
	frame := ethernet(0x88b5, make([]byte, 200)...)
	done := make(chan struct{})
	swaps := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, p := range []*Program{b, a} {
				if judged, err := c.filter.Set(p); err != nil || judged != allJudged {
					t.Errorf("Set: %+v, %v", judged, err)
					return
				}
				swaps++
			}
		}
	})
	lengths := map[int]int{}
	next := uint32(0)
	drain := func() {
		for f, _ := c.next(); f != nil; f, _ = c.next() {
			lengths[len(f)]++
			if got := binary.BigEndian.Uint32(f[14:]); got != next {
				t.Fatalf("frame %d after %d", got, next)
			}
			next++
		}
	}
	for i := range uint32(count) {
		binary.BigEndian.PutUint32(frame[14:], i)
		send(t, fd, l.senderIndex, frame)
		if i%1000 == 0 {
			drain()
		}
	}
	close(done)
	wg.Wait()
	counts := c.waitSeen(count)
	drain()
	packets, drops := c.stats()
	if counts != (Counts{Seen: count}) || packets != count || drops != 0 || next != count {
		t.Errorf("%+v, socket: %d packets, %d drops, %d received", counts, packets, drops, next)
	}
	if lengths[60]+lengths[100] != count || swaps > 20 && (lengths[60] == 0 || lengths[100] == 0) {
		t.Errorf("lengths %v, want 60 and 100 only", lengths)
	}
	if n := bpfDescriptors(t); n != descriptors {
		t.Errorf("%d maps and programs open after %d swaps, %d before", n, swaps, descriptors)
	}
	t.Logf("%d swaps, lengths %v", swaps, lengths)
}

// bpfDescriptors counts the maps and programs that this process holds.
func bpfDescriptors(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(link, "anon_inode:bpf") {
			n++
		}
	}
	return n
}

// TestCountsBalance holds the equation of Counts in all stages of a filter.
func TestCountsBalance(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	c := openCapture(t, l.receiver, l.receiverIndex, Config{})
	// Accepts frames whose byte 14 is odd.
	odd := mustCompile(t, []bpf.RawInstruction{{Op: opLoadAbsB, K: 14}, {Op: opJumpSetK, K: 1, Jf: 1}, {Op: opRetK, K: 99}, {Op: opRetK}})
	burst := func(n int) {
		seen := c.waitSeen(0).Seen
		for i := range n {
			send(t, fd, l.senderIndex, ethernet(0x88b5, byte(i)))
		}
		c.waitSeen(seen + uint64(n))
	}
	burst(10) // before Set
	c.set(odd)
	burst(101)
	if err := c.filter.Stop(); err != nil {
		t.Fatal(err)
	}
	burst(7)
	if err := c.filter.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	counts := c.waitSeen(118)
	packets, drops := c.stats()
	if want := (Counts{Seen: 118, Excluded: 17, Inactive: 17}); counts != want || packets != 50 || drops != 0 {
		t.Errorf("%+v, %d packets, %d drops, want %+v, 50 packets", counts, packets, drops, want)
	}
	c.set(odd) // after Stop it can go on
	burst(2)
	if packets, _ := c.stats(); packets != 51 {
		t.Errorf("%d packets after another Set, want 51", packets)
	}
}

func TestClosedFilter(t *testing.T) {
	l := newLink(t)
	fd := openPacketSocket(t, l.sender)
	c := openCapture(t, l.receiver, l.receiverIndex, Config{})
	c.set(nil)
	if err := errors.Join(c.filter.Close(), c.filter.Close(), c.filter.Stop()); err != nil {
		t.Errorf("Close: %v", err)
	}
	send(t, fd, l.senderIndex, ethernet(0x88b5, 1))
	time.Sleep(10 * time.Millisecond)
	if f, _ := c.next(); f != nil {
		t.Errorf("a frame passed after Close: %x", f)
	}
	_, setErr := c.filter.Set(nil)
	_, countsErr := c.filter.Counts()
	for what, err := range map[string]error{"Set": setErr, "Counts": countsErr, "Attach": c.filter.Attach(c.fd)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func TestNewFilterRefuses(t *testing.T) {
	for _, cfg := range []Config{
		{SnapLen: -1}, {Direction: 3}, {LoopbackInterface: -1}, {View: 3}, {Flows: -1}, {Flows: maxShards + 1},
		{Shard: Shard{Index: 2, Count: 2}}, {Shard: Shard{Index: -1, Count: 2}}, {Shard: Shard{Count: maxShards + 1}}, {Shard: Shard{Index: 1}},
	} {
		if f, err := NewFilter(cfg); err == nil {
			f.Close()
			t.Errorf("NewFilter took %+v", cfg)
		}
	}
}

func TestPermissionError(t *testing.T) {
	var e *PermissionError
	if err := kernelError("x", unix.EPERM); !errors.As(err, &e) || e.Capability != "CAP_BPF" || !errors.Is(err, unix.EPERM) {
		t.Errorf("kernelError(EPERM) = %v", err)
	}
	if err := kernelError("x", unix.ENOMEM); errors.As(err, &e) || !errors.Is(err, unix.ENOMEM) {
		t.Errorf("kernelError(ENOMEM) = %v", err)
	}
}
