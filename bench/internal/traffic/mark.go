package traffic

import (
	"bytes"
	"encoding/binary"

	"capstan/pkg/capture"
)

// MarkLen is the length of a mark in bytes: exactly what an IPv4 frame of 60
// bytes with UDP has room for. All fields are in network order:
//
//	0  check  32 bits, follows from the number
//	4  number 48 bits, enough for nine years at a million frames per second
//	10 time   64 bits, nanoseconds of CLOCK_REALTIME, covered by the checksum of UDP or TCP
const MarkLen = 18

const (
	markTimeAt = 10
	markMagic  = 0x43617073 // "Caps"
	maxSeq     = 1<<48 - 1
)

// Mark tells test frames apart.
type Mark struct {
	Seq    uint64 // number of the frame, from 0
	SentAt int64  // nanoseconds of CLOCK_REALTIME just before sending
}

// putMark writes a mark with time zero; h is the mix of seq.
func putMark(b []byte, seq, h uint64) {
	binary.BigEndian.PutUint32(b, markMagic^uint32(h>>32))
	binary.BigEndian.PutUint16(b[4:], uint16(seq>>32))
	binary.BigEndian.PutUint32(b[6:], uint32(seq))
	binary.BigEndian.PutUint64(b[markTimeAt:], 0)
}

// Stamp writes the time of sending, in nanoseconds of CLOCK_REALTIME, into the
// frame's mark and mends the checksum over it (RFC 1624, equation 3). Frames
// without a mark stay as they are.
func (f *Frame) Stamp(now int64) {
	if f.stamp == 0 {
		return
	}
	field, checksum := f.Data[f.stamp:f.stamp+8], f.Data[f.checksum:f.checksum+2]
	s := uint64(^binary.BigEndian.Uint16(checksum)) + 4*0xffff - uint64(fold(sum(field)))
	binary.BigEndian.PutUint64(field, uint64(now))
	binary.BigEndian.PutUint16(checksum, transportChecksum(s+sum(field)))
}

// ParseMark reads the mark of a frame, which may be cut behind it. It returns
// false if the frame isn't a test frame, or if the mark's number is damaged;
// [Ours] tells the two apart.
func ParseMark(frame []byte, linkType capture.LinkType) (Mark, bool) {
	l, ok := locate(frame, linkType)
	if !ok || len(frame) < l.payload+MarkLen {
		return Mark{}, false
	}
	b := frame[l.payload : l.payload+MarkLen]
	seq := uint64(binary.BigEndian.Uint16(b[4:]))<<32 | uint64(binary.BigEndian.Uint32(b[6:]))
	if binary.BigEndian.Uint32(b) != markMagic^uint32(mix(seq)>>32) {
		return Mark{}, false
	}
	return Mark{Seq: seq, SentAt: int64(binary.BigEndian.Uint64(b[markTimeAt:]))}, true
}

// CheckPattern reports whether the frame with mark m is what was sent, byte for
// byte from the network header on: the pattern is compared, all the rest is
// covered by the checksums of IPv4 and of UDP or TCP. Of a truncated frame it
// compares what is there, and the checksum still covers the headers and the
// mark; any other frame must be exactly as long as its headers say.
func CheckPattern(frame []byte, linkType capture.LinkType, m Mark, truncated bool) bool {
	l, ok := locate(frame, linkType)
	if !ok || len(frame) < l.payload+MarkLen || len(frame) > l.end || len(frame) < l.end && !truncated {
		return false
	}
	off, n := patternOffset(mix(m.Seq)), l.end-l.payload-MarkLen
	if n > maxFrameLen {
		return false
	}
	rest := frame[l.payload+MarkLen:]
	if !bytes.Equal(rest, patterns.bytes[off:off+len(rest)]) {
		return false
	}
	s := sum(frame[l.transport:l.payload+MarkLen]) + patterns.sum(off, n) + uint64(l.protocol) + uint64(l.end-l.transport)
	if l.ipv6 {
		// The rest of its header is covered by no checksum.
		if [4]byte(frame[l.network:]) != [4]byte{0x60} || frame[l.network+ipv6HopLimitAt] != hopLimit {
			return false
		}
		s += sum(frame[l.network+ipv6SourceAt : l.transport])
	} else {
		if fold(sum(frame[l.network:l.transport])) != 0xffff {
			return false
		}
		s += sum(frame[l.network+ipv4SourceAt : l.transport])
	}
	if l.protocol == protocolUDP && int(binary.BigEndian.Uint16(frame[l.transport+udpLengthAt:])) != l.end-l.transport {
		return false
	}
	return fold(s) == 0xffff
}

