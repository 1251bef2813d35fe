package pcapfilter

// Offsets in IPv4 (RFC 791), IPv6 (RFC 8200) and in TCP, UDP and SCTP, which
// all begin with source and destination port.
const (
	ipv4Fragment    = 6 // flags and fragment offset
	ipv4Protocol    = 9
	ipv6NextHeader  = 6
	sourcePort      = 0
	destinationPort = 2

	fragmentOffsetMask = 0x1fff
	fragmentHeader     = 44 // IPv6's extension header of a fragment
)

func (n *keyword) generate(g *generator) (*condition, error) {
	return g.protocol(n.protocol, n.offset)
}

// protocol returns the condition that a frame is of protocol p.
func (g *generator) protocol(p *protocol, offset int) (*condition, error) {
	switch p.layer {
	case layerNetwork:
		return g.linkProtocol(p.number, offset)
	case layerTransport:
		return g.ipProtocol(p.family, p.number, offset)
	case layerISO:
		return g.isoProtocol(p.number, offset)
	}
	return nil, errorAt(offset, "%s alone is no test", p.name).hint("such as %s host 02:00:00:00:00:01", p.name)
}

// ipProtocol returns the condition that a frame is IP of a family with this
// protocol, in the header or behind a fragment header of IPv6.
func (g *generator) ipProtocol(f family, number uint32, offset int) (*condition, error) {
	matches := never
	if f != familyIPv6 {
		is4, err := g.linkProtocol(etherIPv4, offset)
		if err != nil {
			return nil, err
		}
		matches = or(matches, and(is4, is(g.load(g.payload+ipv4Protocol, 1), number)))
	}
	if f != familyIPv4 {
		is6, err := g.linkProtocol(etherIPv6, offset)
		if err != nil {
			return nil, err
		}
		next := g.load(g.payload+ipv6NextHeader, 1)
		behind := g.load(g.payload+ipv6HeaderLen, 1)
		matches = or(matches, and(is6, or(is(next, number), and(is(next, fragmentHeader), is(behind, number)))))
	}
	return matches, nil
}

// isoProtocol returns the condition that a frame is of a protocol of ISO's
// network layer: the first byte behind a 3-byte LLC header.
//
// Deviation: libpcap expects no LLC header in cooked frames, though that is
// what it found the ISO protocol by.
func (g *generator) isoProtocol(number uint32, offset int) (*condition, error) {
	iso, err := g.linkProtocol(sapISO, offset)
	if err != nil {
		return nil, err
	}
	return and(iso, is(g.load(g.isoHeader(), 1), number)), nil
}

// isoHeader returns the offset of the header of ISO's network layer.
func (g *generator) isoHeader() uint32 {
	if g.header == headerPPP {
		return g.payload
	}
	return g.payload + 3
}

func (n *number) generate(g *generator) (*condition, error) {
	f := familyAny
	switch n.protocol {
	case protoLink:
		if n.value > 0xffff {
			return nil, errorAt(n.offset, "protocol %d is more than 65535", n.value)
		}
		if n.value > 0xff && n.value <= maxEthernetLength {
			return nil, errorAt(n.offset, "protocol %d is neither an EtherType nor a service access point", n.value)
		}
		return g.linkProtocol(n.value, n.offset)
	case nil:
	case protoIP:
		f = familyIPv4
	case protoIP6:
		f = familyIPv6
	case protoISO:
		return g.isoProtocol(n.value, n.offset)
	case protoISIS:
		return g.isisType(n.value, n.offset)
	default:
		return nil, errorAt(n.offset, "%s proto is not supported", n.protocol.name).hint("ether, ip, ip6, iso and isis proto are")
	}
	if n.value > 0xff {
		return nil, errorAt(n.offset, "protocol %d is more than 255", n.value)
	}
	return g.ipProtocol(f, n.value, n.offset)
}

func (n *ports) generate(g *generator) (*condition, error) { return g.ports([]*ports{n}) }

// ports returns the condition that a frame is from or to one of the ports,
// which have the same qualifiers.
func (g *generator) ports(list []*ports) (*condition, error) {
	transports := []*protocol{protoTCP, protoUDP, protoSCTP}
	if p := list[0].protocol; p != nil {
		transports = []*protocol{p}
	}
	is6, err := g.linkProtocol(etherIPv6, list[0].offset)
	if err != nil {
		return nil, err
	}
	is4, err := g.linkProtocol(etherIPv4, list[0].offset)
	if err != nil {
		return nil, err
	}
	any6, any4 := never, never
	for _, t := range transports {
		any6 = or(any6, is(g.load(g.payload+ipv6NextHeader, 1), t.number))
		any4 = or(any4, is(g.load(g.payload+ipv4Protocol, 1), t.number))
	}
	header := g.payload + ipv6HeaderLen
	ports6 := list[0].direction.join(within(g.load(header+sourcePort, 2), list), within(g.load(header+destinationPort, 2), list))
	base := g.headerLength(g.payload)
	ports4 := list[0].direction.join(within(g.loadAt(base, g.payload+sourcePort, 2), list), within(g.loadAt(base, g.payload+destinationPort, 2), list))
	return or(and(is6, any6, ports6), and(is4, any4, g.firstFragment(), ports4)), nil
}

// within returns the condition that v is one of the ports.
func within(v *value, list []*ports) *condition {
	any := never
	for _, n := range list {
		if n.first == n.last {
			any = or(any, is(v, uint32(n.first)))
		} else {
			any = or(any, and(check(v, greaterEqual, uint32(n.first)), not(check(v, greater, uint32(n.last)))))
		}
	}
	return any
}

// firstFragment returns the condition that an IPv4 packet has its transport
// header: it is no fragment, or the first.
func (g *generator) firstFragment() *condition {
	return not(check(g.load(g.payload+ipv4Fragment, 2), anyBit, fragmentOffsetMask))
}
