package packet

import "encoding/binary"

// Ethernet protocol numbers (linux/if_ether.h, IANA "ieee-802-numbers").
const (
	etherIPv4          = 0x0800
	etherIPv6          = 0x86dd
	etherVLAN          = 0x8100 // 802.1Q
	etherQinQ          = 0x88a8 // 802.1ad
	etherOld           = 0x9100 // QinQ before 802.1ad gave it a number
	etherMPLS          = 0x8847
	etherMPLSMulticast = 0x8848
	etherPPPoE         = 0x8864 // session stage
	etherBridged       = 0x6558 // Ethernet inside of GRE or Geneve
	etherERSPAN        = 0x88be // mirrored Ethernet inside of GRE, types I and II
	etherERSPAN3       = 0x22eb // type III
	etherAruba         = 0x8200 // 802.11 inside of GRE, as Aruba's access points send it
	// arubaTunnels are the bits of etherAruba that tell the tunnels between two apart.
	arubaTunnels = 0x01f0
)

// What is below etherMin is not a protocol number but the length of an 802.3
// frame, or one of Linux's numbers for such: an LLC header follows. For IP that
// is LLC and SNAP of 8 bytes (RFC 1042): snapIP and a protocol number.
const (
	etherMin = 0x0600
	snapLen  = 8
	snapIP   = 0xaaaa_03_000000
)

// maxShims bounds the VLAN tags and the MPLS labels of a frame, each. Linux
// itself sends at most two tags.
const maxShims = 8

const (
	tagLen   = 4
	labelLen = 4
)

// ether decodes what an Ethernet protocol number announces at off.
func (w *walk) ether(off int, typ uint16) Outcome {
	switch typ {
	case etherIPv4:
		return w.ipv4(off)
	case etherIPv6:
		return w.ipv6(off)
	}
	for range maxShims {
		if typ != etherVLAN && typ != etherQinQ && typ != etherOld {
			break
		}
		if len(w.data) < off+tagLen {
			return w.lacks(off + tagLen)
		}
		w.network(networkVLAN, uint32(binary.BigEndian.Uint16(w.data[off:])&0x0fff))
		typ = binary.BigEndian.Uint16(w.data[off+2:])
		off += tagLen
	}
	if typ < etherMin {
		return w.llc(off)
	}
	return w.etherType(off, typ)
}

// llc decodes the LLC header at off and the SNAP header behind it.
func (w *walk) llc(off int) Outcome {
	if len(w.data) < off+snapLen {
		if w.end < off+snapLen {
			return w.notIP() // another use of LLC, which can be 3 bytes
		}
		return OutcomeTruncated
	}
	if binary.BigEndian.Uint64(w.data[off:])>>16 != snapIP {
		return w.notIP()
	}
	return w.etherType(off+snapLen, binary.BigEndian.Uint16(w.data[off+6:]))
}

// etherType is ether without tags and lengths.
func (w *walk) etherType(off int, typ uint16) Outcome {
	switch typ {
	case etherIPv4:
		return w.ipv4(off)
	case etherIPv6:
		return w.ipv6(off)
	case etherMPLS, etherMPLSMulticast:
		return w.mpls(off)
	case etherPPPoE:
		return w.pppoe(off)
	}
	return w.notIP()
}

// mpls passes a label stack (RFC 3032 §2.1). What follows is told by its first
// four bits, as routers guess too (RFC 4928): IP, or a pseudowire's control
// word (RFC 4385) before an Ethernet frame.
func (w *walk) mpls(off int) Outcome {
	const bottom = 1 << 8
	const controlWordLen = 4
	for range maxShims {
		if len(w.data) < off+labelLen {
			return w.lacks(off + labelLen)
		}
		label := binary.BigEndian.Uint32(w.data[off:])
		off += labelLen
		if label&bottom == 0 {
			continue
		}
		if len(w.data) > off && w.data[off]>>4 == 0 {
			return w.enter(off+controlWordLen, etherBridged)
		}
		return w.rawIP(off)
	}
	return w.notIP()
}
