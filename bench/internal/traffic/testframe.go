package traffic

import "encoding/binary"

// tcpAck is the acknowledgement number of all test segments: their servers
// never send anything.
const tcpAck = 1

// testFrames makes numbered frames. All start as a copy of one template; only
// what differs is written, and checksums are made from sums of the parts.
type testFrames struct {
	// immutable
	seed     uint64
	template []byte // headers of a frame with zero length, host numbers and client port
	ipSum    uint64 // of the template's IPv4 header
	sum      uint64 // of the template's transport and pseudo-header
	lengths  []int  // of the frames, in turn, without tag
	flows    int
	vlans    []uint16
	ipv6     bool
	tcp      bool
	count    uint64 // 0: endless
	tag      int    // length of the tag
	network  int    // offsets in a frame
	transp   int
	payload  int

	seq, bytes uint64
	turn       int      // in lengths
	flow       int      // next one
	vlan       int      // of the next flow
	next32     []uint32 // next TCP sequence number of each flow
}

func newTestFrames(p *Plan, lengths []int) *testFrames {
	t := &testFrames{
		seed: p.Seed, lengths: lengths, flows: p.Flows, vlans: p.VLAN,
		ipv6: p.IPv6, tcp: p.Kind == TCP, count: p.Count,
	}
	l := link{ipv6: p.IPv6, tagged: len(p.VLAN) > 0}
	b := l.appendEthernet(nil, client)
	t.network = len(b)
	t.tag = t.network - ethernetLen
	protocol := uint8(protocolUDP)
	if t.tcp {
		protocol = protocolTCP
	}
	b, pseudo := l.appendIP(b, client, [2]uint16{}, protocol, 0, 0)
	t.transp = len(b)
	if t.tcp {
		b = appendTCP(b, 0, discardPort, 0, tcpAck, flagACK|flagPSH, window, nil)
		t.next32 = make([]uint32, t.flows)
		for i := range t.next32 {
			t.next32[i] = uint32(mix(t.seed ^ uint64(i)))
		}
	} else {
		b = appendUDP(b, 0, discardPort, -udpLen) // the length is added per frame
	}
	t.payload, t.template = len(b), b
	t.sum = pseudo + sum(b[t.transp:])
	if !t.ipv6 {
		clear(b[t.network+ipv4ChecksumAt:][:2])
		binary.BigEndian.PutUint16(b[t.network+ipv4LengthAt:], 0)
		t.ipSum = sum(b[t.network:t.transp])
	}
	return t
}

// next makes one frame. The mark's time is zero until [Frame.Stamp].
func (t *testFrames) next(f *Frame) bool {
	if t.count != 0 && t.seq >= t.count {
		return false
	}
	total := t.lengths[t.turn] + t.tag
	b := f.resize(total)
	copy(b, t.template)
	n := total - t.transp
	s := t.sum + t.putFlow(b, n)

	h := mix(t.seq)
	putMark(b[t.payload:], t.seq, h)
	rest, off := b[t.payload+MarkLen:], patternOffset(h)
	copy(rest, patterns.bytes[off:])
	s += sum(b[t.payload:t.payload+MarkLen]) + patterns.sum(off, len(rest))

	f.Seq, f.stamp = t.seq, t.payload+markTimeAt
	f.checksum = t.transp + udpChecksumAt
	if t.tcp {
		f.checksum = t.transp + tcpChecksumAt
	}
	binary.BigEndian.PutUint16(b[f.checksum:], transportChecksum(s))
	t.advance(total, n)
	return true
}

// putFlow writes addresses, ports and lengths of a frame with n bytes behind
// the network header, and returns what they add to the transport's sum.
func (t *testFrames) putFlow(b []byte, n int) uint64 {
	from, to := t.endpoints(t.flow)
	s := uint64(from.host) + uint64(from.port) + uint64(to.host) + uint64(n)
	network := b[t.network:t.transp]
	if t.tag != 0 {
		binary.BigEndian.PutUint16(b[ethernetLen:], t.vlans[t.vlan])
	}
	if t.ipv6 {
		binary.BigEndian.PutUint16(network[ipv6LengthAt:], uint16(n))
		binary.BigEndian.PutUint16(network[ipv6SourceAt+14:], from.host)
		binary.BigEndian.PutUint16(network[ipv6SourceAt+30:], to.host)
	} else {
		length, id := uint16(ipv4Len+n), uint16(t.seq)
		binary.BigEndian.PutUint16(network[ipv4LengthAt:], length)
		binary.BigEndian.PutUint16(network[ipv4IDAt:], id)
		binary.BigEndian.PutUint16(network[ipv4SourceAt+2:], from.host)
		binary.BigEndian.PutUint16(network[ipv4SourceAt+6:], to.host)
		ip := t.ipSum + uint64(length) + uint64(id) + uint64(from.host) + uint64(to.host)
		binary.BigEndian.PutUint16(network[ipv4ChecksumAt:], ^fold(ip))
	}
	transp := b[t.transp:]
	binary.BigEndian.PutUint16(transp, from.port)
	if t.tcp {
		seq := t.next32[t.flow]
		binary.BigEndian.PutUint32(transp[tcpSeqAt:], seq)
		return s + uint64(seq)
	}
	binary.BigEndian.PutUint16(transp[udpLengthAt:], uint16(n))
	return s + uint64(n)
}

// advance goes to the next number, length and flow.
func (t *testFrames) advance(total, n int) {
	t.seq++
	t.bytes += uint64(total)
	if t.turn++; t.turn == len(t.lengths) {
		t.turn = 0
	}
	if t.tcp {
		t.next32[t.flow] += uint32(n - tcpLen)
	}
	if t.vlan++; t.vlan >= len(t.vlans) {
		t.vlan = 0
	}
	if t.flow++; t.flow == t.flows {
		t.flow, t.vlan = 0, 0
	}
}

// endpoints returns the two ends of a flow. Flows differ in the client's host
// or, beyond 2¹⁶ of them, in the lowest bits of its port.
func (t *testFrames) endpoints(flow int) (from, to endpoint) {
	h := mix(t.seed + uint64(flow))
	from = endpoint{host: uint16(flow) ^ uint16(mix(t.seed)), port: 0xc000 | uint16(h)&0x3ff0 | uint16(flow>>16)}
	return from, endpoint{host: 1 + uint16(h>>16)&0xff, port: discardPort}
}

func (t *testFrames) counts() Counts { return Counts{Frames: t.seq, Bytes: t.bytes} }
