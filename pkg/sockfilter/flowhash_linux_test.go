package sockfilter

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"capstan/pkg/flow"
	"capstan/pkg/netns"
)

// ipPacket returns a packet without checksums.
func ipPacket(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	var p []byte
	if src.Is4() {
		p = ipv4(protocol, 0, 0, payload)
		copy(p[12:], src.AsSlice())
		copy(p[16:], dst.AsSlice())
		return p
	}
	p = ipv6(protocol, payload)
	copy(p[8:], src.AsSlice())
	copy(p[24:], dst.AsSlice())
	return p
}

// etherTypeOf returns the EtherType of an IP packet.
func etherTypeOf(packet []byte) uint16 {
	if packet[0]>>4 == 4 {
		return etherTypeIPv4
	}
	return etherTypeIPv6
}

func inEthernet(packet []byte) []byte { return ethernet(etherTypeOf(packet), packet...) }

// flowCase makes a frame of a flow. Outer headers are made of random numbers,
// as those of tunnels differ between the directions.
type flowCase struct {
	name  string
	v6    bool
	ports bool // else the flow has none
	none  bool // no flow at all
	frame func(r *rand.Rand, src, dst netip.AddrPort) []byte
}

func tcpPacket(src, dst netip.AddrPort) []byte {
	return ipPacket(src.Addr(), dst.Addr(), protoTCP, segment(src.Port(), dst.Port(), "some payload"))
}

// inUDP puts a tunnel's payload behind a UDP header with a random source port.
func inUDP(r *rand.Rand, port uint16, payload []byte) []byte {
	u := binary.BigEndian.AppendUint16(nil, uint16(r.Uint32())|0x8000)
	u = binary.BigEndian.AppendUint16(u, port)
	u = append(u, 0, 0, 0, 0)
	return inEthernet(ipPacket(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), protoUDP, append(u, payload...)))
}

// inOuter puts a packet behind an IPv6 header.
func inOuter(protocol byte, payload []byte) []byte {
	return inEthernet(ipPacket(netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), protocol, payload))
}

