package packet

import "encoding/binary"

// PPP protocol numbers (IANA "ppp-numbers").
const (
	pppIPv4 = 0x0021
	pppIPv6 = 0x0057
	pppMPLS = 0x0281
)

// pppoe decodes a PPPoE session header (RFC 2516 §4) at off.
func (w *walk) pppoe(off int) Outcome {
	const headerLen = 6
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	h := w.data[off : off+headerLen]
	if h[0] != 0x11 || h[1] != 0 { // version and type 1, session data
		return w.notIP()
	}
	// The length counts only where IP has none of its own.
	if n := int(binary.BigEndian.Uint16(h[4:])); n != 0 {
		w.end = min(w.end, off+headerLen+n)
	}
	return w.pppProtocol(off + headerLen)
}

// ppp decodes a PPP frame, with address and control field (RFC 1662 §3.1) or
// without, or a Cisco HDLC frame, which shares its link type.
func (w *walk) ppp(off int) Outcome {
	if len(w.data) < off+2 {
		return w.lacks(off + 2)
	}
	switch binary.BigEndian.Uint16(w.data[off:]) {
	case 0xff03:
		return w.pppProtocol(off + 2)
	case 0x0f00, 0x8f00:
		return w.hdlc(off)
	}
	return w.pppProtocol(off)
}

// pppProtocol decodes the protocol field at off, which may be compressed to one
// byte (RFC 1661 §2): the last one is odd, the others are even.
func (w *walk) pppProtocol(off int) Outcome {
	if len(w.data) < off+2 {
		return w.lacks(off + 2)
	}
	protocol, n := uint16(w.data[off]), 1
	if protocol&1 == 0 {
		protocol, n = binary.BigEndian.Uint16(w.data[off:]), 2
	}
	switch protocol {
	case pppIPv4:
		return w.ipv4(off + n)
	case pppIPv6:
		return w.ipv6(off + n)
	case pppMPLS:
		return w.mpls(off + n)
	}
	return w.notIP()
}

// hdlc decodes a Cisco HDLC header: address, control, Ethernet protocol number.
func (w *walk) hdlc(off int) Outcome {
	if len(w.data) < off+hdlcLen {
		return w.lacks(off + hdlcLen)
	}
	return w.ether(off+hdlcLen, binary.BigEndian.Uint16(w.data[off+2:]))
}
