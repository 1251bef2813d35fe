package rpcapclient

import (
	"fmt"

	"capstan/pkg/rpcap"
)

// framer finds the messages in the bytes of a data connection. It keeps no
// state.
type framer struct {
	maxFrame uint32 // longest frame that is taken
}

// frameSlack is what a server may put on top of the snap length: a VLAN tag
// (4 bytes) put back and a cooked header (16 bytes) put in front.
const frameSlack = 4 + 16

// message is what parse found.
type message struct {
	header rpcap.PacketHeader // if a whole PACKET is there
	skip   bool               // it is no PACKET
}

// parse looks at the message that b starts with and returns its length, or as
// many bytes as it needs to see to know more. If b is that long, the message is
// whole: or, if it is one to skip, at least its header is there.
func (f framer) parse(b []byte) (m message, n int, err error) {
	if len(b) < rpcap.HeaderLen {
		return m, rpcap.HeaderLen, nil
	}
	h := rpcap.ParseHeader(b)
	other := h.Type != rpcap.TypePacket
	switch {
	case h.Version != rpcap.Version:
		// Deviation: libpcap drops the message, and its length once more from
		// the stream, which it can't read any more then.
		return m, 0, &VersionError{Version: h.Version}
	case other && int64(h.Len) > int64(rpcap.BodyLimit(h.Type)):
		return m, 0, &rpcap.BodyTooLongError{Header: h, Limit: rpcap.BodyLimit(h.Type)}
	case other:
		return message{skip: true}, rpcap.HeaderLen + int(h.Len), nil
	case h.Len > packetHeaderLen+f.maxFrame:
		return m, 0, &PacketTooLongError{Len: h.Len, Limit: packetHeaderLen + f.maxFrame}
	case h.Len < packetHeaderLen && f.maxFrame+packetHeaderLen < cutAt:
		return m, 0, shortPacket(h.Len)
	case len(b) < rpcap.PacketOverhead:
		return m, rpcap.PacketOverhead, nil
	}
	m.header = rpcap.ReadPacketHeader(b[rpcap.HeaderLen:])
	length := uint64(h.Len)
	if need := packetHeaderLen + uint64(m.header.CapLen); need > length {
		if !f.isCut(h.Len, m.header.CapLen) {
			return m, 0, packetPastEnd(h.Len, m.header.CapLen)
		}
		length = need
	}
	return m, rpcap.HeaderLen + int(length), nil
}

const (
	packetHeaderLen = rpcap.PacketOverhead - rpcap.HeaderLen
	// cutAt is where the reference's 16-bit length of a PACKET wraps.
	cutAt = 1 << 16
)

// isCut reports whether length is that of a PACKET with a frame of capLen
// bytes of which the reference kept 16 bits (daemon.c, daemon_thrdmain).
func (f framer) isCut(length, capLen uint32) bool {
	return capLen <= f.maxFrame && length < cutAt && (packetHeaderLen+capLen)%cutAt == length
}

// PacketTooLongError is a PACKET that is longer than the snap length allows.
type PacketTooLongError struct {
	Len, Limit uint32 // of the body
}

// Error is libpcap's text and the lengths.
func (e *PacketTooLongError) Error() string {
	return fmt.Sprintf("Server sent us a message larger than the largest expected packet message (%d bytes, at most %d expected)", e.Len, e.Limit)
}

func shortPacket(length uint32) error {
	return &rpcap.DecodeError{Message: rpcap.TypePacket, Field: "header", Have: int(length), Want: packetHeaderLen}
}

func packetPastEnd(length, capLen uint32) error {
	return &rpcap.DecodeError{
		Message: rpcap.TypePacket, Field: "caplen", Offset: 8, Have: int(length) - packetHeaderLen, Want: int(capLen),
		Reason: "Packet's captured data goes past the end of the received packet message.",
	}
}
