package packet

import "encoding/binary"

// UDP ports that tell a tunnel, as destination (IANA; Linux's vxlan module used
// 8472 before there was a number, and still does by default).
const (
	portL2TP       = 1701 // or as source
	portGTP        = 2152
	portGRE        = 4754
	portVXLAN      = 4789
	portVXLANGPE   = 4790
	portGeneve     = 6081
	portVXLANLinux = 8472
)

// udp decodes a UDP header (RFC 768) far enough to tell a tunnel by its port.
func (w *walk) udp(off int) Outcome {
	const headerLen = 8
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	source, port := binary.BigEndian.Uint16(w.data[off:]), binary.BigEndian.Uint16(w.data[off+2:])
	off += headerLen
	switch port {
	case portL2TP:
		return w.l2tp(off)
	case portVXLAN, portVXLANLinux:
		return w.vxlan(off, false)
	case portVXLANGPE:
		return w.vxlan(off, true)
	case portGeneve:
		return w.geneve(off)
	case portGTP:
		return w.gtp(off)
	case portGRE: // RFC 8086
		return w.gre(off)
	}
	if source == portL2TP {
		return w.l2tp(off)
	}
	return OutcomeNotTCP
}

// vxlan decodes a VXLAN header (RFC 7348 §5): flags with the valid bit, 24
// reserved bits, the network identifier, 8 reserved bits. The reserved bits are
// not looked at: extensions use them. With the generic protocol extension
// (draft-ietf-nvo3-vxlan-gpe-13 §3) one of the flags tells that what follows need be no
// Ethernet, but what the last of those 24 bits name.
func (w *walk) vxlan(off int, gpe bool) Outcome {
	const headerLen = 8
	const valid, named = 0x08, 0x04
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	h := w.data[off : off+headerLen]
	if h[0]&valid == 0 {
		return OutcomeNotTCP
	}
	typ := uint16(etherBridged)
	if gpe && h[0]&named != 0 {
		switch h[3] {
		case 1:
			typ = etherIPv4
		case 2:
			typ = etherIPv6
		case 3:
		default:
			return OutcomeNotTCP
		}
	}
	w.network(networkVNI, binary.BigEndian.Uint32(h[4:])>>8)
	return w.enter(off+headerLen, typ)
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

// gtp decodes a header of GTP-U, version 1 (3GPP TS 29.281 §5), in which mobile networks
// carry a subscriber's packets. Its tunnel identifier is another one in each direction,
// so it names no network.
func (w *walk) gtp(off int) Outcome {
	const (
		headerLen, optionsLen, word = 8, 4, 4

		kindMask, kind  = 0xf0, 0x30 // version 1, GTP rather than GTP'
		anyOption, user = 0x07, 255  // of the first byte; the type of messages that carry packets
		nextExtension   = 0x04
	)
	if len(w.data) < off+headerLen {
		return w.lacks(off + headerLen)
	}
	flags := w.data[off]
	if flags&kindMask != kind || w.data[off+1] != user {
		return OutcomeNotTCP
	}
	off += headerLen
	if flags&anyOption == 0 {
		return w.bare(off)
	}
	// Each of what follows tells in its last byte whether an extension comes next; the
	// first byte of an extension is its length in words.
	for off += optionsLen; ; {
		if len(w.data) < off {
			return w.lacks(off)
		}
		if flags&nextExtension == 0 || w.data[off-1] == 0 {
			return w.bare(off)
		}
		if len(w.data) == off {
			return w.lacks(off + 1)
		}
		if w.data[off] == 0 {
			return OutcomeMalformed
		}
		off += int(w.data[off]) * word
	}
}

// l2tp decodes the header of an L2TP data message, version 2 (RFC 2661 §3.1), behind
// which is a PPP frame. Who answers may do so to any port. Its identifiers are others in
// each direction, so they name no network.
func (w *walk) l2tp(off int) Outcome {
	const (
		flagsLen, lengthLen, idsLen, numbersLen, offsetLen = 2, 2, 4, 4, 2

		control, hasLength, hasNumbers, hasOffset = 0x8000, 0x4000, 0x0800, 0x0200
		reserved, versionMask, version            = 0x34f0, 0x000f, 2
	)
	if len(w.data) < off+flagsLen {
		return w.lacks(off + flagsLen)
	}
	flags := binary.BigEndian.Uint16(w.data[off:])
	if flags&(control|reserved) != 0 || flags&versionMask != version {
		return OutcomeNotTCP
	}
	off += flagsLen + idsLen
	if flags&hasLength != 0 {
		off += lengthLen
	}
	if flags&hasNumbers != 0 {
		off += numbersLen
	}
	if flags&hasOffset != 0 {
		off += offsetLen
		if len(w.data) < off {
			return w.lacks(off)
		}
		off += int(binary.BigEndian.Uint16(w.data[off-offsetLen:]))
	}
	if !w.deeper() {
		return OutcomeTooDeep
	}
	return w.ppp(off)
}
