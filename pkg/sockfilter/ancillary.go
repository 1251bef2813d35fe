package sockfilter

import "encoding/binary"

// ancillary does a load at offsetAncillary + ad. Such loads never fail.
func (m *machine) ancillary(ad uint32) {
	p := m.packet
	switch ad {
	case adProtocol:
		m.a = uint32(p.Protocol)
	case adPacketType:
		m.a = uint32(p.PacketType)
	case adInterface:
		m.a = uint32(p.Interface)
	case adAttribute:
		m.a = findAttribute(m.frame, m.a, uint32(len(m.frame)), m.x)
	case adNestAttribute:
		m.a = findNestedAttribute(m.frame, m.a, m.x)
	case adMark:
		m.a = p.Mark
	case adQueue:
		m.a = p.Queue
	case adHardwareType:
		m.a = uint32(p.HardwareType)
	case adHash:
		m.a = p.Hash
	case adCPU:
		m.a = p.CPU
	case adXorX:
		m.a ^= m.x
	case adVLANTag, adVLANTagPresent, adVLANTPID:
		m.a = 0 // the client's frame has its tag in place, not apart
	case adPayloadOffset:
		m.a = p.payloadOffset()
	case adRandom:
		m.a = p.Random
	}
}

// Layout of a netlink attribute (struct nlattr): length and type in host order,
// then the value, padded to 4 bytes.
const (
	attributeHeaderLen = 4
	attributeTypeMask  = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

// findAttribute returns the offset of the first attribute of a type among
// those from offset to end, 0 if there is none (nla_find in lib/nlattr.c).
func findAttribute(frame []byte, offset, end, typ uint32) uint32 {
	for uint64(offset)+attributeHeaderLen <= uint64(end) {
		length := uint32(binary.NativeEndian.Uint16(frame[offset:]))
		if length < attributeHeaderLen || length > end-offset {
			return 0
		}
		if uint32(binary.NativeEndian.Uint16(frame[offset+2:])&attributeTypeMask) == typ {
			return offset
		}
		offset += (length + 3) &^ 3
	}
	return 0
}

// findNestedAttribute searches the value of the attribute at offset.
func findNestedAttribute(frame []byte, offset, typ uint32) uint32 {
	if uint64(offset)+attributeHeaderLen > uint64(len(frame)) {
		return 0
	}
	length := uint32(binary.NativeEndian.Uint16(frame[offset:]))
	if length > uint32(len(frame))-offset {
		return 0
	}
	return findAttribute(frame, offset+attributeHeaderLen, offset+length, typ)
}
