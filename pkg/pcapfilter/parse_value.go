package pcapfilter

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// value parses what stands behind qualifiers: an address, a network, a port, a
// protocol, several of them in parentheses, or one negated.
func (p *parser) value(q qualifiers) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	switch {
	case p.accept("not"):
		n, err := p.value(q)
		if err != nil {
			return nil, err
		}
		return &negation{n}, nil
	case p.accept("("):
		n, _, err := p.expression(q)
		if err == nil {
			err = p.expect(")")
		}
		return n, err
	}
	t := p.peek()
	if q.kind == kindNone {
		return nil, errorAt(t.offset, "%s needs to be told what it is", t).hint("host, net, port, portrange or proto")
	}
	switch q.kind {
	case kindPort:
		return p.port(q)
	case kindRange:
		return p.portRange(q)
	case kindProto:
		return p.protocolNumber(q)
	}
	return p.address(q)
}

// address parses the value of host and net.
func (p *parser) address(q qualifiers) (node, error) {
	switch t := p.take(); t.kind {
	case tokenNumber:
		return numericHost(q, t), nil
	case tokenIPv4:
		return p.dotted(q, t)
	case tokenIPv6:
		return p.address6(q, t)
	case tokenEthernet:
		if q.protocol != protoLink || q.kind != kindHost {
			return nil, errorAt(t.offset, "Ethernet address %s is no IP address", t).hint("ether host %s", t.text)
		}
		return &station{qualifiers: q, offset: t.offset, address: t.mac}, nil
	case tokenWord, tokenName:
		if t.kind == tokenName || !reserved(t.text) {
			return nil, errorAt(t.offset, "%s is a name, and names are not looked up", t).hint("give the address")
		}
		return nil, errorAt(t.offset, "%s where an address was expected", t)
	default:
		return nil, errorAt(t.offset, "%s where an address was expected", t)
	}
}

// numericHost is an IPv4 address given as one number; of a network with
// leading zero bytes it is the significant part ("net 10").
func numericHost(q qualifiers, t *token) node {
	address, mask := t.number, uint32(0xffffffff)
	if q.kind == kindNet {
		for address != 0 && address < 1<<24 {
			address <<= 8
			mask <<= 8
		}
	}
	return &host{qualifiers: q, offset: t.offset, address: ipv4(address), mask: ipv4(mask)}
}

func ipv4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

// dotted parses what follows an IPv4 address: nothing, "/N" or "mask M".
func (p *parser) dotted(q qualifiers, t *token) (node, error) {
	address, bits, err := parseDotted(t)
	if err != nil {
		return nil, err
	}
	mask := ^uint32(0) << (32 - bits)
	switch {
	case p.accept("/"):
		length := p.take()
		if length.kind != tokenNumber || length.number > 32 {
			return nil, errorAt(length.offset, "%s is no prefix length of IPv4", length).hint("0 to 32")
		}
		mask = uint32(uint64(0xffffffff) << (32 - length.number))
		return network(q, t, address, mask)
	case p.accept("mask"):
		m := p.take()
		if m.kind != tokenIPv4 {
			return nil, errorAt(m.offset, "%s is no network mask", m).hint("such as 255.255.255.0")
		}
		if mask, _, err = parseDotted(m); err != nil {
			return nil, err
		}
		return network(q, t, address, mask)
	}
	return &host{qualifiers: q, offset: t.offset, address: ipv4(address), mask: ipv4(mask)}, nil
}

// network returns a network with a mask that was written.
func network(q qualifiers, t *token, address, mask uint32) (node, error) {
	if address&^mask != 0 {
		return nil, errorAt(t.offset, "%s has bits beyond its mask", t).hint("the network is %s", ipv4(address&mask))
	}
	if q.kind != kindNet {
		return nil, errorAt(t.offset, "a network where a host was expected").hint("net %s", t.text)
	}
	return &host{qualifiers: q, offset: t.offset, address: ipv4(address), mask: ipv4(mask)}, nil
}

// parseDotted returns an address of two to four parts, to the left, and how
// many bits of it were given.
func parseDotted(t *token) (address uint32, bits int, err error) {
	for part := range strings.SplitSeq(t.text, ".") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return 0, 0, errorAt(t.offset, "%s is no IPv4 address", t).hint("no part may exceed 255")
		}
		address = address<<8 | uint32(n)
		bits += 8
	}
	return address << (32 - bits), bits, nil
}

