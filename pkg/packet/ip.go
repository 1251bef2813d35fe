package packet

import "encoding/binary"

// IP protocol numbers and IPv6 extension headers (IANA "protocol-numbers").
const (
	protoHopByHop    = 0
	protoTCP         = 6
	protoRouting     = 43
	protoFragment    = 44
	protoAH          = 51
	protoDestination = 60
)

// maxExtensions bounds the IPv6 extension headers of a packet. RFC 8200 §4.1
// allows seven of the kinds passed here; more is an attack.
const maxExtensions = 8

// decodeIPv4 decodes the IPv4 header at off (RFC 791 §3.1).
func (s *Segment) decodeIPv4(dg *datagram, off int) Outcome {
	b := dg.data
	dg.end = dg.wire
	if off+ipv4HeaderLen > len(b) {
		return dg.lacks(off + ipv4HeaderLen)
	}
	h := b[off : off+ipv4HeaderLen]
	headerLen := int(h[0]&0x0f) * 4
	if h[0]>>4 != 4 || headerLen < ipv4HeaderLen {
		return OutcomeMalformed
	}
	if total := int(binary.BigEndian.Uint16(h[2:])); total != 0 {
		// The length the sender states also tells how much a snap length cut,
		// for the tools that lose the length on the wire.
		dg.limit(off + total)
	}
	// A total length of 0 is a super-segment that the card has yet to cut
	// (TSO, "BIG TCP" of IPv4): it ends with the frame.
	if off+headerLen > dg.end {
		return OutcomeMalformed
	}
	if h[9] != protoTCP {
		return OutcomeNotTCP
	}
	if binary.BigEndian.Uint16(h[6:])&0x3fff != 0 { // more fragments, or an offset
		return OutcomeFragment
	}
	return s.decodeTCP(dg, off+headerLen, mapped4(h[12:16]), mapped4(h[16:20]))
}

// decodeIPv6 decodes the IPv6 header at off and its extension headers (RFC
// 8200 §3, §4).
func (s *Segment) decodeIPv6(dg *datagram, off int) Outcome {
	dg.end = dg.wire
	if off+ipv6HeaderLen > len(dg.data) {
		return dg.lacks(off + ipv6HeaderLen)
	}
	h := dg.data[off : off+ipv6HeaderLen]
	if h[0]>>4 != 6 {
		return OutcomeMalformed
	}
	base := off + ipv6HeaderLen
	next := h[6]
	if length := int(binary.BigEndian.Uint16(h[4:])); length != 0 {
		dg.limit(base + length)
	} else if next == protoHopByHop {
		jumbo, ok := jumboLen(dg, base)
		switch {
		case !ok:
			return OutcomeMalformed
		case jumbo != 0:
			dg.limit(base + jumbo)
		}
	}
	// A length of 0 without the jumbo option is a super-segment that the card
	// has yet to cut: it ends with the frame.
	if next != protoTCP {
		var o Outcome
		if base, o = skipExtensions(dg, base, next); o != OutcomeTCP {
			return o
		}
	}
	return s.decodeTCP(dg, base, address6(h[8:24]), address6(h[24:40]))
}

// skipExtensions walks the extension headers at off, the first of which has
// the type next. It returns the offset of the TCP header and OutcomeTCP, or
// why there is none.
func skipExtensions(dg *datagram, off int, next byte) (int, Outcome) {
	for range maxExtensions {
		switch next {
		case protoTCP:
			return off, OutcomeTCP
		case protoHopByHop, protoRouting, protoDestination, protoAH, protoFragment:
		default:
			return 0, OutcomeNotTCP
		}
		// Every extension header starts with 8 bytes that are always there.
		if off+8 > len(dg.data) {
			return 0, dg.lacks(off + 8)
		}
		h := dg.data[off : off+8]
		length := 8
		switch next {
		case protoFragment:
			if binary.BigEndian.Uint16(h[2:])&0xfff9 != 0 { // an offset, or more fragments
				return 0, fragmentOf(h[0])
			}
			// An atomic fragment (RFC 6946) is a whole packet.
		case protoAH:
			length = (int(h[1]) + 2) * 4 // RFC 4302 §2.2: in 4-byte units, minus 2
		default:
			length = (int(h[1]) + 1) * 8
		}
		if length < 8 || off+length > dg.end {
			return 0, OutcomeMalformed
		}
		off, next = off+length, h[0]
	}
	if next == protoTCP {
		return off, OutcomeTCP
	}
	return 0, OutcomeMalformed
}

// fragmentOf tells what a fragment is one of, given the type of the header its
// packet continues with: TCP, or an extension header that TCP may follow.
func fragmentOf(next byte) Outcome {
	switch next {
	case protoTCP, protoHopByHop, protoRouting, protoDestination, protoAH:
		return OutcomeFragment
	}
	return OutcomeNotTCP
}

// jumboLen looks for the jumbo payload option (RFC 2675 §2) in the hop-by-hop
// header at off. It returns 0 when there is none, and false when the option is
// there and wrong. A length beyond the frame is wrong: unlike the 16-bit
// length it comes from no tool that forgets the length on the wire, and it
// could claim four gigabytes.
func jumboLen(dg *datagram, off int) (int, bool) {
	const optPad1, optJumbo, optJumboLen = 0, 0xc2, 4
	b := dg.data
	if off+8 > len(b) {
		return 0, true
	}
	opts := b[off+2 : min(len(b), off+(int(b[off+1])+1)*8)]
	for len(opts) > 0 {
		if opts[0] == optPad1 {
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || len(opts) < 2+int(opts[1]) {
			return 0, true
		}
		if opts[0] == optJumbo {
			if opts[1] != optJumboLen {
				return 0, false
			}
			n := int64(binary.BigEndian.Uint32(opts[2:]))
			return int(n), n > 0xffff && n <= int64(dg.wire-off)
		}
		opts = opts[2+int(opts[1]):]
	}
	return 0, true
}
