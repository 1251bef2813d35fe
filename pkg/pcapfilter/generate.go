package pcapfilter

import (
	"encoding/binary"
	"slices"

	"capstan/pkg/capture"
)

// generator turns an expression into a condition for frames of one link type.
// Nodes must be visited in the order in which they are written, since a tunnel
// moves the view for all that follow it.
type generator struct {
	values
	view
	linkType capture.LinkType
}

func newGenerator(t capture.LinkType) *generator {
	return &generator{values: values{known: make(map[valueKey]*value)}, view: viewOf(t), linkType: t}
}

func (n *logical) generate(g *generator) (*condition, error) {
	// A chain leans to the left and can be as long as the expression.
	var chain []*logical
	first := node(n)
	for b, ok := first.(*logical); ok; b, ok = first.(*logical) {
		chain = append(chain, b)
		first = b.left
	}
	slices.Reverse(chain)
	joined := never // the first is joined to it by or
	for next := []node{first}; ; {
		// Neighbours in a list of hosts or ports are one test.
		for len(chain) > 0 && chain[0].or && sameList(next[0], chain[0].right) {
			next = append(next, chain[0].right)
			chain = chain[1:]
		}
		c, err := g.list(next)
		if err != nil {
			return nil, err
		}
		joined = or(joined, c)
		for len(chain) > 0 && !chain[0].or {
			if c, err = chain[0].right.generate(g); err != nil {
				return nil, err
			}
			joined = and(joined, c)
			chain = chain[1:]
		}
		if len(chain) == 0 {
			return joined, nil
		}
		next = []node{chain[0].right}
		chain = chain[1:]
	}
}

// sameList reports whether a and b are values of the same qualifiers, so that
// a or b can be told by one look at a frame.
func sameList(a, b node) bool {
	switch a := a.(type) {
	case *host:
		b, ok := b.(*host)
		return ok && a.protocol == b.protocol && a.direction == b.direction && a.address.Is6() == b.address.Is6()
	case *ports:
		b, ok := b.(*ports)
		return ok && a.protocol == b.protocol && a.direction == b.direction
	}
	return false
}

// list returns the condition that one of the nodes holds, which are values of
// the same qualifiers if there are several. Their order doesn't matter, but to
// frames cut off between source and destination.
func (g *generator) list(nodes []node) (*condition, error) {
	switch nodes[0].(type) {
	case *host:
		return g.hosts(collect[*host](nodes))
	case *ports:
		return g.ports(collect[*ports](nodes))
	}
	return nodes[0].generate(g)
}

func collect[T node](nodes []node) []T {
	list := make([]T, len(nodes))
	for i, n := range nodes {
		list[i] = n.(T)
	}
	return list
}

func (n *negation) generate(g *generator) (*condition, error) {
	c, err := n.of.generate(g)
	if err != nil {
		return nil, err
	}
	return not(c), nil
}

// either joins the conditions for source and destination by direction.
func (d direction) join(source, destination *condition) *condition {
	switch d {
	case directionSource:
		return source
	case directionDestination:
		return destination
	case directionBoth:
		return and(source, destination)
	}
	return or(source, destination)
}

// Offsets of addresses in their headers: RFC 791, RFC 8200, RFC 826 for
// Ethernet and IPv4.
const (
	ipv4Source, ipv4Destination = 12, 16
	ipv6Source, ipv6Destination = 8, 24
	arpSource, arpDestination   = 14, 24
)

func (n *host) generate(g *generator) (*condition, error) { return g.hosts([]*host{n}) }

// hosts returns the condition that a frame is from or to one of the hosts,
// which have the same qualifiers and version of IP.
func (g *generator) hosts(list []*host) (*condition, error) {
	n := list[0]
	if n.address.Is6() {
		if n.protocol != nil && n.protocol != protoIP6 {
			return nil, errorAt(n.offset, "%s has no IPv6 addresses", n.protocol.name).hint("ip6 host, or host alone")
		}
		return g.hostsIn(protoIP6, list)
	}
	switch n.protocol {
	case protoIP, protoARP, protoRARP:
		return g.hostsIn(n.protocol, list)
	case protoIP6:
		return nil, errorAt(n.offset, "%s is no IPv6 address", n.address)
	case nil:
		ip, err := g.hostsIn(protoIP, list)
		if err != nil || g.labels > 0 {
			return ip, err // behind MPLS nothing but IP can be told
		}
		arp, err := g.hostsIn(protoARP, list)
		if err != nil {
			return nil, err
		}
		rarp, err := g.hostsIn(protoRARP, list)
		return or(ip, arp, rarp), err
	}
	if n.protocol.number == etherDECnet {
		return nil, errorAt(n.offset, "addresses of DECnet are not supported")
	}
	return nil, errorAt(n.offset, "%s has no IP addresses", n.protocol.name).hint("join: %s and host %s", n.protocol.name, n.address)
}

