package http1

import (
	"capstan/interceptor/internal/exchange"
	"capstan/pkg/flow"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Upgrader tells who takes what follows a change of protocol by 101 (RFC 9110
// §7.8) or a tunnel made by CONNECT (§9.3.6).
type Upgrader interface {
	// Upgrade may return nil: nobody.
	Upgrade(*Upgrade) reassembly.Handler
}

// Upgrade is a change of protocol that the ends agreed on.
type Upgrade struct {
	Conn     *reassembly.Conn
	Tunnels  uint8 // that are around the HTTP/1 connection that is left
	Client   flow.Direction
	Identity *exchange.Connection // goes on with the records of what follows
	// What led to it, each nil if it was not seen; only CONNECT is told without Response, and
	// a WebSocket, whose frames were recognised. Both are part of a record: copy what is kept.
	Request  *capstanv1.HttpRequest
	Response *capstanv1.HttpResponse
	Flaws    exchange.Flaws // of the request
	// Compressed tells of a WebSocket without Response that it has compressed messages.
	Compressed bool
	// Unasked tells that Request asks for nothing of the kind.
	Unasked bool
	// ResponseCut tells that the end of the response's head was not seen.
	ResponseCut bool
}

// Config bounds the parser. The zero value of a field stands for its default.
type Config struct {
	// MaxHeadLen is how many bytes of a header section, start line included,
	// and of a trailer section are read for the record. What is beyond is
	// looked at for framing only. Default 64 KiB.
	MaxHeadLen int
	// MaxFields is how many fields of one section are kept: an empty field costs two bytes
	// on the wire and a hundred here. Default 1,024, at least 16.
	MaxFields int
	// MaxPending is how many requests of a connection may wait for their
	// responses. Default 1,024.
	MaxPending int
	// MaxPendingBytes is about how much memory they may keep together, and the pairs that
	// are not certain yet; beyond it these are believed, then the oldest requests are told
	// without a response. Default 1 MiB.
	MaxPendingBytes int
	// MaxUnparsed is how many bytes that are not HTTP a direction may carry
	// where a message should start before it is given up. Default 64 KiB.
	MaxUnparsed int64
}

const (
	defaultMaxHeadLen      = 64 << 10
	defaultMaxFields       = 1024
	defaultMaxPending      = 1024
	defaultMaxPendingBytes = 1 << 20
	defaultMaxUnparsed     = 64 << 10

	// minHeadLen keeps a configured limit above any sensible start line.
	minHeadLen = 256
	// maxInterim bounds the interim statuses kept of one exchange.
	maxInterim = 64
	// maxFloating bounds the responses that wait for a request which the
	// other direction has not delivered yet.
	maxFloating = 64
	// maxCutFieldLen is how much of a field beyond MaxHeadLen is looked at.
	maxCutFieldLen = 1 << 10
	// keepBufLen is the largest buffer an idle direction keeps.
	keepBufLen = 2 << 10
	// keepLineEnds is the most line ends it keeps room for.
	keepLineEnds = 64
	// firstBodyLen is the most that is allocated for a body before its bytes
	// have come, whatever Content-Length promises.
	firstBodyLen = 512
)

// DefaultConfig returns the configuration that the zero value stands for.
func DefaultConfig() (c Config) {
	c.setDefaults()
	return c
}

// setDefaults fills in what is not set.
func (c *Config) setDefaults() {
	if c.MaxHeadLen <= 0 {
		c.MaxHeadLen = defaultMaxHeadLen
	}
	c.MaxHeadLen = max(c.MaxHeadLen, minHeadLen)
	if c.MaxFields <= 0 {
		c.MaxFields = defaultMaxFields
	}
	c.MaxFields = max(c.MaxFields, firstFields)
	if c.MaxPending <= 0 {
		c.MaxPending = defaultMaxPending
	}
	if c.MaxPendingBytes <= 0 {
		c.MaxPendingBytes = defaultMaxPendingBytes
	}
	if c.MaxUnparsed <= 0 {
		c.MaxUnparsed = defaultMaxUnparsed
	}
}

// Stats counts what connections carried. Every byte handed to [Conn.Data] is in
// exactly one of HeadBytes, FramingBytes, BodyBytes, SkippedBytes and
// TunnelledBytes as soon as Data returns.
type Stats struct {
	Requests  uint64 // request lines seen
	Responses uint64 // status lines of final responses seen
	Interim   uint64 // status lines of interim (1xx) responses seen

	HeadBytes      uint64 // start lines, header and trailer sections, empty lines between messages
	FramingBytes   uint64 // chunk sizes, chunk extensions and the line ends of chunks
	BodyBytes      uint64 // after transfer decoding
	SkippedBytes   uint64 // passed over while looking for the start of a message, or not HTTP
	TunnelledBytes uint64 // after CONNECT or a switch of protocols, whoever reads them

	GapBytes uint64 // never captured, whatever they held

	Resyncs  uint64 // times a direction lost its place
	Doubtful uint64 // responses that no request could be told for without risk
	GivenUp  uint64 // directions given up as not HTTP

	HeadCuts     uint64 // sections cut by MaxHeadLen
	FieldCuts    uint64 // sections cut by MaxFields
	ShedRequests uint64 // told without a response because of MaxPending or MaxPendingBytes

	// As it stands now.
	Waiting     int // requests that wait for responses
	Charge      int // what MaxPendingBytes bounds, of all connections
	HeldHeads   int // bytes of sections, and of lines that may start one, that are not complete
	HeldContent int // bytes of bodies that are kept, of records that have not left
}
