package packet

import "encoding/binary"

// Fragment is a piece of an IP packet (RFC 791 §3.2, RFC 8200 §4.5).
type Fragment struct {
	Datagram
	Offset int  // of Payload in the fragmentable part, in bytes
	More   bool // it is not the last one
	// Missing is the number of bytes behind Payload that a snap length cut off.
	Missing int
}

// Datagram is what the fragments of one IP packet share, and its fragmentable
// part.
type Datagram struct {
	Src, Dst [16]byte // as in flow.Endpoint
	ID       uint32
	Scope    uint32 // as in flow.Key
	Vantage  uint32 // as in Segment
	Protocol byte   // of the first header in the fragmentable part
	Depth    uint8  // tunnels around it
	IPv6     bool
	Payload  []byte
}

// fragment fills in the decoder's Fragment, whose payload starts at off.
func (w *walk) fragment(off int, protocol byte, id uint32, position int, more bool) Outcome {
	switch protocol {
	case protoTCP, protoUDP, protoIPv4, protoIPv6, protoGRE:
	case protoHopByHop, protoRouting, protoDestination, protoAH:
	default:
		return OutcomeNotTCP // nothing that TCP may be inside of
	}
	if off > w.end {
		return OutcomeMalformed
	}
	f := &w.dec.Fragment
	f.setAddress(&f.Src, w.src)
	f.setAddress(&f.Dst, w.dst)
	f.IPv6 = w.src.hi != 0 || w.src.lo>>32 != 0xffff
	f.ID, f.Protocol, f.Depth = id, protocol, uint8(w.depth)
	f.Scope, f.Vantage = w.scope, w.seg.Vantage
	f.Offset, f.More = position, more
	if off >= len(w.data) {
		f.Payload, f.Missing = nil, w.end-off
		return OutcomeFragment
	}
	f.Payload, f.Missing = w.data[off:], w.end-len(w.data)
	return OutcomeFragment
}

func (*Datagram) setAddress(to *[16]byte, a address) {
	binary.BigEndian.PutUint64(to[:8], a.hi)
	binary.BigEndian.PutUint64(to[8:], a.lo)
}
