package packet

import "encoding/binary"

// IP protocol numbers and IPv6 extension headers (IANA "protocol-numbers").
const (
	protoHopByHop    = 0
	protoIPv4        = 4
	protoTCP         = 6
	protoUDP         = 17
	protoIPv6        = 41
	protoRouting     = 43
	protoFragment    = 44
	protoGRE         = 47
	protoAH          = 51
	protoDestination = 60
)

// maxExtensions bounds the IPv6 extension headers of a packet. RFC 8200 §4.1
// allows seven of the kinds passed here; more is an attack.
const maxExtensions = 8

// Header lengths in bytes without options.
const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
)

// ipv4 decodes the IPv4 header at off (RFC 791 §3.1).
func (w *walk) ipv4(off int) Outcome {
	if off+ipv4HeaderLen > len(w.data) {
		return w.lacks(off + ipv4HeaderLen)
	}
	h := w.data[off : off+ipv4HeaderLen]
	headerLen := int(h[0]&0x0f) * 4
	if h[0]>>4 != 4 || headerLen < ipv4HeaderLen {
		return OutcomeMalformed
	}
	// A total length of 0 is a super-segment that the card has yet to cut
	// (TSO, "BIG TCP" of IPv4): it ends with what is around it.
	end := w.end
	if total := int(binary.BigEndian.Uint16(h[2:])); total != 0 {
		if w.depth > 0 && off+total > w.end {
			return OutcomeMalformed // longer than the packet around it
		}
		// The length the sender states also tells how much a snap length cut,
		// for the tools that lose the length on the wire.
		end = off + total
	}
	w.limit(end)
	if off+headerLen > w.end {
		return OutcomeMalformed
	}
	w.src, w.dst = mapped4(h[12:16]), mapped4(h[16:20])
	w.seg.ID = binary.BigEndian.Uint16(h[4:])
	if w.dec.cfg.Checksums != ChecksumIgnore && off+headerLen <= len(w.data) && !validIPv4Header(w.data[off:off+headerLen]) {
		if o := w.dec.judge(ChecksumBad); o != OutcomeTCP {
			return o
		}
	}
	if fragment := binary.BigEndian.Uint16(h[6:]); fragment&0x3fff != 0 { // more fragments, or an offset
		return w.fragment(off+headerLen, h[9], uint32(w.seg.ID), int(fragment&0x1fff)*8, fragment&0x2000 != 0)
	}
	if h[9] == protoTCP {
		return w.tcp(off + headerLen)
	}
	return w.transport(off+headerLen, h[9])
}

// ipv6 decodes the IPv6 header at off (RFC 8200 §3).
func (w *walk) ipv6(off int) Outcome {
	if off+ipv6HeaderLen > len(w.data) {
		return w.lacks(off + ipv6HeaderLen)
	}
	h := w.data[off : off+ipv6HeaderLen]
	if h[0]>>4 != 6 {
		return OutcomeMalformed
	}
	base := off + ipv6HeaderLen
	next := h[6]
	// A length of 0 without the jumbo option is a super-segment as in ipv4.
	end := w.end
	if length := int(binary.BigEndian.Uint16(h[4:])); length != 0 {
		if w.depth > 0 && base+length > w.end {
			return OutcomeMalformed
		}
		end = base + length
	} else if next == protoHopByHop {
		jumbo, ok := w.jumboLen(base)
		if !ok {
			return OutcomeMalformed
		}
		if jumbo != 0 {
			end = base + jumbo
		}
	}
	w.limit(end)
	w.src, w.dst = address6(h[8:24]), address6(h[24:40])
	w.seg.ID = 0
	if next == protoTCP {
		return w.tcp(base)
	}
	return w.transport(base, next)
}

// transport decodes the header of IP protocol next at off: IPv6 extension
// headers, which may occur in any order and which IPv4 shares where it has them,
// then TCP or a tunnel (RFC 8200 §4).
func (w *walk) transport(off int, next byte) Outcome {
	for range maxExtensions + 1 {
		switch next {
		case protoTCP:
			return w.tcp(off)
		case protoHopByHop, protoRouting, protoDestination, protoAH, protoFragment:
		default:
			return w.tunnel(off, next)
		}
		// Every extension header starts with 8 bytes that are always there.
		if off+8 > len(w.data) {
			return w.lacks(off + 8)
		}
		h := w.data[off : off+8]
		length := 8
		switch next {
		case protoFragment:
			position := binary.BigEndian.Uint16(h[2:])
			if position&0xfff9 != 0 { // an offset, or more fragments
				return w.fragment(off+8, h[0], binary.BigEndian.Uint32(h[4:]), int(position&0xfff8), position&1 != 0)
			}
			// An atomic fragment (RFC 6946) is a whole packet.
		case protoAH:
			length = (int(h[1]) + 2) * 4 // RFC 4302 §2.2: in 4-byte units, minus 2
		case protoRouting:
			// RFC 8200 §8.1: the checksum is over the last address of the route.
			w.underway = h[3] != 0
			length = (int(h[1]) + 1) * 8
		default:
			length = (int(h[1]) + 1) * 8
		}
		if length < 8 || off+length > w.end {
			return OutcomeMalformed
		}
		off, next = off+length, h[0]
	}
	return OutcomeMalformed
}

// jumboLen looks for the jumbo payload option (RFC 2675 §2) in the hop-by-hop
// header at off. It returns 0 when there is none, and false when the option is
// there and wrong. A length beyond the frame is wrong: unlike the 16-bit
// length it comes from no tool that forgets the length on the wire, and it
// could claim four gigabytes.
func (w *walk) jumboLen(off int) (int, bool) {
	const optPad1, optJumbo, optJumboLen = 0, 0xc2, 4
	b := w.data
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
			return int(n), n > 0xffff && n <= int64(w.end-off)
		}
		opts = opts[2+int(opts[1]):]
	}
	return 0, true
}