func flowCases() []flowCase {
	extension := func(first byte, headers []byte) func(*rand.Rand, netip.AddrPort, netip.AddrPort) []byte {
		return func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inEthernet(ipPacket(src.Addr(), dst.Addr(), first, append(headers, segment(src.Port(), dst.Port(), "")...)))
		}
	}
	return []flowCase{
		{name: "TCP", ports: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte { return inEthernet(tcpPacket(src, dst)) }},
		{name: "TCP over IPv6", ports: true, v6: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte { return inEthernet(tcpPacket(src, dst)) }},
		{name: "UDP, IP options", ports: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			p := ipv4(protoUDP, 0, 8, segment(src.Port(), dst.Port(), ""))
			copy(p[12:], src.Addr().AsSlice())
			copy(p[16:], dst.Addr().AsSlice())
			return inEthernet(p)
		}},
		{name: "SCTP", ports: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inEthernet(ipPacket(src.Addr(), dst.Addr(), protoSCTP, segment(src.Port(), dst.Port(), "")))
		}},
		{name: "OSPF", frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inEthernet(ipPacket(src.Addr(), dst.Addr(), 89, make([]byte, 40)))
		}},
		{name: "echo", frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inEthernet(ipPacket(src.Addr(), dst.Addr(), protoICMP, []byte{8, 0, 0, 0, 1, 2, 3, 4}))
		}},
		{name: "echo over IPv6", v6: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inEthernet(ipPacket(src.Addr(), dst.Addr(), protoICMPv6, []byte{128, 0, 0, 0, 1, 2, 3, 4}))
		}},
		{name: "VLAN", ports: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return ethernet(etherTypeVLAN, append([]byte{0, 10, 8, 0}, tcpPacket(src, dst)...)...)
		}},
		{name: "two VLAN tags, IPv6", ports: true, v6: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return ethernet(etherTypeQinQ, append([]byte{0, 10, 0x81, 0, 0, 20, 0x86, 0xdd}, tcpPacket(src, dst)...)...)
		}},
		{name: "IPv6 options and routing", ports: true, v6: true, frame: extension(0, []byte{43, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0})},
		{name: "IPv6 authentication", ports: true, v6: true, frame: extension(51, append([]byte{6, 4}, make([]byte, 22)...))},
		{name: "IPv6 atomic fragment", ports: true, v6: true, frame: extension(44, []byte{6, 0, 0, 0, 1, 2, 3, 4})},
		{name: "IPv6 first fragment", none: true, v6: true, frame: extension(44, []byte{6, 0, 0, 1, 1, 2, 3, 4})},
		{name: "IPv6 later fragment", none: true, v6: true, frame: extension(44, []byte{6, 0, 0, 16, 1, 2, 3, 4})},
		{name: "first fragment", none: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			f := inEthernet(tcpPacket(src, dst))
			f[20] = 0x20
			return f
		}},
		{name: "later fragment", none: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			f := inEthernet(tcpPacket(src, dst))
			f[21] = 9
			return f
		}},
		{name: "cut before the ports", none: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte { return inEthernet(tcpPacket(src, dst))[:36] }},
		{name: "ARP", none: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte { return ethernet(etherTypeARP, make([]byte, 28)...) }},
		{name: "VXLAN", ports: true, frame: func(r *rand.Rand, src, dst netip.AddrPort) []byte {
			return inUDP(r, portVXLAN, append([]byte{8, 0, 0, 0, 0, 0, 7, 0}, inEthernet(tcpPacket(src, dst))...))
		}},
		{name: "VXLAN, ARP", none: true, frame: func(r *rand.Rand, src, dst netip.AddrPort) []byte {
			return inUDP(r, portVXLAN, append([]byte{8, 0, 0, 0, 0, 0, 7, 0}, ethernet(etherTypeARP, make([]byte, 28)...)...))
		}},
		{name: "Geneve with options, IPv6", ports: true, v6: true, frame: func(r *rand.Rand, src, dst netip.AddrPort) []byte {
			return inUDP(r, portGeneve, append([]byte{2, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4, 5, 6, 7, 8}, inEthernet(tcpPacket(src, dst))...))
		}},
		{name: "Geneve without Ethernet", ports: true, frame: func(r *rand.Rand, src, dst netip.AddrPort) []byte {
			return inUDP(r, portGeneve, append([]byte{0, 0, 8, 0, 0, 0, 7, 0}, tcpPacket(src, dst)...))
		}},
		{name: "GRE with key and checksum", ports: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inOuter(protoGRE, append([]byte{0xa0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 9}, tcpPacket(src, dst)...))
		}},
		{name: "GRE with Ethernet", ports: true, v6: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inOuter(protoGRE, append([]byte{0, 0, 0x65, 0x58}, inEthernet(tcpPacket(src, dst))...))
		}},
		{name: "PPTP", none: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inOuter(protoGRE, append([]byte{0x30, 1, 0x88, 0x0b}, tcpPacket(src, dst)...))
		}},
		{name: "IPv4 in IPv6", ports: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte { return inOuter(protoIPv4, tcpPacket(src, dst)) }},
		{name: "IPv6 in IPv6", ports: true, v6: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte { return inOuter(protoIPv6, tcpPacket(src, dst)) }},
		{name: "unreachable", ports: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inEthernet(ipPacket(dst.Addr(), src.Addr(), protoICMP, append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, tcpPacket(src, dst)[:28]...)))
		}},
		{name: "unreachable, by a router, in VXLAN", ports: true, frame: func(r *rand.Rand, src, dst netip.AddrPort) []byte {
			icmp := ipPacket(netip.MustParseAddr("198.51.100.7"), src.Addr(), protoICMP, append([]byte{11, 0, 0, 0, 0, 0, 0, 0}, tcpPacket(src, dst)[:28]...))
			return inUDP(r, portVXLAN, append([]byte{8, 0, 0, 0, 0, 0, 7, 0}, inEthernet(icmp)...))
		}},
		{name: "packet too big", ports: true, v6: true, frame: func(_ *rand.Rand, src, dst netip.AddrPort) []byte {
			return inEthernet(ipPacket(netip.MustParseAddr("2001:db8::9"), src.Addr(), protoICMPv6, append([]byte{2, 0, 0, 0, 0, 0, 5, 0}, tcpPacket(src, dst)...)))
		}},
	}
}

// randomEnds returns two endpoints of few possible addresses and ports, so that
// some are equal.
func randomEnds(r *rand.Rand, v6 bool) (a, b netip.AddrPort) {
	end := func() netip.AddrPort {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(2)), byte(r.IntN(3))})
		if v6 {
			raw := [16]byte{0xfd, byte(r.IntN(2)), 7: byte(r.IntN(2)), 15: byte(r.IntN(3))}
			addr = netip.AddrFrom16(raw)
		}
		return netip.AddrPortFrom(addr, []uint16{80, 0x1234, 40000, 65535}[r.IntN(4)])
	}
	return end(), end()
}

// sentFlow is a frame with the hash of its flow.
type sentFlow struct {
	name  string
	frame []byte
	hash  uint64
	none  bool
}

// flowFrames returns frames of all cases in both directions, each with a number
// in its destination address.
func flowFrames(r *rand.Rand, perCase int) (frames []sentFlow) {
	for _, tt := range flowCases() {
		for range perCase {
			a, b := randomEnds(r, tt.v6)
			ka, kb := a, b
			if !tt.ports {
				ka, kb = netip.AddrPortFrom(a.Addr(), 0), netip.AddrPortFrom(b.Addr(), 0)
			}
			key, _ := flow.NewKey(flow.EndpointFrom(ka), flow.EndpointFrom(kb))
			for _, frame := range [][]byte{tt.frame(r, a, b), tt.frame(r, b, a)} {
				binary.BigEndian.PutUint16(frame[2:], uint16(len(frames)))
				frames = append(frames, sentFlow{tt.name, frame, key.Hash(), tt.none})
			}
		}
	}
	return frames
}

