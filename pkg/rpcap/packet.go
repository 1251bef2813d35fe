package rpcap

import "encoding/binary"

// packetHeaderLen is the length of struct rpcap_pkthdr.
const packetHeaderLen = 20

// PacketOverhead is what stands in front of a frame on the data channel: the
// message header and the packet header.
const PacketOverhead = HeaderLen + packetHeaderLen

// PacketHeader describes the frame in a PACKET message (struct rpcap_pkthdr).
// A PACKET is not a [Message]: millions of them are written and read without
// allocation, by [PacketHeader.Put] and [ParsePacketHeader].
type PacketHeader struct {
	Timestamp int64  // nanoseconds since the epoch; the wire has microseconds and 32-bit seconds
	CapLen    uint32 // bytes of the frame that follow
	Len       uint32 // length of the frame on the wire
	Number    uint32 // 1 for the first frame of a capture, one more for each sent; wraps
}

// Put writes the message header and the packet header into the first
// [PacketOverhead] bytes of b. Deviation: the reference cuts the body length to
// 16 bits and so breaks the stream at frames of 65,516 bytes and more.
//
// Next: the data connection; at its other end, rpcapclient.Stream.Next.
func (p *PacketHeader) Put(b []byte) {
	_ = b[PacketOverhead-1]
	b[0], b[1], b[2], b[3] = Version, byte(TypePacket), 0, 0
	binary.BigEndian.PutUint32(b[4:], packetHeaderLen+p.CapLen)
	micros := uint64(p.Timestamp) / 1000
	seconds := micros / 1e6
	binary.BigEndian.PutUint32(b[8:], uint32(seconds))
	binary.BigEndian.PutUint32(b[12:], uint32(micros-seconds*1e6))
	binary.BigEndian.PutUint32(b[16:], p.CapLen)
	binary.BigEndian.PutUint32(b[20:], p.Len)
	binary.BigEndian.PutUint32(b[24:], p.Number)
}

// ParsePacketHeader reads a packet header from body, the whole body of a PACKET
// message. The frame is body[20 : 20+CapLen]. A body that does not hold CapLen
// bytes of frame is refused with a [*DecodeError]; that this check allowed 20
// bytes too many was CVE-2026-18238.
func ParsePacketHeader(body []byte) (PacketHeader, error) {
	if len(body) < packetHeaderLen {
		return PacketHeader{}, &DecodeError{Message: TypePacket, Field: "header", Have: len(body), Want: packetHeaderLen}
	}
	p := ReadPacketHeader(body)
	if int64(p.CapLen) > int64(len(body)-packetHeaderLen) {
		return p, &DecodeError{Message: TypePacket, Field: "caplen", Offset: 8, Have: len(body) - packetHeaderLen, Want: int(p.CapLen),
			Reason: "Packet's captured data goes past the end of the received packet message."}
	}
	return p, nil
}

// ReadPacketHeader reads the packet header that b starts with, 20 bytes that
// must be there. Nothing about it is checked: it is for readers that have to see
// CapLen before they can tell where the message ends.
func ReadPacketHeader(b []byte) PacketHeader {
	_ = b[packetHeaderLen-1]
	return PacketHeader{
		Timestamp: int64(binary.BigEndian.Uint32(b))*1e9 + int64(binary.BigEndian.Uint32(b[4:]))*1e3,
		CapLen:    binary.BigEndian.Uint32(b[8:]),
		Len:       binary.BigEndian.Uint32(b[12:]),
		Number:    binary.BigEndian.Uint32(b[16:]),
	}
}
