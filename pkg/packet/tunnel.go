package packet

import "encoding/binary"

// UDP ports that tell a tunnel, as destination (IANA; Linux's vxlan module used
// 8472 before there was a number, and still does by default).
const (
	portVXLAN      = 4789
	portVXLANLinux = 8472
	portGeneve     = 6081
)

// tunnel decodes the header of IP protocol proto at off, if another packet may
// be inside.
func (w *walk) tunnel(off int, proto byte) Outcome {
	switch proto {
	case protoIPv4:
		return w.enter(off, etherIPv4)
	case protoIPv6:
		return w.enter(off, etherIPv6)
	case protoGRE:
		return w.gre(off)
	case protoUDP:
		return w.udp(off)
	}
	return OutcomeNotTCP
}

// enter decodes the packet inside of a tunnel, which has an Ethernet protocol
// number.
func (w *walk) enter(off int, typ uint16) Outcome {
	w.underway = false
	if w.depth++; w.depth > MaxTunnels {
		return OutcomeTooDeep
	}
	if typ == etherBridged {
		return w.ethernet(off)
	}
	return w.ether(off, typ)
}

// gre decodes a GRE header (RFC 2784 §2, with the key and sequence number of
// RFC 2890). Other versions carry PPP and have another header.
func (w *walk) gre(off int) Outcome {
	const headerLen, optionLen = 4, 4
	const checksum, routing, key, sequence, version = 0x8000, 0x4000, 0x2000, 0x1000, 0x0007
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	flags, typ := binary.BigEndian.Uint16(w.data[off:]), binary.BigEndian.Uint16(w.data[off+2:])
	if flags&(routing|version) != 0 {
		return OutcomeNotTCP
	}
	off += headerLen
	if flags&checksum != 0 {
		off += optionLen
	}
	if flags&key != 0 {
		if len(w.data) < off+optionLen {
			return w.lacks(off + optionLen)
		}
		w.network(networkGRE, binary.BigEndian.Uint32(w.data[off:]))
		off += optionLen
	}
	if flags&sequence != 0 {
		off += optionLen
	}
	if typ == etherERSPAN || typ == etherERSPAN3 {
		return w.erspan(off, typ, flags&sequence != 0)
	}
	return w.enter(off, typ)
}

// udp decodes a UDP header (RFC 768) far enough to tell a tunnel by its port.
func (w *walk) udp(off int) Outcome {
	const headerLen = 8
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	switch binary.BigEndian.Uint16(w.data[off+2:]) {
	case portVXLAN, portVXLANLinux:
		return w.vxlan(off + headerLen)
	case portGeneve:
		return w.geneve(off + headerLen)
	}
	return OutcomeNotTCP
}

// vxlan decodes a VXLAN header (RFC 7348 §5): flags with the valid bit, 24
// reserved bits, the network identifier, 8 reserved bits. The reserved bits are
// not looked at: extensions use them.
func (w *walk) vxlan(off int) Outcome {
	const headerLen = 8
	const valid = 0x08
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	if w.data[off]&valid == 0 {
		return OutcomeNotTCP
	}
	w.network(networkVNI, binary.BigEndian.Uint32(w.data[off+4:])>>8)
	return w.enter(off+headerLen, etherBridged)
}

// geneve decodes a Geneve header (RFC 8926 §3.4) and passes its options.
func (w *walk) geneve(off int) Outcome {
	const headerLen = 8
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	h := w.data[off : off+headerLen]
	if h[0]>>6 != 0 { // version
		return OutcomeNotTCP
	}
	w.network(networkVNI, binary.BigEndian.Uint32(h[4:])>>8)
	return w.enter(off+headerLen+int(h[0]&0x3f)*4, binary.BigEndian.Uint16(h[2:]))
}