// collect sends the frames over l and returns how often each came out of the
// filters, which are attached to both ends.
func collect(t *testing.T, l *link, frames []sentFlow, configs []Config) (in, out [][]int) {
	t.Helper()
	open := func(n *netns.NS, index int) (captures []*capturer) {
		for _, cfg := range configs {
			c := openCapture(t, n, index, cfg)
			c.set(nil)
			captures = append(captures, c)
		}
		return captures
	}
	fd := openPacketSocket(t, l.sender)
	receivers, senders := open(l.receiver, l.receiverIndex), open(l.sender, l.senderIndex)
	for _, f := range frames {
		send(t, fd, l.senderIndex, f.frame)
	}
	drain := func(captures []*capturer) [][]int {
		which := make([][]int, len(frames))
		for i, c := range captures {
			c.waitSeen(uint64(len(frames)))
			for f, _ := c.next(); f != nil; f, _ = c.next() {
				number := binary.BigEndian.Uint16(f[2:])
				which[number] = append(which[number], i)
			}
		}
		return which
	}
	return drain(receivers), drain(senders)
}

// TestShards holds that the filters of all shards together keep each frame
// once, in the shard of pkg/flow's hash.
func TestShards(t *testing.T) {
	l := newLink(t)
	r := rand.New(rand.NewPCG(7, 1))
	frames := flowFrames(r, 12)
	const shards = 3
	var configs []Config
	for i := range shards {
		configs = append(configs, Config{Shard: Shard{i, shards}})
	}
	in, out := collect(t, l, frames, configs)
	for i, f := range frames {
		want := int(f.hash % shards)
		if f.none {
			want = 0
		}
		if len(in[i]) != 1 || in[i][0] != want {
			t.Errorf("%s: received in shards %d, want %d\nframe %x", f.name, in[i], want, f.frame)
		}
		if len(out[i]) != 1 || out[i][0] != want {
			t.Errorf("%s: sent in shards %d, want %d\nframe %x", f.name, out[i], want, f.frame)
		}
	}
}

// TestFlows holds that whole connections are kept, and the right share.
func TestFlows(t *testing.T) {
	l := newLink(t)
	r := rand.New(rand.NewPCG(7, 2))
	const n, connections = 4, 2000
	var frames []sentFlow
	for i := range connections {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(r.IntN(250)), byte(r.IntN(250))}), uint16(1024+i))
		b := netip.MustParseAddrPort("10.2.0.1:443")
		key, _ := flow.NewKey(flow.EndpointFrom(a), flow.EndpointFrom(b))
		for _, frame := range [][]byte{inEthernet(tcpPacket(a, b)), inEthernet(tcpPacket(b, a))} {
			binary.BigEndian.PutUint16(frame[2:], uint16(len(frames)))
			frames = append(frames, sentFlow{"TCP", frame, key.Hash(), false})
		}
	}
	frames = append(frames, sentFlow{"ARP", append([]byte{2, 0, 0x0f, 0xa0}, ethernet(etherTypeARP, make([]byte, 28)...)[4:]...), 0, true})
	in, _ := collect(t, l, frames, []Config{{Flows: n}})
	kept := 0
	for i, f := range frames {
		want := !f.none && (f.hash>>32)%n == 0
		if got := len(in[i]) == 1; got != want {
			t.Fatalf("%s %d: kept: %v, want %v", f.name, i, got, want)
		}
		if want {
			kept++
		}
	}
	// 500 connections of 2,000, standard deviation 19.
	if share := kept / 2; share < connections/n-100 || share > connections/n+100 {
		t.Errorf("%d of %d connections kept, want about %d", share, connections, connections/n)
	}
}

func TestInterfaces(t *testing.T) {
	l := newLink(t)
	table, err := NewInterfaceTable()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	fd := openPacketSocket(t, l.sender)
	c := openCapture(t, l.receiver, 0, Config{Interfaces: table})
	c.set(nil)
	for _, step := range []struct {
		name string
		do   func(int) error
		want bool // passes
	}{
		{"unknown", func(int) error { return nil }, true},
		{"excluded", table.Exclude, false},
		{"included", table.Include, true},
		{"included again", table.Include, true},
	} {
		if err := step.do(l.receiverIndex); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		seen := c.waitSeen(0).Seen
		send(t, fd, l.senderIndex, ethernet(0x88b5, 1, 2, 3))
		c.waitSeen(seen + 1)
		if f, _ := c.next(); (f != nil) != step.want {
			t.Errorf("%s: passed: %v", step.name, f != nil)
		}
	}
	if err := table.Exclude(0); err == nil {
		t.Error("took interface 0")
	}
}
