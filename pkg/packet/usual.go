package packet

import (
	"encoding/binary"

	"capstan/pkg/capture"
)

// usual decodes the frame that captures are mostly made of: Ethernet or Linux
// cooked, at most one VLAN tag, IP without options or extension headers, TCP,
// all of it captured. For any other it returns false, and the walk decides;
// where it returns true the walk would have come to the same result, in twice
// the time, which the tests and the fuzz target hold it to.
func (s *Segment) usual(f *capture.Frame, scoped bool) bool {
	const plain = ethernetLen + ipv4HeaderLen + tcpHeaderLen
	b := f.Data
	s.Vantage = f.Interface
	if f.LinkType == capture.LinkTypeEthernet && len(b) >= plain {
		if h := (*[plain]byte)(b); binary.BigEndian.Uint16(h[12:]) == etherIPv4 {
			return s.usual4(b, ethernetLen, (*headers4)(h[ethernetLen:]))
		}
	}
	off, typ := usualLink(f, scoped)
	if typ == 0 {
		return false
	}
	switch f.LinkType {
	case capture.LinkTypeLinuxSLL2:
		s.Vantage ^= cooked2Vantage(b)
	case capture.LinkTypeLinuxSLL:
		s.Vantage ^= cookedVantage(b)
	}
	switch n := len(b) - off; {
	case typ == etherIPv4 && n >= len(headers4{}):
		return s.usual4(b, off, (*headers4)(b[off:]))
	case typ == etherIPv6 && n >= len(headers6{}):
		return s.usual6(b, off, (*headers6)(b[off:]))
	}
	return false
}

// headers4 and headers6 are those of IP and TCP without options.
type (
	headers4 [ipv4HeaderLen + tcpHeaderLen]byte
	headers6 [ipv6HeaderLen + tcpHeaderLen]byte
)

// usual4 decodes the packet at off of b, which starts with h.
func (s *Segment) usual4(b []byte, off int, h *headers4) bool {
	first := binary.BigEndian.Uint64(h[0:]) // up to the fragment offset
	if first>>56 != 0x45 || first&0x3fff != 0 || h[9] != protoTCP {
		return false
	}
	s.ID = uint16(first >> 16)
	s.setKey4(binary.BigEndian.Uint64(h[12:]), binary.BigEndian.Uint32(h[20:]))
	return s.usualTCP(b, off+ipv4HeaderLen, (*[tcpHeaderLen]byte)(h[ipv4HeaderLen:]), off+int(uint16(first>>32)))
}

// usual6 is usual4 for IPv6.
func (s *Segment) usual6(b []byte, off int, h *headers6) bool {
	if h[0]>>4 != 6 || h[6] != protoTCP {
		return false
	}
	s.ID = 0
	s.setKey(address6(h[8:24]), binary.BigEndian.Uint16(h[40:]), address6(h[24:40]), binary.BigEndian.Uint16(h[42:]), 0)
	off += ipv6HeaderLen
	return s.usualTCP(b, off, (*[tcpHeaderLen]byte)(h[ipv6HeaderLen:]), off+int(binary.BigEndian.Uint16(h[4:])))
}

// usualTCP decodes the TCP header h, but for its ports, which is at off of b in a
// packet that ends at end.
func (s *Segment) usualTCP(b []byte, off int, h *[tcpHeaderLen]byte, end int) bool {
	numbers, last := binary.BigEndian.Uint64(h[4:]), binary.BigEndian.Uint64(h[12:]) // the offset of the data and all behind it
	options, payload := off+tcpHeaderLen, off+int(last>>60)*4
	if end > len(b) || payload < options || payload > end {
		return false
	}
	s.Seq, s.Ack = uint32(numbers>>32), uint32(numbers)
	s.Flags, s.Window, s.Urgent = Flags(last>>48), uint16(last>>32), uint16(last)
	s.TSVal, s.TSEcr, s.Missing = 0, 0, 0
	if payload > options {
		s.timestamps(b[options:payload])
	}
	s.Payload = b[payload:end:end]
	return true
}

// usualLink returns where the packet of a frame begins and the protocol that the
// link names for it, 0 for a link that is not usual.
func usualLink(f *capture.Frame, scoped bool) (off int, typ uint16) {
	b := f.Data
	if len(b) < sll2Len+tagLen {
		return 0, 0
	}
	switch f.LinkType {
	case capture.LinkTypeEthernet:
		off, typ = ethernetLen, binary.BigEndian.Uint16(b[12:])
	case capture.LinkTypeLinuxSLL2:
		off, typ = sll2Len, binary.BigEndian.Uint16(b)
	case capture.LinkTypeLinuxSLL:
		off, typ = sllLen, binary.BigEndian.Uint16(b[14:])
	default:
		return 0, 0
	}
	if typ == etherVLAN && !scoped {
		off, typ = off+tagLen, binary.BigEndian.Uint16(b[off+2:])
	}
	return off, typ
}
