package rpcap

import (
	"encoding/binary"

	"capstan/pkg/capture"
)

// OpenRequest names the device to capture from. Its body is the name alone;
// see [ParseDevice] for what a name may carry.
type OpenRequest struct {
	Device string // at most MaxDeviceName bytes
}

// Type returns [TypeOpenRequest].
func (*OpenRequest) Type() Type { return TypeOpenRequest }

func (*OpenRequest) headerValue() uint16 { return 0 }

func (m *OpenRequest) appendBody(dst []byte) []byte { return append(dst, m.Device...) }

func (m *OpenRequest) decodeBody(_ uint16, c cursor) error {
	if c.left() > MaxDeviceName {
		c.reject("device", 0, c.left(), MaxDeviceName, "Source string too long")
	}
	m.Device = c.string("device", c.left())
	return c.done()
}

// OpenReply tells the link type of the device (struct rpcap_openreply).
type OpenReply struct {
	LinkType capture.LinkType
	TZOffset int32 // always 0 nowadays
}

// Type returns [TypeOpenReply].
func (*OpenReply) Type() Type { return TypeOpenReply }

func (*OpenReply) headerValue() uint16 { return 0 }

func (m *OpenReply) appendBody(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.LinkType))
	return binary.BigEndian.AppendUint32(dst, uint32(m.TZOffset))
}

func (m *OpenReply) decodeBody(_ uint16, c cursor) error {
	m.LinkType = capture.LinkType(c.u32("linktype"))
	m.TZOffset = int32(c.u32("tzoff"))
	return c.done()
}
