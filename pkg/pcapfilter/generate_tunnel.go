package pcapfilter

import "fmt"

func (n *tunnel) generate(g *generator) (*condition, error) {
	switch n.name {
	case "vlan":
		return n.vlan(g)
	case "mpls":
		return n.mpls(g)
	case "pppoed":
		return g.linkProtocol(etherPPPoED, n.offset)
	case "pppoes":
		return n.pppoe(g)
	}
	panic(fmt.Sprintf("pcapfilter: tunnel %q", n.name))
}

// vlan passes a VLAN tag (802.1Q, 802.1ad). In a cooked frame it stands behind
// the header, whose protocol field has the tag's protocol.
//
// Deviation: libpcap refuses vlan on cooked frames.
func (n *tunnel) vlan(g *generator) (*condition, error) {
	if g.labels > 0 {
		return nil, errorAt(n.offset, "vlan behind mpls")
	}
	if g.header != headerEthernet && g.header != headerCooked {
		return nil, errorAt(n.offset, "frames of link type %s have no VLAN tags", g.linkType)
	}
	if n.id > 0xfff {
		return nil, errorAt(n.offset, "VLAN %d is more than 4095", n.id)
	}
	typ := g.load(g.typ, 2)
	tagged := or(is(typ, etherVLAN), is(typ, etherQinQ), is(typ, etherOld))
	if !n.any {
		tagged = and(tagged, is(g.masked(g.load(g.payload, 2), 0xfff), n.id))
	}
	g.typ = g.payload + tagLen - 2
	g.payload += tagLen
	return tagged, nil
}

// mpls passes an MPLS label (RFC 3032).
func (n *tunnel) mpls(g *generator) (*condition, error) {
	if n.id > 0xfffff {
		return nil, errorAt(n.offset, "MPLS label %d is more than 1048575", n.id)
	}
	var labelled *condition
	switch {
	case g.labels > 0:
		labelled = not(g.lastLabel())
	case g.header == headerEthernet || g.header == headerCooked:
		labelled = is(g.load(g.typ, 2), etherMPLS)
	case g.header == headerPPP:
		labelled = is(g.load(g.typ, 2), pppMPLS)
	default:
		return nil, errorAt(n.offset, "frames of link type %s have no MPLS labels", g.linkType)
	}
	if !n.any {
		labelled = and(labelled, is(g.masked(g.load(g.payload, 4), 0xfffff000), n.id<<12))
	}
	g.payload += labelLen
	g.labels++
	return labelled, nil
}

const pppMPLS = 0x0281 // RFC 3032, unicast

// pppoe passes the headers of a PPPoE session (RFC 2516) and of PPP.
func (n *tunnel) pppoe(g *generator) (*condition, error) {
	if n.id > 0xffff {
		return nil, errorAt(n.offset, "PPPoE session %d is more than 65535", n.id)
	}
	session, err := g.linkProtocol(etherPPPoES, n.offset)
	if err != nil {
		return nil, err
	}
	if !n.any {
		session = and(session, is(g.load(g.payload+2, 2), n.id))
	}
	g.header = headerPPP
	g.link = g.payload + pppoeLen
	g.typ = g.link
	g.payload = g.link + pppTypeLen
	return session, nil
}
