package packet

import "encoding/binary"

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
	switch {
	case !w.deeper():
		return OutcomeTooDeep
	case typ == etherBridged:
		return w.ethernet(off)
	case typ&^arubaTunnels == etherAruba:
		return w.wlan(off, false)
	}
	return w.ether(off, typ)
}

// deeper goes into a tunnel. It reports whether that is not one too many.
func (w *walk) deeper() bool {
	w.underway = false
	w.depth++
	return w.depth <= MaxTunnels
}

// bare decodes the IP packet inside of a tunnel whose version only its own first
// byte tells.
func (w *walk) bare(off int) Outcome {
	if len(w.data) <= off {
		return w.lacks(off + 1)
	}
	switch w.data[off] >> 4 {
	case 4:
		return w.enter(off, etherIPv4)
	case 6:
		return w.enter(off, etherIPv6)
	}
	return OutcomeNotTCP
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
