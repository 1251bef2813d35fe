package pcapfilter

import "capstan/pkg/capture"

// header is how a link header tells what its payload is.
type header uint8

const (
	headerUnknown  header = iota // only its bytes and the frame's length can be tested
	headerEthernet               // a 16-bit EtherType, or a length before an LLC header
	headerCooked                 // a 16-bit EtherType, or one of Linux's numbers for LLC
	headerPPP                    // a 16-bit PPP protocol number
	headerFamily                 // a 32-bit address family
	headerVersion                // none: the payload begins with an IP version
	headerIPv4                   // none: the payload is IPv4
	headerIPv6                   // none: the payload is IPv6
)

// view is where the generator looks for things in a frame. A tunnel moves it.
type view struct {
	header  header
	link    uint32 // offset of the link header
	typ     uint32 // offset of what tells the payload's protocol
	payload uint32 // offset of the network header
	labels  int    // how many MPLS labels have been passed
}

// Lengths in bytes.
const (
	ethernetLen   = 14
	sllLen        = 16
	sll2Len       = 20
	familyLen     = 4
	tagLen        = 4 // a VLAN tag
	labelLen      = 4 // an MPLS label
	pppoeLen      = 6
	pppTypeLen    = 2
	pppFramingLen = 2 // address and control (RFC 1662)
	ipv6HeaderLen = 40
)

// viewOf returns the view at the beginning of a frame.
func viewOf(t capture.LinkType) view {
	switch t.Canonical() {
	case capture.LinkTypeEthernet:
		return view{header: headerEthernet, typ: 12, payload: ethernetLen}
	case capture.LinkTypeLinuxSLL:
		return view{header: headerCooked, typ: 14, payload: sllLen}
	case capture.LinkTypeLinuxSLL2:
		return view{header: headerCooked, typ: 0, payload: sll2Len}
	case capture.LinkTypeNull, capture.LinkTypeLoop:
		return view{header: headerFamily, payload: familyLen}
	case capture.LinkTypePPP, capture.LinkTypePPPSerial:
		return view{header: headerPPP, typ: pppFramingLen, payload: pppFramingLen + pppTypeLen}
	case capture.LinkTypePPPEther:
		return view{header: headerPPP, typ: pppoeLen, payload: pppoeLen + pppTypeLen}
	case capture.LinkTypeRaw:
		return view{header: headerVersion}
	case capture.LinkTypeIPv4:
		return view{header: headerIPv4}
	case capture.LinkTypeIPv6:
		return view{header: headerIPv6}
	}
	return view{header: headerUnknown}
}

// The highest length of an 802.3 frame, above which the field is an EtherType,
// and the numbers that Linux has in its place (linux/if_ether.h).
const (
	maxEthernetLength = 1500
	linux8023         = 1 // ETH_P_802_3: no LLC header
	linux8022         = 4 // ETH_P_802_2: LLC follows
)

// linkProtocol returns the condition that the payload is of a protocol: an
// EtherType, or an LLC service access point if it is below 1,501.
func (g *generator) linkProtocol(number uint32, offset int) (*condition, error) {
	if g.labels > 0 {
		return g.labelledProtocol(number, offset)
	}
	switch g.header {
	case headerEthernet, headerCooked:
		return g.etherProtocol(number), nil
	case headerPPP:
		return is(g.load(g.typ, 2), pppProtocol(number)), nil
	case headerFamily:
		return g.addressFamily(number), nil
	case headerVersion:
		switch number {
		case etherIPv4:
			return is(g.masked(g.load(g.payload, 1), 0xf0), 0x40), nil
		case etherIPv6:
			return is(g.masked(g.load(g.payload, 1), 0xf0), 0x60), nil
		}
		return never, nil
	case headerIPv4:
		return verdict(number == etherIPv4), nil
	case headerIPv6:
		return verdict(number == etherIPv6), nil
	}
	return nil, errorAt(offset, "link type %s is not known, so no protocol can be told", g.linkType).
		hint("only len and ether[...] can be tested")
}

