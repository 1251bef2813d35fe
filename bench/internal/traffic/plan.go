package traffic

import (
	"errors"
	"fmt"
)

// Plan tells what to generate. The zero value of each field stands for the
// default that is told with it; [Generator.Plan] returns the plan with all of
// them filled in.
type Plan struct {
	Seed uint64 `json:"seed"`
	Kind Kind   `json:"kind"` // UDP
	// Flows is the number of flows that take turns (1); for conversations the
	// number of connections that are open at the same time.
	Flows int `json:"flows"`
	// Size is the length of the frames (the smallest that the kind allows);
	// for conversations, where it must be fixed, the length of a full frame
	// (1514). Lengths count neither VLAN tags nor the frame check sequence.
	Size Size `json:"size"`
	// VLAN holds the 802.1Q identifiers (1–4094) that flows take in turn; each
	// frame gets one tag. None: untagged.
	VLAN []uint16 `json:"vlan,omitempty"`
	IPv6 bool     `json:"ipv6,omitempty"`
	// Count ends the traffic after that many frames (0: endless).
	// Conversations that are open then are still finished.
	Count uint64 `json:"count,omitempty"`
	// File is the capture file whose frames [File] sends.
	File string `json:"file,omitempty"`

	// The rest is for conversations (HTTP1, HTTP2, GRPC) only.

	// Connections ends the traffic after that many connections (0: endless).
	Connections uint64 `json:"connections,omitempty"`
	Exchanges   int    `json:"exchanges,omitempty"` // per connection (10)
	// RequestLen and ResponseLen are the lengths of the bodies in bytes (0: no
	// body); with gRPC, of the messages.
	RequestLen  int `json:"request_len,omitempty"`
	ResponseLen int `json:"response_len,omitempty"`
	Streams     int `json:"streams,omitempty"` // exchanges at once on one connection of HTTP2 or GRPC (4)
}

// Kind is what the frames carry.
type Kind uint8

// The kinds of traffic.
const (
	UDP   Kind = iota // test frames
	TCP               // test frames: segments of connections that were there before
	HTTP1             // conversations
	HTTP2             // conversations in cleartext with prior knowledge (RFC 9113, section 3.3)
	GRPC              // conversations: unary calls over HTTP2
	File              // the frames of a capture file, over and over

	numKinds
)

var kindNames = [numKinds]string{"udp", "tcp", "http1", "http2", "grpc", "file"}

// String returns the name as [ParseKind] takes it.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ParseKind returns the kind of that name.
func ParseKind(name string) (Kind, error) {
	for k, n := range kindNames {
		if n == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("traffic: unknown kind %q, want one of %v", name, kindNames)
}

// MarshalText returns the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is [ParseKind].
func (k *Kind) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKind(string(text))
	return err
}

// Conversation reports whether k is made of whole TCP connections.
func (k Kind) Conversation() bool { return k == HTTP1 || k == HTTP2 || k == GRPC }

// Marked reports whether frames of k carry a [Mark].
func (k Kind) Marked() bool { return k == UDP || k == TCP }

// Limits of a plan.
const (
	maxFrameLen        = 9216 // without tag: what network cards call jumbo
	fullFrameLen       = 1514 // at Ethernet's usual MTU
	minFullFrameLen    = 128  // of conversations, so that handshake and data fit
	maxFlows           = 1 << 20
	maxOpenConnections = 1 << 16
	maxVLAN            = 4094
	maxExchanges       = 1 << 20
	maxStreams         = 100 // what HTTP/2 wants to be allowed at least (RFC 9113, section 6.5.2)
	maxBodyLen         = 64 << 20
	maxConversationLen = 256 << 20
)

// withDefaults fills in what is zero.
func (p Plan) withDefaults() Plan {
	if p.Kind == File {
		return p
	}
	setDefault(&p.Flows, 1)
	if p.Kind.Marked() {
		if p.Size == (Size{}) {
			p.Size = Fixed(minTestFrameLen(p.Kind, p.IPv6))
		}
		return p
	}
	if p.Size == (Size{}) {
		p.Size = Fixed(fullFrameLen)
	}
	setDefault(&p.Exchanges, 10)
	if p.Kind != HTTP1 {
		setDefault(&p.Streams, 4)
	}
	return p
}

