package rpcap

import (
	"encoding/binary"
	"fmt"
)

// Version is the only version of the protocol there is (RPCAP_MIN_VERSION and
// RPCAP_MAX_VERSION).
const Version = 0

// Well-known TCP ports (RPCAP_DEFAULT_NETPORT, RPCAP_DEFAULT_NETPORT_ACTIVE).
const (
	DefaultPort       = 2002 // the daemon listens here for control connections
	DefaultActivePort = 2003 // the client listens here in active mode
)

// HeaderLen is the length of a message header in bytes.
const HeaderLen = 8

// Header starts every message (struct rpcap_header).
type Header struct {
	Version uint8
	Type    Type
	Value   uint16 // error code in ERROR, interface count in FINDALLIF_REPLY, else 0
	Len     uint32 // bytes that follow the header
}

// AppendHeader appends h to dst.
func AppendHeader(dst []byte, h Header) []byte {
	dst = append(dst, h.Version, byte(h.Type))
	dst = binary.BigEndian.AppendUint16(dst, h.Value)
	return binary.BigEndian.AppendUint32(dst, h.Len)
}

// ParseHeader reads a header from the first [HeaderLen] bytes of b, which must
// be there. Every bit pattern is a header; what it means is for its user to judge.
func ParseHeader(b []byte) Header {
	_ = b[HeaderLen-1]
	return Header{
		Version: b[0],
		Type:    Type(b[1]),
		Value:   binary.BigEndian.Uint16(b[2:]),
		Len:     binary.BigEndian.Uint32(b[4:]),
	}
}

// Type is the type byte of a message.
type Type uint8

// The message types (RPCAP_MSG_*). A reply is its request with bit 0x80 set.
const (
	TypeError             Type = 0x01
	TypeFindAllIfRequest  Type = 0x02
	TypeOpenRequest       Type = 0x03
	TypeStartCapRequest   Type = 0x04
	TypeUpdateFilterReq   Type = 0x05
	TypeClose             Type = 0x06
	TypePacket            Type = 0x07
	TypeAuthRequest       Type = 0x08
	TypeStatsRequest      Type = 0x09
	TypeEndCapRequest     Type = 0x0a
	TypeSetSamplingReq    Type = 0x0b
	TypeFindAllIfReply    Type = TypeFindAllIfRequest | TypeReply
	TypeOpenReply         Type = TypeOpenRequest | TypeReply
	TypeStartCapReply     Type = TypeStartCapRequest | TypeReply
	TypeUpdateFilterReply Type = TypeUpdateFilterReq | TypeReply
	TypeAuthReply         Type = TypeAuthRequest | TypeReply
	TypeStatsReply        Type = TypeStatsRequest | TypeReply
	TypeEndCapReply       Type = TypeEndCapRequest | TypeReply
	TypeSetSamplingReply  Type = TypeSetSamplingReq | TypeReply

	// TypeReply is the bit that makes a request type a reply type.
	TypeReply Type = 0x80
)

// typeNames spells each type as the reference's error texts do.
var typeNames = map[Type]string{
	TypeError:             "RPCAP_MSG_ERROR",
	TypeFindAllIfRequest:  "RPCAP_MSG_FINDALLIF_REQ",
	TypeOpenRequest:       "RPCAP_MSG_OPEN_REQ",
	TypeStartCapRequest:   "RPCAP_MSG_STARTCAP_REQ",
	TypeUpdateFilterReq:   "RPCAP_MSG_UPDATEFILTER_REQ",
	TypeClose:             "RPCAP_MSG_CLOSE",
	TypePacket:            "RPCAP_MSG_PACKET",
	TypeAuthRequest:       "RPCAP_MSG_AUTH_REQ",
	TypeStatsRequest:      "RPCAP_MSG_STATS_REQ",
	TypeEndCapRequest:     "RPCAP_MSG_ENDCAP_REQ",
	TypeSetSamplingReq:    "RPCAP_MSG_SETSAMPLING_REQ",
	TypeFindAllIfReply:    "RPCAP_MSG_FINDALLIF_REPLY",
	TypeOpenReply:         "RPCAP_MSG_OPEN_REPLY",
	TypeStartCapReply:     "RPCAP_MSG_STARTCAP_REPLY",
	TypeUpdateFilterReply: "RPCAP_MSG_UPDATEFILTER_REPLY",
	TypeAuthReply:         "RPCAP_MSG_AUTH_REPLY",
	TypeStatsReply:        "RPCAP_MSG_STATS_REPLY",
	TypeEndCapReply:       "RPCAP_MSG_ENDCAP_REPLY",
	TypeSetSamplingReply:  "RPCAP_MSG_SETSAMPLING_REPLY",
}

// Known reports whether t is a type of the protocol.
func (t Type) Known() bool { _, ok := typeNames[t]; return ok }

// String returns the protocol's name, such as RPCAP_MSG_OPEN_REQ, or "type n".
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type %d", uint8(t))
}