// labelledProtocol is linkProtocol behind MPLS, which doesn't tell what it
// carries: the last label is followed by what begins with an IP version.
func (g *generator) labelledProtocol(number uint32, offset int) (*condition, error) {
	var version uint32
	switch number {
	case etherIPv4:
		version = 0x40
	case etherIPv6:
		version = 0x60
	default:
		return nil, errorAt(offset, "behind mpls only IPv4 and IPv6 can be told")
	}
	return and(g.lastLabel(), is(g.masked(g.load(g.payload, 1), 0xf0), version)), nil
}

// lastLabel returns the condition that the label before the payload has the
// bottom-of-stack bit (RFC 3032).
func (g *generator) lastLabel() *condition {
	return check(g.load(g.payload-labelLen+2, 1), anyBit, 1)
}

// pppProtocol returns PPP's number for an EtherType or SAP; one that it has no
// number for stays (ethertype_to_ppptype in gencode.c of libpcap).
func pppProtocol(number uint32) uint32 {
	switch number {
	case etherIPv4:
		return 0x21
	case etherIPv6:
		return 0x57
	case etherDECnet:
		return 0x27
	case etherAppleTalk:
		return 0x29
	case 0x0600: // XNS
		return 0x25
	case sapISO:
		return 0x23
	case 0x42: // spanning tree
		return 0x31
	case sapIPX:
		return 0x2b
	}
	return number
}

// addressFamily is linkProtocol for BSD loopback. DLT_NULL has the family in
// the byte order of the machine that captured, so both are tried; the number
// for IPv6 differs among systems.
func (g *generator) addressFamily(number uint32) *condition {
	var families []uint32
	switch number {
	case etherIPv4:
		families = []uint32{2} // AF_INET
	case etherIPv6:
		families = []uint32{24, 28, 30, 10} // NetBSD and OpenBSD, FreeBSD, macOS, Linux
	}
	field := g.load(g.typ, 4)
	any := never
	for _, f := range families {
		any = or(any, is(field, f))
		if g.linkType == capture.LinkTypeNull {
			any = or(any, is(field, f<<24))
		}
	}
	return any
}

// etherProtocol is linkProtocol for Ethernet and the cooked headers, which
// differ in how they mark a frame that begins with LLC (gen_ether_linktype and
// gen_linux_sll_linktype in gencode.c of libpcap).
func (g *generator) etherProtocol(number uint32) *condition {
	typ := g.load(g.typ, 2)
	logical := not(check(typ, greater, maxEthernetLength)) // an LLC header follows
	if g.header == headerCooked {
		logical = is(typ, linux8022)
	}
	switch number {
	case sapISO, sapIP, sapNetBEUI:
		return and(logical, is(g.load(g.payload, 2), number<<8|number))
	case sapIPX:
		return or(is(typ, etherIPX), g.logicalIPX(typ, logical))
	case etherAppleTalk:
		return or(is(typ, number), and(logical, g.snap(0x080007, number)))
	case etherAARP:
		return or(is(typ, number), and(logical, g.snap(0, number)))
	}
	if number <= maxEthernetLength {
		return and(logical, is(g.load(g.payload, 1), number))
	}
	return is(typ, number)
}

// logicalIPX returns the condition that a frame is IPX by an LLC or SNAP
// header, or by its 802.3 header alone.
func (g *generator) logicalIPX(typ *value, logical *condition) *condition {
	byLLC := or(is(g.load(g.payload, 1), sapIPX), g.snap(0, etherIPX))
	if g.header == headerCooked {
		return or(is(typ, linux8023), and(logical, byLLC))
	}
	return and(logical, or(byLLC, is(g.load(g.payload, 2), 0xffff)))
}

// snap returns the condition that an LLC header for SNAP begins the payload,
// with this organisation and protocol (RFC 1042).
func (g *generator) snap(organisation, protocol uint32) *condition {
	return and(
		is(g.load(g.payload+4, 4), organisation<<16|protocol),
		is(g.load(g.payload, 4), 0xaaaa0300|organisation>>16),
	)
}
