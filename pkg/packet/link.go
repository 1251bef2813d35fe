package packet

import (
	"encoding/binary"

	"capstan/pkg/capture"
)

// Link header lengths in bytes.
const (
	ethernetLen = 14
	sllLen      = 16
	sll2Len     = 20
	nullLen     = 4
	hdlcLen     = 4
)

// link decodes the link header of f.
func (w *walk) link(f *capture.Frame) Outcome {
	switch f.LinkType.Canonical() {
	case capture.LinkTypeEthernet:
		return w.ethernet(0)
	case capture.LinkTypeLinuxSLL2:
		return w.cooked2()
	case capture.LinkTypeLinuxSLL:
		return w.cooked()
	case capture.LinkTypeNull, capture.LinkTypeLoop:
		return w.loopback()
	case capture.LinkTypeRaw:
		return w.rawIP(0)
	case capture.LinkTypeIPv4:
		return w.ipv4(0)
	case capture.LinkTypeIPv6:
		return w.ipv6(0)
	case capture.LinkTypeNFLOG:
		return w.nflog()
	case capture.LinkTypePPP, capture.LinkTypePPPSerial:
		return w.ppp(0)
	case capture.LinkTypePPPEther:
		return w.pppoe(0)
	case capture.LinkTypeCiscoHDLC:
		return w.hdlc(0)
	case capture.LinkTypeFDDI:
		return w.fddi()
	case capture.LinkTypePFLOG:
		return w.pflog()
	case capture.LinkTypeIEEE80211:
		return w.wlan(0, false)
	case capture.LinkTypeRadiotap:
		return w.radiotap()
	case capture.LinkTypePrism:
		return w.prism()
	case capture.LinkTypeAVS:
		return w.avs()
	case capture.LinkTypePPI:
		return w.ppi()
	}
	return OutcomeNotIP
}

// ethernet decodes the Ethernet header at off.
func (w *walk) ethernet(off int) Outcome {
	if len(w.data) < off+ethernetLen {
		return w.lacks(off + ethernetLen)
	}
	return w.ether(off+ethernetLen, binary.BigEndian.Uint16(w.data[off+12:]))
}

// cooked decodes a struct sll_header (libpcap's pcap/sll.h). It names no
// interface, only the way through it.
func (w *walk) cooked() Outcome {
	if len(w.data) < sllLen {
		return w.lacks(sllLen)
	}
	w.seg.Vantage ^= cookedVantage(w.data)
	return w.ether(sllLen, binary.BigEndian.Uint16(w.data[14:]))
}

// cooked2 decodes a struct sll2_header. A tag that the kernel stripped is put
// back by libpcap, as protocol 0x8100 with TCI and inner protocol behind the
// header.
func (w *walk) cooked2() Outcome {
	if len(w.data) < sll2Len {
		return w.lacks(sll2Len)
	}
	w.seg.Vantage ^= cooked2Vantage(w.data)
	return w.ether(sll2Len, binary.BigEndian.Uint16(w.data))
}

// cookedVantage makes a number of the packet type and the hardware type.
func cookedVantage(h []byte) uint32 {
	return uint32(binary.BigEndian.Uint16(h[2:]))<<8 | uint32(h[1]&7) + 1
}

// cooked2Vantage makes a number of the interface index and the packet type.
func cooked2Vantage(h []byte) uint32 {
	return binary.BigEndian.Uint32(h[4:])<<3 | uint32(h[10]&7) + 1
}

// loopback decodes the address family of BSD loopback. DLT_NULL has it in the
// byte order of the machine that captured, DLT_LOOP in network order; no
// family has a value above 255, so the order shows in the value itself.
func (w *walk) loopback() Outcome {
	if len(w.data) < nullLen {
		return w.lacks(nullLen)
	}
	family := binary.BigEndian.Uint32(w.data)
	if family > 0xffff {
		family = binary.LittleEndian.Uint32(w.data)
	}
	return w.family(nullLen, family)
}

// family decodes what an address family announces at off.
func (w *walk) family(off int, family uint32) Outcome {
	switch family {
	case 2: // AF_INET everywhere
		return w.ipv4(off)
	case 24, 28, 30, 10: // AF_INET6 of NetBSD/OpenBSD, FreeBSD, macOS, Linux
		return w.ipv6(off)
	}
	return w.notIP()
}

// pflog decodes a struct pfloghdr, which every BSD has in another length: the first
// byte tells it, without the padding to a word, and the second the address family.
func (w *walk) pflog() Outcome {
	const word = 4
	if len(w.data) < 2 {
		return w.lacks(2)
	}
	off := (int(w.data[0]) + word - 1) &^ (word - 1)
	if len(w.data) < off {
		return w.lacks(off)
	}
	return w.family(off, uint32(w.data[1]))
}

// fddi decodes an FDDI header: frame control, two addresses. LLC follows.
func (w *walk) fddi() Outcome {
	const headerLen = 13
	const format, llc = 0x70, 0x50 // of the frame control: the length of addresses, and what follows
	if len(w.data) < headerLen {
		return w.lacks(headerLen)
	}
	if w.data[0]&format != llc {
		return w.notIP()
	}
	return w.llc(headerLen)
}

// rawIP decodes an IP header whose version is told by itself only.
func (w *walk) rawIP(off int) Outcome {
	if len(w.data) <= off {
		return w.lacks(off + 1)
	}
	switch w.data[off] >> 4 {
	case 4:
		return w.ipv4(off)
	case 6:
		return w.ipv6(off)
	}
	return w.notIP()
}

// nflog decodes a message of Linux's netfilter log: struct nflog_hdr (libpcap's
// pcap/nflog.h) and attributes, one of which is the packet. Lengths and types
// of attributes are in the byte order of the machine that captured.
func (w *walk) nflog() Outcome {
	const headerLen, attrLen = 4, 4
	const attrPayload = 9 // NFULA_PAYLOAD
	if len(w.data) < headerLen+attrLen {
		return w.lacks(headerLen + attrLen)
	}
	if w.data[1] != 0 { // version
		return w.notIP()
	}
	var order binary.ByteOrder = binary.LittleEndian
	if n := int(order.Uint16(w.data[headerLen:])); n < attrLen || n > w.end-headerLen {
		order = binary.BigEndian
	}
	for off := headerLen; ; {
		if off+attrLen > w.end {
			return w.notIP() // no packet among the attributes
		}
		if off+attrLen > len(w.data) {
			return OutcomeTruncated
		}
		n := int(order.Uint16(w.data[off:]))
		if n < attrLen || n > w.end-off {
			return OutcomeMalformed
		}
		if order.Uint16(w.data[off+2:]) == attrPayload {
			w.limit(off + n)
			return w.rawIP(off + attrLen)
		}
		off += (n + 3) &^ 3
	}
}
