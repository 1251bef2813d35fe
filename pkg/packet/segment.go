package packet

import "capstan/pkg/flow"

// Segment is one TCP segment as it was seen on the wire. Numbers are in host byte order.
type Segment struct {
	Key      flow.Key // of the innermost addresses
	Dir      flow.Direction
	Flags    Flags
	Window   uint16 // as sent, not scaled
	Seq, Ack uint32
	// Urgent is the urgent pointer as sent (RFC 9293 §3.1): it counts from Seq
	// and means something only with FlagURG.
	Urgent uint16
	// ID is the IPv4 identification (RFC 6864), of an IPv6 packet that came in
	// fragments the lower half of theirs, else 0. A packet seen twice has the
	// same; a retransmission is another packet.
	ID uint16
	// TSVal and TSEcr are the timestamps option (RFC 7323 §3), 0 without one.
	TSVal, TSEcr uint32
	// Vantage tells capture points apart within one source: interfaces, and the
	// ways through one of them. Two numbers that differ mean that the packet
	// was seen at two points; 0 means that the source does not tell.
	Vantage uint32
	// Payload aliases the frame's data, or the reassembled datagram, and is
	// valid as long as they are. Its capacity ends with the payload. Where
	// padding was taken out of the frame it aliases a copy.
	Payload []byte
	// Missing is the number of payload bytes on the wire, following Payload,
	// that a snap length cut off.
	Missing int
}
