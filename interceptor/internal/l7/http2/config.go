package http2

import (
	"time"

	"capstan/interceptor/internal/l7/hpack"
	"capstan/interceptor/internal/l7/websocket"
)

// Config bounds the parser, and tells what it may infer. The zero value of a field stands for its default.
type Config struct {
	// MaxHeaderBlock is how many bytes of a header block are read. What is
	// beyond is passed over, and the state of HPACK with it. Default 256 KiB.
	MaxHeaderBlock int
	// Headers bounds HPACK's tables and the fields kept of one block.
	Headers hpack.Limits
	// MaxStreams is how many streams of a connection may be open. Default 1,024.
	MaxStreams int
	// MaxStreamBytes is about how much memory they may keep together; beyond it
	// the oldest are told as they are. Default 2 MiB.
	MaxStreamBytes int
	// MaxUnparsed is how many bytes in which no frame can be found a direction
	// may carry before it is given up. Default 64 MiB.
	MaxUnparsed int64
	// InferFields tells header fields of gRPC calls by what calls have, where HPACK's table
	// isn't known. No RFC proves them, as the package comment tells. Default: they are unknown.
	InferFields bool
	// WebSocket bounds what is kept of a stream that carries it.
	WebSocket websocket.Config
	// Shared is what the connections of one goroutine share. Nil stands for
	// some of the connection's own.
	Shared *Shared
}

const (
	defaultMaxHeaderBlock = 256 << 10
	defaultMaxStreams     = 1024
	defaultMaxStreamBytes = 2 << 20
	defaultMaxUnparsed    = 64 << 20

	// lossTimeout is how long, on the assembler's clock, a stream stays open whose
	// end may have been lost.
	lossTimeout = 30 * time.Second
	// maxHeld bounds the bytes held while looking for a frame: three of the
	// common size.
	maxHeld = 64 << 10
	// keepHeld bounds the room that is kept for them while little is held.
	keepHeld = 8 << 10
	// maxInterim bounds the interim statuses kept of one exchange.
	maxInterim = 64
)

// DefaultConfig returns the configuration that the zero value stands for.
func DefaultConfig() (c Config) {
	c.setDefaults()
	c.Shared = nil
	return c
}

// setDefaults fills in what is not set.
func (c *Config) setDefaults() {
	if c.MaxHeaderBlock <= 0 {
		c.MaxHeaderBlock = defaultMaxHeaderBlock
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = defaultMaxStreams
	}
	if c.MaxStreamBytes <= 0 {
		c.MaxStreamBytes = defaultMaxStreamBytes
	}
	if c.MaxUnparsed <= 0 {
		c.MaxUnparsed = defaultMaxUnparsed
	}
	if c.Shared == nil {
		c.Shared = new(Shared)
	}
	c.Headers = c.Headers.WithDefaults()
}

// Stats counts what connections carried. Every byte handed to [Conn.Data] is in
// exactly one of FramingBytes, HeaderBytes, DataBytes and SkippedBytes as soon
// as Data returns.
type Stats struct {
	Frames     uint64 // read
	Requests   uint64 // header sections of requests, promised ones included
	Responses  uint64 // header sections of final responses
	Interim    uint64 // header sections of interim (1xx) responses
	Promises   uint64 // requests promised by servers
	Resets     uint64 // streams reset or refused
	GRPC       uint64 // exchanges that are calls of gRPC or gRPC-Web
	HeaderCuts uint64 // header blocks that a limit cut

	FramingBytes uint64 // preface, frame headers, padding, all frames but the next two
	HeaderBytes  uint64 // header blocks
	DataBytes    uint64 // bodies
	SkippedBytes uint64 // passed over while looking for a frame

	GapBytes uint64 // never captured, whatever they held

	Doubtful      uint64 // requests told by a guess of where frames are that nothing confirmed
	Resyncs       uint64 // times a direction lost its place
	GivenUp       uint64 // directions given up: no frame could be found
	SearchCuts    uint64 // segments not searched to the end: too much looks like frames and is none
	BrokenBlocks  uint64 // header blocks that break HPACK
	LostBlocks    uint64 // header blocks of which bytes are missing
	UnknownFields uint64 // header fields that can't be known for lack of what came before
	TableCuts     uint64 // insertions at which HPACK's bound made older entries unknown
	Roleless      uint64 // header blocks of which the sender's role could not be told
	ShedStreams   uint64 // streams told early, since there were too many

	// As it stands now.
	Open        int // streams
	Charge      int // what MaxStreamBytes bounds, of all connections
	HeldContent int // bytes of bodies that are kept, of streams that are open
	HeldBlocks  int // bytes of header blocks that are not complete
	HeldTables  int // bytes of HPACK's tables, as entries count (RFC 7541 §4.1)
	HeldSearch  int // bytes held while looking for a frame
}
