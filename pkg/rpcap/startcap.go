package rpcap

import (
	"encoding/binary"
	"math"
	"time"
)

// StartCapFlags are the flags of a STARTCAP_REQ (RPCAP_STARTCAPREQ_FLAG_*).
type StartCapFlags uint16

// The flags that are in use. Inbound and Outbound are defined by the protocol,
// sent by no client and ignored by the reference.
const (
	StartCapPromiscuous StartCapFlags = 0x01
	StartCapDatagram    StartCapFlags = 0x02 // data over UDP; implies that the server opens
	StartCapServerOpen  StartCapFlags = 0x04 // the server connects the data channel
	StartCapInbound     StartCapFlags = 0x08
	StartCapOutbound    StartCapFlags = 0x10
)

// StartCapRequest starts a capture on the device opened before
// (struct rpcap_startcapreq).
type StartCapRequest struct {
	SnapLen     uint32        // bytes per frame, see [EffectiveSnapLen]
	ReadTimeout time.Duration // how long a frame may wait for company; the wire has 32 bits of milliseconds
	Flags       StartCapFlags
	DataPort    uint16 // the client's port, when the server opens the data channel
	Filter      []Instruction
}

const startCapFixedLen = 12

// Type returns [TypeStartCapRequest].
func (*StartCapRequest) Type() Type { return TypeStartCapRequest }

func (*StartCapRequest) headerValue() uint16 { return 0 }

func (m *StartCapRequest) appendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.SnapLen)
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(m.ReadTimeout.Milliseconds(), 0), math.MaxUint32)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.Flags))
	dst = binary.BigEndian.AppendUint16(dst, m.DataPort)
	return appendFilter(dst, m.Filter)
}

func (m *StartCapRequest) decodeBody(_ uint16, c cursor) error {
	m.SnapLen = c.u32("snaplen")
	m.ReadTimeout = time.Duration(c.u32("read_timeout")) * time.Millisecond
	m.Flags = StartCapFlags(c.u16("flags"))
	m.DataPort = c.u16("portdata")
	m.Filter = decodeFilter(&c)
	return c.done()
}

// EffectiveSnapLen returns the snap length that n asks for: libpcap reads 0,
// values above [MaxSnapLen] and negative ones as MaxSnapLen.
func EffectiveSnapLen(n uint32) int {
	if n == 0 || n > MaxSnapLen {
		return MaxSnapLen
	}
	return int(n)
}

// Clients of libpcap up to at least 1.10 send a STARTCAP_REQ without a filter
// with a length that does not count its only instruction: a body of
// UncountedFilterBody bytes that says nitems = 1, followed by
// UncountedFilterLen bytes "ret #k" outside of the message (libpcap PR 1577).
const (
	UncountedFilterBody = startCapFixedLen + filterHeaderLen
	UncountedFilterLen  = filterInsnLen
)

// LacksFilter reports whether body is that of a STARTCAP_REQ that says it has
// one instruction but doesn't count it in its length.
func LacksFilter(body []byte) bool {
	return len(body) == UncountedFilterBody && binary.BigEndian.Uint32(body[16:]) == 1
}

// IsUncountedFilter reports whether b, the bytes after such a message, is the
// missing "ret #k". A CLOSE, which starts with the same byte, has k = 0.
func IsUncountedFilter(b []byte) bool {
	return len(b) >= UncountedFilterLen && b[0] == 0 && b[1] == 6 && b[2] == 0 && b[3] == 0 &&
		binary.BigEndian.Uint32(b[4:]) != 0
}

// StartCapReply tells the client where the data channel is
// (struct rpcap_startcapreply).
type StartCapReply struct {
	BufferSize uint32 // what the client raises its receive buffer to
	DataPort   uint16 // where to connect; 0 when the server opened the data channel
}

// Type returns [TypeStartCapReply].
func (*StartCapReply) Type() Type { return TypeStartCapReply }

func (*StartCapReply) headerValue() uint16 { return 0 }

func (m *StartCapReply) appendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.BufferSize)
	dst = binary.BigEndian.AppendUint16(dst, m.DataPort)
	return append(dst, 0, 0)
}

func (m *StartCapReply) decodeBody(_ uint16, c cursor) error {
	m.BufferSize = c.u32("bufsize")
	m.DataPort = c.u16("portdata")
	c.u16("dummy")
	return c.done()
}
