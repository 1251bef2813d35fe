package rpcap

import "encoding/binary"

// Message is one RPCAP message. The set is closed: the types of this package.
type Message interface {
	// Type returns the type byte that announces the message.
	Type() Type

	// headerValue is what the value field of the header holds.
	headerValue() uint16
	// appendBody appends the body; it must be free of side effects.
	appendBody(dst []byte) []byte
	// decodeBody sets the message from a header's value and a whole body.
	decodeBody(value uint16, body cursor) error
}

// Append appends m, header and body, to dst. It is the only place that writes
// a message's length. Names and texts longer than their length field are cut.
func Append(dst []byte, m Message) []byte { return AppendVersion(dst, Version, m) }

// AppendVersion is [Append] with a version byte other than [Version], which
// the reference uses in one case: an ERROR echoes the version of the request
// that it answers.
func AppendVersion(dst []byte, version uint8, m Message) []byte {
	start := len(dst)
	dst = AppendHeader(dst, Header{Version: version, Type: m.Type(), Value: m.headerValue()})
	dst = m.appendBody(dst)
	binary.BigEndian.PutUint32(dst[start+4:], uint32(len(dst)-start-HeaderLen))
	return dst
}

// Decode parses body, which followed h, into m. Bytes after what m needs are
// ignored, as both sides of the reference do. The error is a [*DecodeError].
//
// m holds no reference to body afterwards unless its type says so.
func Decode(h Header, body []byte, m Message) error {
	return m.decodeBody(h.Value, cursor{message: m.Type(), body: body})
}

// empty is the body of messages that have none.
type empty struct{}

func (empty) headerValue() uint16             { return 0 }
func (empty) appendBody(dst []byte) []byte    { return dst }
func (empty) decodeBody(uint16, cursor) error { return nil }

// The messages without a body.
type (
	// FindAllIfRequest asks for the list of interfaces.
	FindAllIfRequest struct{ empty }
	// UpdateFilterReply confirms an [UpdateFilterRequest].
	UpdateFilterReply struct{ empty }
	// Close ends the session; it has no reply.
	Close struct{ empty }
	// StatsRequest asks for the counters of the capture.
	StatsRequest struct{ empty }
	// EndCapRequest stops the capture and keeps the session.
	EndCapRequest struct{ empty }
	// EndCapReply confirms an [EndCapRequest].
	EndCapReply struct{ empty }
	// SetSamplingReply confirms a [SetSamplingRequest].
	SetSamplingReply struct{ empty }
)

// Type returns TypeFindAllIfRequest.
func (*FindAllIfRequest) Type() Type { return TypeFindAllIfRequest }

// Type returns TypeUpdateFilterReply.
func (*UpdateFilterReply) Type() Type { return TypeUpdateFilterReply }

// Type returns TypeClose.
func (*Close) Type() Type { return TypeClose }

// Type returns TypeStatsRequest.
func (*StatsRequest) Type() Type { return TypeStatsRequest }

// Type returns TypeEndCapRequest.
func (*EndCapRequest) Type() Type { return TypeEndCapRequest }

// Type returns TypeEndCapReply.
func (*EndCapReply) Type() Type { return TypeEndCapReply }

// Type returns TypeSetSamplingReply.
func (*SetSamplingReply) Type() Type { return TypeSetSamplingReply }
