package rpcap

import "encoding/binary"

// SamplingMethod tells how a capture is thinned out (PCAP_SAMP_*).
type SamplingMethod uint8

// The sampling methods.
const (
	SamplingNone         SamplingMethod = 0
	SamplingOneInN       SamplingMethod = 1 // keep one frame in Value
	SamplingFirstAfterMS SamplingMethod = 2 // keep the first frame, then none for Value milliseconds
)

// SetSamplingRequest sets the sampling of the next capture
// (struct rpcap_sampling). libpcap since 1.9.0 sends value 0 from little-endian
// hosts whatever was asked for; a value of 0 means no sampling.
type SetSamplingRequest struct {
	Method SamplingMethod
	Value  uint32
}

// Type returns [TypeSetSamplingReq].
func (*SetSamplingRequest) Type() Type { return TypeSetSamplingReq }

func (*SetSamplingRequest) headerValue() uint16 { return 0 }

func (m *SetSamplingRequest) appendBody(dst []byte) []byte {
	dst = append(dst, byte(m.Method), 0, 0, 0)
	return binary.BigEndian.AppendUint32(dst, m.Value)
}

func (m *SetSamplingRequest) decodeBody(_ uint16, c cursor) error {
	m.Method = SamplingMethod(c.u8("method"))
	c.bytes("dummy", 3)
	m.Value = c.u32("value")
	return c.done()
}
