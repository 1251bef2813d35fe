// Package packet decodes a captured frame down to its TCP segment by fixed
// offsets, without allocation.
//
// Every length is checked against the bytes at hand before it is used, and
// against the length of the packet that encloses it. Checksums are not looked
// at: about every packet a host sends itself is captured before the network
// card fills them in.
//
// Links: Ethernet with up to four VLAN tags or with SNAP, Linux cooked capture
// v1 and v2, BSD loopback in both byte orders, raw IP. Not decoded, and counted
// as [OutcomeNotIP] or [OutcomeNotTCP]: PPPoE, MPLS, tunnels.
package packet

import (
	"encoding/binary"

	"capstan/pkg/capture"
	"capstan/pkg/flow"
)

// Segment is one TCP segment as it was seen on the wire.
type Segment struct {
	Key      flow.Key
	Dir      flow.Direction
	Seq, Ack uint32
	Flags    Flags
	Window   uint16 // as sent, not scaled
	// Payload aliases the frame's data and is valid as long as they are. Its
	// capacity ends with the payload.
	Payload []byte
	// Missing is the number of payload bytes on the wire, following Payload,
	// that a snap length cut off.
	Missing int
}

// Header lengths in bytes without options.
const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	tcpHeaderLen  = 20
)

// Decode fills s from f. Only [OutcomeTCP] leaves s with a meaning; after any
// other outcome its content is unspecified.
//
// Next: reassembly.Assembler.Segment.
func (s *Segment) Decode(f *capture.Frame) Outcome {
	off, version := linkPayload(f)
	// dg (datagram) is the window the headers below have to stay in. The wire
	// length is at least what was captured, whatever the source claims.
	dg := datagram{data: f.Data, wire: max(f.Len, len(f.Data))}
	switch version {
	case version4:
		return s.decodeIPv4(&dg, off)
	case version6:
		return s.decodeIPv6(&dg, off)
	case versionTruncated:
		return OutcomeTruncated
	case versionMalformed:
		return OutcomeMalformed
	}
	return OutcomeNotIP
}

// datagram is a frame's data with the two ends that matter to a header: where
// the captured bytes stop and where the IP packet stops.
type datagram struct {
	data []byte // cut to the IP packet once its length is known
	wire int    // offset of the frame's end on the wire
	end  int    // offset of the IP packet's end on the wire
}

// limit sets the end of the IP packet and cuts link padding behind it.
func (dg *datagram) limit(end int) {
	dg.end = end
	if end < len(dg.data) {
		dg.data = dg.data[:end:end]
	}
}

// lacks tells why the bytes up to need are not there: the packet is too short
// for the header it claims to hold, or the snap length cut it.
func (dg *datagram) lacks(need int) Outcome {
	if need > dg.end {
		return OutcomeMalformed
	}
	return OutcomeTruncated
}

// decodeTCP decodes the TCP header at off. A header whose options were cut off
// still counts: nothing of the options is needed.
func (s *Segment) decodeTCP(dg *datagram, off int, src, dst address) Outcome {
	if off+tcpHeaderLen > len(dg.data) {
		return dg.lacks(off + tcpHeaderLen)
	}
	h := dg.data[off : off+tcpHeaderLen]
	payload := off + int(h[12]>>4)*4
	if payload < off+tcpHeaderLen || payload > dg.end {
		return OutcomeMalformed
	}
	s.setKey(src, binary.BigEndian.Uint16(h[0:]), dst, binary.BigEndian.Uint16(h[2:]))
	s.Seq = binary.BigEndian.Uint32(h[4:])
	s.Ack = binary.BigEndian.Uint32(h[8:])
	s.Flags = Flags(h[13])
	s.Window = binary.BigEndian.Uint16(h[14:])
	if payload >= len(dg.data) {
		s.Payload, s.Missing = nil, dg.end-payload
		return OutcomeTCP
	}
	s.Payload = dg.data[payload:len(dg.data):len(dg.data)]
	s.Missing = dg.end - len(dg.data)
	return OutcomeTCP
}
