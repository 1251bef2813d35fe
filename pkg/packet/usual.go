package packet

import (
	"encoding/binary"

	"capstan/pkg/capture"
)

// usual decodes the frame that captures are mostly made of: Ethernet or Linux
// cooked, an IPv4 header without options, TCP, all of it captured. For any
// other it returns false, and the walk decides; where it returns true the walk
// would have come to the same result, in twice the time, which the tests and
// the fuzz target hold it to.
func (s *Segment) usual(f *capture.Frame) bool {
	b := f.Data
	if len(b) < sll2Len {
		return false
	}
	var off int
	var typ uint16
	vantage := f.Interface
	switch f.LinkType {
	case capture.LinkTypeEthernet:
		off, typ = ethernetLen, binary.BigEndian.Uint16(b[12:])
	case capture.LinkTypeLinuxSLL2:
		off, typ = sll2Len, binary.BigEndian.Uint16(b)
		vantage ^= cooked2Vantage(b)
	case capture.LinkTypeLinuxSLL:
		off, typ = sllLen, binary.BigEndian.Uint16(b[14:])
		vantage ^= cookedVantage(b)
	default:
		return false
	}
	if typ != etherIPv4 || len(b) < off+ipv4HeaderLen+tcpHeaderLen {
		return false
	}
	h := b[off : off+ipv4HeaderLen+tcpHeaderLen]
	if h[0] != 0x45 || h[9] != protoTCP || binary.BigEndian.Uint16(h[6:])&0x3fff != 0 {
		return false
	}
	end := off + int(binary.BigEndian.Uint16(h[2:]))
	options := off + ipv4HeaderLen + tcpHeaderLen
	payload := off + ipv4HeaderLen + int(h[32]>>4)*4
	if end > len(b) || payload < options || payload > end {
		return false
	}
	s.setKey(mapped4(h[12:16]), binary.BigEndian.Uint16(h[20:]), mapped4(h[16:20]), binary.BigEndian.Uint16(h[22:]), 0)
	s.Seq, s.Ack = binary.BigEndian.Uint32(h[24:]), binary.BigEndian.Uint32(h[28:])
	s.Flags, s.Window = Flags(h[33]), binary.BigEndian.Uint16(h[34:])
	s.Urgent, s.ID, s.Vantage = binary.BigEndian.Uint16(h[38:]), binary.BigEndian.Uint16(h[4:]), vantage
	s.TSVal, s.TSEcr, s.Missing = 0, 0, 0
	if payload > options {
		s.timestamps(b[options:payload])
	}
	s.Payload = nil
	if payload < end {
		s.Payload = b[payload:end:end]
	}
	return true
}