func setDefault(v *int, value int) {
	if *v == 0 {
		*v = value
	}
}

// minTestFrameLen is the length of a test frame with headers and mark only.
func minTestFrameLen(k Kind, ipv6 bool) int {
	if k == TCP {
		return headerLen(ipv6, tcpLen) + MarkLen
	}
	return headerLen(ipv6, udpLen) + MarkLen
}

// validate reports all that is wrong with a plan whose defaults are filled in.
func (p *Plan) validate() error {
	if p.Kind >= numKinds {
		return fmt.Errorf("traffic: unknown %v", p.Kind)
	}
	var c checks
	if p.Kind == File {
		c.that(p.File != "", "kind file needs the name of a capture file")
		c.that(p.Flows == 0 && p.Size == Size{} && len(p.VLAN) == 0 && !p.IPv6,
			"frames of a capture file are sent as they are: no flows, size, VLAN or IPv6")
	} else {
		c.that(p.File == "", "a capture file %q, but kind %v", p.File, p.Kind)
		c.between("flows", p.Flows, 1, maxFlows)
	}
	for _, id := range p.VLAN {
		c.between("VLAN", int(id), 1, maxVLAN)
	}
	if p.Kind.Conversation() {
		p.checkConversation(&c)
	} else {
		c.that(p.Connections == 0 && p.Exchanges == 0 && p.RequestLen == 0 && p.ResponseLen == 0 && p.Streams == 0,
			"connections, exchanges, streams and body lengths are for conversations, not for kind %v", p.Kind)
	}
	if p.Kind.Marked() && p.Size.fixed != 0 {
		if least := minTestFrameLen(p.Kind, p.IPv6); p.Size.fixed < least {
			c.that(false, "size %d: headers and mark of a %v frame need %d bytes", p.Size.fixed, p.describe(), least)
		}
		c.that(p.Size.fixed <= maxFrameLen, "size %d: at most %d", p.Size.fixed, maxFrameLen)
	}
	return errors.Join(c...)
}

func (p *Plan) checkConversation(c *checks) {
	c.that(p.Size.fixed != 0, "size %v: conversations want a fixed one, that of a full frame", p.Size)
	c.between("size of a full frame", p.Size.fixed, minFullFrameLen, maxFrameLen)
	c.between("flows of conversations", p.Flows, 1, maxOpenConnections)
	c.between("exchanges", p.Exchanges, 1, maxExchanges)
	c.between("request length", p.RequestLen, 0, maxBodyLen)
	c.between("response length", p.ResponseLen, 0, maxBodyLen)
	if p.Kind == HTTP1 {
		c.that(p.Streams == 0, "streams are for HTTP/2 and gRPC")
	} else {
		c.between("streams", p.Streams, 1, maxStreams)
	}
	c.that(p.Kind != GRPC || p.RequestLen != 1 && p.ResponseLen != 1, "no protobuf message has a length of 1 byte")
	c.that(p.conversationLen() <= maxConversationLen, "one connection would have about %d bytes, at most %d are allowed",
		p.conversationLen(), maxConversationLen)
}

// conversationLen is about the number of bytes of one connection.
func (p *Plan) conversationLen() int {
	const heads = 512 // both of an exchange, generously
	return p.Exchanges * (p.RequestLen + p.ResponseLen + heads)
}

func (p *Plan) describe() string {
	if p.IPv6 {
		return p.Kind.String() + " over IPv6"
	}
	return p.Kind.String()
}

// checks collects complaints.
type checks []error

func (c *checks) that(ok bool, format string, args ...any) {
	if !ok {
		*c = append(*c, fmt.Errorf("traffic: "+format, args...))
	}
}

func (c *checks) between(what string, v, least, most int) {
	c.that(v >= least && v <= most, "%s %d: want %d to %d", what, v, least, most)
}