// Ours reports whether the frame's addresses and ports are those of test
// frames. Where ParseMark fails on such a frame, the frame is damaged or cut.
func Ours(frame []byte, linkType capture.LinkType) bool {
	_, ok := locate(frame, linkType)
	return ok
}

// Tag returns the tag control information of a test frame's 802.1Q tag; ok is
// false if it has none.
func Tag(frame []byte, linkType capture.LinkType) (tci uint16, ok bool) {
	l, ok := locate(frame, linkType)
	return l.tci, ok && l.tagged
}

// location says where the parts of a test frame are.
type location struct {
	ipv6, tagged                bool
	tci                         uint16
	protocol                    uint8
	network, transport, payload int
	end                         int // as the network header says
}

// locate finds the parts of a test frame, and refuses any other.
func locate(frame []byte, linkType capture.LinkType) (l location, ok bool) {
	if l, ok = networkHeader(frame, linkType); !ok {
		return l, false
	}
	b, length := frame[l.network:], 0
	if l.ipv6 {
		if len(b) < ipv6Len || b[0]>>4 != 6 ||
			[14]byte(b[ipv6SourceAt:]) != networks6[client] || [14]byte(b[ipv6SourceAt+16:]) != networks6[server] {
			return l, false
		}
		l.protocol, length = b[ipv6ProtocolAt], int(binary.BigEndian.Uint16(b[ipv6LengthAt:]))
		l.transport = l.network + ipv6Len
	} else {
		if len(b) < ipv4Len || b[0] != 0x45 ||
			[2]byte(b[ipv4SourceAt:]) != networks4[client] || [2]byte(b[ipv4SourceAt+4:]) != networks4[server] {
			return l, false
		}
		l.protocol, length = b[ipv4ProtocolAt], int(binary.BigEndian.Uint16(b[ipv4LengthAt:]))-ipv4Len
		l.transport = l.network + ipv4Len
	}
	l.end = l.transport + length
	transport := frame[l.transport:]
	switch l.protocol {
	case protocolUDP:
		l.payload = l.transport + udpLen
	case protocolTCP:
		l.payload = l.transport + tcpLen
		if len(transport) < tcpLen || transport[tcpOffsetAt] != tcpLen/4<<4 {
			return l, false
		}
	default:
		return l, false
	}
	return l, len(transport) >= udpLen && binary.BigEndian.Uint16(transport[2:]) == discardPort && l.end >= l.payload+MarkLen
}

// networkHeader finds the network header and the tag of frames on the links that
// test frames may be captured on.
func networkHeader(frame []byte, linkType capture.LinkType) (l location, ok bool) {
	var offset, proto int
	switch linkType {
	case capture.LinkTypeEthernet:
		offset, proto = ethernetLen, ethernetLen-2
	case capture.LinkTypeLinuxSLL:
		offset, proto = 16, 14
	case capture.LinkTypeLinuxSLL2:
		offset, proto = 20, 0
	default:
		if linkType.Canonical() != capture.LinkTypeRaw || len(frame) == 0 {
			return l, false
		}
		l.ipv6 = frame[0]>>4 == 6
		return l, true
	}
	if len(frame) < offset {
		return l, false
	}
	typ := binary.BigEndian.Uint16(frame[proto:])
	if typ == etherVLAN { // on cooked links the tag follows the header
		if len(frame) < offset+tagLen {
			return l, false
		}
		l.tagged, l.tci = true, binary.BigEndian.Uint16(frame[offset:])
		typ = binary.BigEndian.Uint16(frame[offset+2:])
		offset += tagLen
	}
	l.network, l.ipv6 = offset, typ == etherIPv6
	return l, typ == etherIPv4 || typ == etherIPv6
}