// hostsIn is hosts for addresses in the header of one protocol.
func (g *generator) hostsIn(p *protocol, list []*host) (*condition, error) {
	is, err := g.linkProtocol(p.number, list[0].offset)
	if err != nil {
		return nil, err
	}
	source, destination := uint32(arpSource), uint32(arpDestination)
	switch p {
	case protoIP:
		source, destination = ipv4Source, ipv4Destination
	case protoIP6:
		source, destination = ipv6Source, ipv6Destination
	}
	at := func(offset uint32) *condition {
		any := never
		for _, n := range list {
			any = or(any, g.sameBits(g.payload+offset, n.address.AsSlice(), n.mask.AsSlice()))
		}
		return any
	}
	return and(is, list[0].direction.join(at(source), at(destination))), nil
}

// sameBits returns the condition that the bytes at offset are those of want,
// as far as mask has ones. Their number is a multiple of 4.
func (g *generator) sameBits(offset uint32, want, mask []byte) *condition {
	same := always
	for i := 0; i < len(want); i += 4 {
		w, m := binary32(want[i:]), binary32(mask[i:])
		if m != 0 { // else the frame needn't even have the bytes
			same = and(same, is(g.masked(g.load(offset+uint32(i), 4), m), w&m))
		}
	}
	return same
}

func binary32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func (n *station) generate(g *generator) (*condition, error) {
	if g.header != headerEthernet {
		return nil, errorAt(n.offset, "frames of link type %s have no Ethernet addresses", g.linkType)
	}
	return n.direction.join(g.stationAt(6, n.address), g.stationAt(0, n.address)), nil
}

// stationAt returns the condition that address is at offset of the link
// header.
func (g *generator) stationAt(offset uint32, address [6]byte) *condition {
	return and(
		is(g.load(g.link+offset+2, 4), binary32(address[2:])),
		is(g.load(g.link+offset, 2), uint32(binary.BigEndian.Uint16(address[:]))),
	)
}

func (n *cast) generate(g *generator) (*condition, error) {
	switch {
	case n.protocol == nil || n.protocol == protoLink:
		if g.header != headerEthernet {
			return nil, errorAt(n.offset, "frames of link type %s have no Ethernet addresses", g.linkType)
		}
		if n.multi {
			return check(g.load(g.link, 1), anyBit, 1), nil
		}
		return g.stationAt(0, [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), nil
	case n.multi && n.protocol == protoIP:
		is4, err := g.linkProtocol(etherIPv4, n.offset)
		if err != nil {
			return nil, err
		}
		return and(is4, is(g.masked(g.load(g.payload+ipv4Destination, 1), 0xf0), 0xe0)), nil
	case n.multi && n.protocol == protoIP6:
		is6, err := g.linkProtocol(etherIPv6, n.offset)
		if err != nil {
			return nil, err
		}
		return and(is6, is(g.load(g.payload+ipv6Destination, 1), 0xff)), nil
	case n.protocol == protoIP:
		return nil, errorAt(n.offset, "ip broadcast needs the interface's network mask, which is not known").hint("give the address: dst host 192.0.2.255")
	}
	return nil, errorAt(n.offset, "%s has no such addresses", n.protocol.name).hint("ether, ip and ip6 have")
}

// packetOutgoing is PACKET_OUTGOING of linux/if_packet.h.
const packetOutgoing = 4

func (n *travel) generate(g *generator) (*condition, error) {
	var outgoing *condition
	switch g.linkType {
	case capture.LinkTypeLinuxSLL:
		outgoing = is(g.load(0, 2), packetOutgoing)
	case capture.LinkTypeLinuxSLL2:
		outgoing = is(g.load(10, 1), packetOutgoing)
	default:
		return nil, errorAt(n.offset, "frames of link type %s don't tell their direction", g.linkType).
			hint("a device parameter does: dir=in or dir=out")
	}
	if n.outbound {
		return outgoing, nil
	}
	return not(outgoing), nil
}

func (n *interfaceIndex) generate(g *generator) (*condition, error) {
	if g.linkType != capture.LinkTypeLinuxSLL2 {
		return nil, errorAt(n.offset, "frames of link type %s don't tell their interface", g.linkType)
	}
	return is(g.load(4, 4), n.index), nil
}