// address6 parses what follows an IPv6 address: nothing or "/N".
func (p *parser) address6(q qualifiers, t *token) (node, error) {
	bits := 128
	if p.accept("/") {
		length := p.take()
		if length.kind != tokenNumber || length.number > 128 {
			return nil, errorAt(length.offset, "%s is no prefix length of IPv6", length).hint("0 to 128")
		}
		bits = int(length.number)
	}
	prefix := netip.PrefixFrom(t.ip, bits)
	if prefix.Masked().Addr() != t.ip {
		return nil, errorAt(t.offset, "%s has bits beyond its prefix", t).hint("the network is %s", prefix.Masked())
	}
	if q.kind != kindNet && bits != 128 {
		return nil, errorAt(t.offset, "a network where a host was expected").hint("net %s", prefix)
	}
	return &host{qualifiers: q, offset: t.offset, address: t.ip, mask: mask6(bits)}, nil
}

// mask6 returns an address of bits ones, then zeros.
func mask6(bits int) netip.Addr {
	var b [16]byte
	for i := range bits {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b)
}

// port parses the value of port.
func (p *parser) port(q qualifiers) (node, error) {
	t := p.take()
	n, protocol, err := portNumber(t, t.text, t.number)
	if err == nil {
		q.protocol, err = portProtocol(q.protocol, protocol, t)
	}
	return &ports{qualifiers: q, offset: t.offset, first: n, last: n}, err
}

// portRange parses the value of portrange: FIRST-LAST, or one port.
func (p *parser) portRange(q qualifiers) (node, error) {
	t := p.take()
	first, last, found := strings.Cut(t.text, "-")
	if !found || t.kind != tokenWord {
		p.next--
		return p.port(q)
	}
	var ends [2]uint16
	var protocol *protocol
	for i, text := range []string{first, last} {
		number, err := strconv.ParseUint(text, 0, 32)
		end := token{kind: tokenNumber, offset: t.offset, text: text, number: uint32(number)}
		if err != nil {
			end.kind = tokenWord
		}
		port, named, err := portNumber(&end, text, end.number)
		if err != nil {
			return nil, err
		}
		if ends[i] = port; i == 0 {
			protocol = named
		} else if named != protocol {
			protocol = nil
		}
	}
	protocol, err := portProtocol(q.protocol, protocol, t)
	q.protocol = protocol
	return &ports{qualifiers: q, offset: t.offset, first: min(ends[0], ends[1]), last: max(ends[0], ends[1])}, err
}

// portNumber returns the port that t is the number or the name of. If the
// service has the port with one protocol only, that is returned too.
func portNumber(t *token, text string, number uint32) (uint16, *protocol, error) {
	switch t.kind {
	case tokenNumber:
		if number > 0xffff {
			return 0, nil, errorAt(t.offset, "port %s is more than 65535", text)
		}
		return uint16(number), nil, nil
	case tokenWord, tokenName:
		if s, ok := services[text]; ok {
			return s.port, s.only, nil
		}
		return 0, nil, errorAt(t.offset, "unknown port %s", t).hint("give its number")
	}
	return 0, nil, errorAt(t.offset, "%s where a port was expected", t)
}

// portProtocol joins the protocol that was asked for with that of a service's
// name.
func portProtocol(asked, named *protocol, t *token) (*protocol, error) {
	if asked != nil && !asked.ports {
		return nil, errorAt(t.offset, "%s has no ports", asked.name).hint("tcp, udp and sctp have")
	}
	if asked == nil || named == nil || asked == named {
		if asked == nil {
			return named, nil
		}
		return asked, nil
	}
	return nil, errorAt(t.offset, "service %s is one of %s", t, named.name).hint("give the port's number")
}

// protocolNumber parses the value of proto. Keywords need no backslash here.
func (p *parser) protocolNumber(q qualifiers) (node, error) {
	names := ipProtocolNames
	switch q.protocol {
	case protoLink:
		names = linkProtocolNames
	case protoISO:
		names = isoProtocolNames
	}
	t := p.take()
	n := t.number
	if t.kind != tokenNumber {
		var ok bool
		if n, ok = names[t.text]; !ok || t.kind != tokenWord && t.kind != tokenName {
			return nil, errorAt(t.offset, "unknown protocol %s", t).hint("give its number")
		}
	}
	return &number{qualifiers: q, offset: t.offset, value: n}, nil
}
